from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.tests.case_files import one, refused

if TYPE_CHECKING:
    from pathlib import Path

BAD = {
    "unknown key": (
        "titel: x\ninputs: {a: {shape: [4]}}\nprogram: return a",
        "5:5: unknown key 'titel' in case 'demo.one'",
        "Did you mean 'title'?",
    ),
    "unknown key of an input": (
        "inputs: {a: {shape: [4], requires_grd: true}}\nprogram: return a",
        "5:30: unknown key 'requires_grd'",
        "Did you mean 'requires_grad'?",
    ),
    "unknown key of a call": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\ncalls: [{grda: enabled}]",
        "7:14: unknown key 'grda'",
        "Did you mean 'grad'?",
    ),
    "unknown check": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\nchecks: {gradient: must}",
        "7:14: unknown check 'gradient' in case 'demo.one'",
        "Did you mean 'gradients'",
    ),
    "a check cannot be lowered": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\nchecks: {values: should}",
        "7:22: checks.values cannot be 'should'",
        "'must'",
    ),
    "unknown dtype": (
        "inputs: {a: {shape: [4], dtype: float23}}\nprogram: return a",
        "5:37: unknown dtype 'float23'",
        "Known dtypes: bfloat16, bool,",
    ),
    "unknown dtype axis": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\naxes: {dtype: [flaot32]}",
        "7:20: unknown dtype 'flaot32'",
        "float32",
    ),
    "unknown capability": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\nrequires: [trainig]",
        "7:16: unknown capability 'trainig'",
        "Known capabilities: autocast",
    ),
    "unknown grad": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\naxes: {grad: [enabeld]}",
        "7:19: axes.grad[0] cannot be 'enabeld'",
        "'enabled', 'disabled' or 'inference'",
    ),
    "unknown autocast": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\ncalls: [{autocast: fp16}]",
        "7:24: calls[0].autocast cannot be 'fp16'",
        "'off', 'bfloat16' or 'float16'",
    ),
    "unknown dynamic": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\naxes: {dynamic: [maybe]}",
        "7:22: axes.dynamic[0] cannot be 'maybe'",
        "True, False or 'auto'",
    ),
    "an axis without values": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\naxes: {grad: []}",
        "7:18: axes.grad",
        "",
    ),
    "a value twice": (
        "inputs: {a: {shape: [4]}}\nprogram: return a\naxes: {grad: [enabled, enabled]}",
        "7:28: 'enabled' is listed twice",
        "",
    ),
    "a negative size": ("inputs: {a: {shape: [-4]}}\nprogram: return a", "5:26: inputs.a.shape[0]", ""),
    "a size that is no number": ("inputs: {a: {shape: [1.5]}}\nprogram: return a", "5:26: inputs.a.shape[0]", "1.5"),
    "a size that is no param": (
        "inputs: {a: {shape: [row]}}\nprogram: return a + ${rows}\naxes: {params: {rows: [2, 3]}}",
        "5:26: unknown param 'row'",
        "'rows'",
    ),
    "a param that is no size": (
        "inputs: {a: {shape: [2, rows]}}\nprogram: return a\naxes: {params: {rows: [2, -3]}}",
        "5:29: the param 'rows' has the value -3, which is no size",
        "",
    ),
    "a named size of numbers given": (
        "inputs: {a: {shape: [rows], values: [1, 2]}}\nprogram: return a\naxes: {params: {rows: [2]}}",
        "5:26: an input with a stride or values has sizes in numbers",
        "",
    ),
    "a named size beside a stride": (
        "inputs: {a: {shape: [rows, 2], stride: [2, 1]}}\nprogram: return a\naxes: {params: {rows: [2]}}",
        "5:26: an input with a stride or values has sizes in numbers",
        "",
    ),
    "a boolean size": ("inputs: {a: {shape: [true]}}\nprogram: return a", "5:26: inputs.a.shape[0]", "True"),
    "a shape that is no list": ("inputs: {a: {shape: 4}}\nprogram: return a", "5:25: inputs.a.shape", "list"),
    "no shape": (
        "inputs: {a: {requires_grad: true}}\nprogram: return a",
        "5:17: an input needs a shape, or a scalar",
        "[]",
    ),
    "strides that do not fit": (
        "inputs: {a: {shape: [4], stride: [1, 2]}}\nprogram: return a",
        "5:38: 2 strides for 1 dimensions",
        "",
    ),
    "strides that overlap": (
        "inputs: {a: {shape: [2, 2], stride: [1, 1]}}\nprogram: return a",
        "5:41: these strides let elements overlap",
        "",
    ),
    "an alias with a shape": (
        "inputs: {a: {shape: [2]}, b: {alias_of: a, shape: [2]}}\nprogram: return a",
        "5:48: an input with alias_of has no 'shape'",
        "",
    ),
    "an alias of nothing": (
        "inputs: {a: {shape: [2]}, b: {alias_of: aa}}\nprogram: return a",
        "5:45: 'aa' is no tensor of its own to share memory with",
        "Did you mean 'a'?",
    ),
    "a view of a scalar": (
        "inputs: {a: {scalar: 2}, b: {view_of: a, shape: [2]}}\nprogram: return a",
        "5:43: 'a' is no tensor of its own to share memory with",
        "Known inputs: none",
    ),
    "a view without a shape": (
        "inputs: {a: {shape: [2]}, b: {view_of: a}}\nprogram: return a",
        "5:34: a view needs a shape",
        "",
    ),
    "a view of named sizes": (
        "inputs: {a: {shape: [2]}, b: {view_of: a, shape: [n]}}\nprogram: return a\naxes: {params: {n: [2]}}",
        "5:34: a view and its contiguous input have sizes in numbers",
        "",
    ),
    "a view whose strides do not fit": (
        "inputs: {a: {shape: [2]}, b: {view_of: a, shape: [2], stride: [1, 1]}}\nprogram: return a",
        "5:67: 2 strides for 1 dimensions",
        "",
    ),
    "a view that reaches too far": (
        "inputs: {a: {shape: [4]}, b: {view_of: a, shape: [2, 2], offset: 1}}\nprogram: return a",
        "5:34: the view reaches element 4 of an input that has 4",
        "",
    ),
    "an offset without a view": (
        "inputs: {a: {shape: [2], offset: 1}}\nprogram: return a",
        "5:30: an input without view_of has no 'offset'",
        "",
    ),
    "no leaf without a gradient": (
        "inputs: {a: {shape: [2], leaf: false}}\nprogram: return a",
        "5:30: an input that requires no gradient is a leaf",
        "",
    ),
    "an inference tensor that requires gradients": (
        "inputs: {a: {shape: [2], requires_grad: true, inference: true}}\nprogram: return a",
        "5:51: what is made in inference mode requires no gradient",
        "",
    ),
    "strides of what is computed": (
        "inputs: {a: {shape: [2], stride: [2], inference: true}}\nprogram: return a",
        "5:30: what is computed from a leaf has no stride of its own",
        "",
    ),
    "a gradient of an inference tensor in a call": (
        "inputs: {a: {shape: [2], inference: true}}\nprogram: return a\ncalls: [{requires_grad: {a: true}}]",
        "7:33: what is made in inference mode requires no gradient",
        "",
    ),
    "a new shape of what a view is of": (
        "inputs: {a: {shape: [2]}, b: {alias_of: a}}\nprogram: return a\ncalls: [{shapes: {a: [3]}}]",
        "7:23: another input shares the memory of 'a', so its shape stays",
        "",
    ),
    "values that do not fit": (
        "inputs: {a: {shape: [2, 2], values: [1, 2, 3]}}\nprogram: return a",
        "5:41: 3 values for the shape [2, 2], which has 4 elements",
        "",
    ),
    "values and a distribution": (
        "inputs: {a: {shape: [1], values: [1], low: 0}}\nprogram: return a",
        "5:43: an input with values has no 'low'",
        "",
    ),
    "bounds of the normal distribution": (
        "inputs: {a: {shape: [1], low: 0}}\nprogram: return a",
        "5:14: low and high mean nothing to the normal distribution",
        "uniform",
    ),
    "bounds the wrong way round": (
        "inputs: {a: {shape: [1], distribution: uniform, low: 2, high: 1}}\nprogram: return a",
        "5:67: high (1) must be above low (2)",
        "",
    ),
    "a gradient of integers": (
        "inputs: {a: {shape: [1], dtype: int64, requires_grad: true}}\nprogram: return a",
        "5:59: a tensor of int64 has no gradient",
        "",
    ),
    "a gradient of an axis of integers": (
        "inputs: {a: {shape: [1], requires_grad: true}}\nprogram: return a\naxes: {dtype: [float32, int64]}",
        "7:29: inputs that require grad follow this axis",
        "",
    ),
    "a scalar with a shape": (
        "inputs: {a: {scalar: 1, shape: [1]}}\nprogram: return a",
        "5:29: a scalar input has no 'shape'",
        "",
    ),
    "an input that is no name": (
        "inputs: {a-b: {scalar: 1}}\nprogram: return 1",
        "5:14: 'a-b' cannot be the name of an argument",
        "",
    ),
    "an input called torch": ("inputs: {torch: {scalar: 1}}\nprogram: return 1", "5:14: the input 'torch'", ""),
    "a shape of an unknown input": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\ncalls: [{shapes: {b: [2]}}]",
        "7:23: no tensor input is called 'b'",
        "Known inputs: a.",
    ),
    "a scalar of a tensor": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\ncalls: [{scalars: {a: 2}}]",
        "7:24: no scalar input is called 'a'",
        "Known inputs: none.",
    ),
    "a shape that the values do not fit": (
        "inputs: {a: {shape: [1], values: [1]}}\nprogram: return a\ncalls: [{shapes: {a: [2]}}]",
        "7:26: 1 values for the shape [2]",
        "",
    ),
    "a call that wants a gradient of integers": (
        "inputs: {a: {shape: [1], dtype: bool}}\nprogram: return a\ncalls: [{requires_grad: {a: true}}]",
        "7:33: a tensor of bool has no gradient",
        "",
    ),
    "no calls": ("inputs: {a: {shape: [1]}}\nprogram: return a\ncalls: []", "7:12: calls", ""),
    "an unused param": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\naxes: {params: {op: [sin]}}",
        "7:21: the param 'op' is never used",
        "${op}",
    ),
    "an unknown param of the program": (
        "inputs: {a: {shape: [1]}}\nprogram: return a.${op}()",
        "6:23: unknown param '${op}' in case 'demo.one'",
        "axes.params",
    ),
    "an unknown param of the title": (
        "source: https://x\ninputs: {a: {shape: [1]}}\nprogram: return a",
        "4:12: unknown param '${op}'",
        "Known params: none.",
    ),
    "a param with the name of an axis": (
        "inputs: {a: {shape: [1]}}\nprogram: return a.${grad}()\naxes: {params: {grad: [sin]}}",
        "7:21: the param 'grad' has the name of an axis",
        "",
    ),
    "a param that would spoil the variant's id": (
        "inputs: {a: {shape: [1]}}\nprogram: return a.${op}\naxes: {params: {op: ['sum(0, 1)']}}",
        "7:26: the value 'sum(0, 1)' holds one of , = $",
        "",
    ),
    "a folded program": (
        "inputs: {a: {shape: [1]}}\nprogram: >\n  b = a\n  return b",
        "6:14: a program of several lines that is not a literal block",
        "program: |",
    ),
    "no program": ("inputs: {a: {shape: [1]}}", "3:5: the key 'program' is missing in case 'demo.one'", ""),
    "not a version": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\ntorch: new",
        "7:12: torch: not a version specifier",
        "'new'",
    ),
    "no time": ("inputs: {a: {shape: [1]}}\nprogram: return a\ntimeout_s: 0", "7:16: timeout_s", "greater than 0"),
    "a tolerance that is text": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\ntolerance: {float32: '1'}",
        "7:26: tolerance.float32",
        "number",
    ),
    "a clause of another form": (
        "inputs: {a: {shape: [1]}}\nprogram: return a\nclauses: [gm4]",
        "7:15: clauses[0] cannot be 'gm4'",
        "must match",
    ),
    "a program outside the subset": (
        "inputs: {a: {shape: [1]}}\nprogram: |\n  import os\n  return a",
        "7:7: import is not part of the subset in case 'demo.one'",
        "",
    ),
}


@pytest.mark.parametrize(("lines", "message", "hint"), BAD.values(), ids=BAD)
def test_a_bad_case_is_refused_at_its_place(tmp_path: Path, lines: str, message: str, hint: str) -> None:
    """One mistake is one problem with its place, a message and a hint."""
    text = one(lines).replace("doubles", "${op}") if "title" in message or "4:12" in message else one(lines)
    (problem,) = refused(tmp_path, demo_one=text)

    assert problem.startswith(f"demo_one.yaml:{message}")
    assert hint in problem

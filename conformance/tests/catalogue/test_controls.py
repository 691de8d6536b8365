from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.catalogue import controls
from conformance.model.case import Call, ExpectedRaise, InputSpec, Variant
from conformance.model.moves import NO_MOVES, USUAL
from conformance.tests.fakes import a_backend, a_case, a_request

NEUTRAL = "torch.enable_grad()"


def without(program: str) -> str:
    """A program without its modes."""
    return controls.without_modes(a_request(a_case(program=program))).case.program


@pytest.mark.parametrize(
    ("program", "plain"),
    [
        ("with torch.no_grad():\n    b = a * 2\nreturn b\n", "b = a * 2\nreturn b\n"),
        (
            "with torch.no_grad(), torch.autocast('cpu'):\n    with torch.inference_mode():\n        return a * 2\n",
            "return a * 2\n",
        ),
        (
            "with torch.no_grad(), torch.random.fork_rng():\n    b = a * 2\nreturn b\n",
            "with torch.random.fork_rng():\n    b = a * 2\nreturn b\n",
        ),
        ("torch.set_grad_enabled(False)\nreturn a\n", "return a\n"),
        ("@torch.no_grad()\ndef f(x):\n    return x\nreturn f(a)\n", "def f(x):\n    return x\nreturn f(a)\n"),
        ("def f(x):\n    torch.set_grad_enabled(x)\nf(True)\nreturn a\n", "def f(x):\n    pass\nf(True)\nreturn a\n"),
        (
            "try:\n    b = a * 2\nfinally:\n    torch.set_grad_enabled(True)\nreturn b\n",
            "try:\n    b = a * 2\nfinally:\n    pass\nreturn b\n",
        ),
        (
            "mode = torch.no_grad()\nwith mode:\n    b = a\nreturn b\n",
            f"mode = {NEUTRAL}\nwith mode:\n    b = a\nreturn b\n",
        ),
        ("mode = torch.inference_mode(True)\nreturn a\n", f"mode = {NEUTRAL}\nreturn a\n"),
        ("made = torch.no_grad\nreturn a\n", "made = torch.enable_grad\nreturn a\n"),
        ("f = torch.no_grad(g)\nreturn f(a)\n", "f = g\nreturn f(a)\n"),
        ("f = torch.no_grad()(g)\nreturn f(a)\n", f"f = {NEUTRAL}(g)\nreturn f(a)\n"),
        ("mode = torch.amp.autocast('cpu')\nreturn a\n", "mode = torch.autocast('cpu', enabled=False)\nreturn a\n"),
        ("f = torch.amp.custom_fwd(g, device_type='cpu')\nreturn f(a)\n", "f = g\nreturn f(a)\n"),
        ("b = torch.set_autocast_enabled('cpu', True)\nreturn a\n", "b = None\nreturn a\n"),
        ("return other.no_grad(a)\n", "return other.no_grad(a)\n"),
    ],
)
def test_modes_are_taken_out_of_a_program(program: str, plain: str) -> None:
    """Blocks, decorators and calls go; where a mode is a value, it is the mode that is on anyway."""
    assert without(program) == plain


def test_the_modes_of_the_caller_are_taken_out_too() -> None:
    """Those of the variant, of calls and of inputs, and moves that set one."""
    case = a_case(
        inputs={"a": InputSpec(shape=("n",), inference=True)},
        program="return a * ${k}\n",
        twin="with torch.no_grad():\n    return a\n",
        variants=(
            Variant(grad="disabled", autocast="bfloat16", params={"n": 3, "k": 2}, moves="two_modes+each_result"),
        ),
        calls=(Call(grad="inference", autocast="float16"),),
        raises=ExpectedRaise(),
    )
    plain = controls.without_modes(a_request(case))
    assert plain.variant == plain.case.variants[0] == Variant(moves="each_result")
    assert plain.case.program == "return a * 2\n"
    assert plain.case.twin == "return a\n"
    assert plain.case.inputs == {"a": InputSpec(shape=(3,))}
    assert plain.case.calls == (Call(),)
    assert plain.case.raises is None
    assert plain.case.may_raise
    assert controls.without_modes(a_request(a_case(variants=(Variant(moves="two_modes"),)))).variant.moves == NO_MOVES


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({}, False),
        ({"program": "return  a*2\n", "variants": (Variant(moves=USUAL),)}, False),
        ({"variants": (Variant(dtype="bfloat16"),)}, False),
        ({"program": "with torch.no_grad():\n    return a\n"}, True),
        ({"setup": "mode = torch.no_grad()\n"}, True),
        ({"variants": (Variant(grad="disabled"),)}, True),
        ({"calls": (Call(autocast="bfloat16"),)}, True),
    ],
)
def test_a_request_has_modes_where_there_is_something_to_take_out(changes: dict[str, Any], has: bool) -> None:
    """Of the program or of its caller; what moves do is apart."""
    assert controls.has_modes(a_request(a_case(**changes))) is has


def test_backward_is_left_out_of_every_call() -> None:
    """Then there is none."""
    request = a_request()
    assert controls.goes_backward(request)
    assert not controls.goes_backward(controls.without_backward(request))


def test_operations_are_run_where_the_compiler_does_not_look() -> None:
    """The compiled function calls a disabled one, and returns copies of its results."""
    request = a_request(a_case(setup="w = 3\n", program="b = a * w\nreturn b\n", twin="return w * a\n"))
    control = controls.without_operations(request).case
    assert control.setup == ("w = 3\n\n\n@torch.compiler.disable\ndef uncompiled(a):\n    b = a * w\n    return b\n\n")
    assert "value.clone()" in control.program
    assert "uncompiled(a)" in control.program
    assert not control.twin
    assert controls.without_operations(a_request()).case.setup.startswith("@torch.compiler.disable")


def test_requests_that_run_alike_are_one() -> None:
    """Names and places do not matter; programs, variants, backends and seeds do."""
    one = a_request(a_case("demo.first.one", program="return a * 2\n"))
    alike = a_request(a_case("misc.other.two", program="return (a * 2)\n", title="other", tags=frozenset({"smoke"})))
    assert controls.identity(one) == controls.identity(alike)
    others = (
        a_request(a_case(program="return a * 3\n")),
        a_request(a_case(variants=(Variant(grad="disabled"),))),
        a_request(backend=a_backend("other")),
        replace(one, seed=1),
    )
    assert len({controls.identity(each) for each in (one, *others)}) == 5

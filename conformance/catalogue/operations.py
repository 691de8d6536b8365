"""Families of operations: PyTorch's own descriptions of its operations, written out as programs and inputs.

`cases/operations.json` is made from PyTorch's `op_db` by `conformance.tests.jobs.operations`, in a process that imports
torch: which operations there are, how each is called, sample inputs, and which points of the axes
work uncompiled. Here this is only put together, so the parent needs no torch, a case is plain data like any other, and
its results on two releases of torch are results of the same program.

A point is an operation in a *form* (how it is called), with inputs in a *layout*, of a dtype, under an ambient mode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.model.case import Case, Family, InputSpec, contiguous
from conformance.model.enums import OPERATIONS, Capability, Tier
from conformance.program.nests import AMBIENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.case import Variant

__all__ = [
    "FORMS",
    "LAYOUTS",
    "Operation",
    "Point",
    "Sample",
    "case_of",
    "expand",
    "groups",
    "operations",
    "variant_of",
]

FORMS = ("function", "method", "in_place", "out")
"""How an operation is called."""

LAYOUTS = ("contiguous", "transposed", "expanded", "empty", "zero_dim", "special", "dynamic")
"""What its inputs are: `special` holds infinite numbers, NaN and both zeros, `dynamic` compiles for any size."""

_FORM_WORDS = dict(zip(FORMS, ("a function", "a method", "an in-place method", "a function with out="), strict=True))
_LAYOUT_WORDS = {
    "contiguous": "contiguous inputs",
    "transposed": "transposed inputs",
    "expanded": "expanded inputs",
    "empty": "inputs without elements",
    "zero_dim": "inputs without dimensions",
    "special": "inputs with infinite numbers and NaN",
}
_DERIVED = {"transposed", "expanded", "special", "dynamic"}  # from the samples of `contiguous`
_CLAUSES = {"special": "RS-10"}
_BY_NEED = {"training": "AG-1", "input_mutation": "RS-4", "rng": "RS-8"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One call of an operation.

    `first` is its first argument and `rest` the others, as Python over the names of `inputs`. Where the operation has
    no name of its own, `lines` come before the value `first`.
    """

    first: str
    rest: str = ""
    lines: tuple[str, ...] = ()
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of the axes of an operation."""

    form: str
    layout: str
    dtype: str
    ambient: str

    @classmethod
    def of(cls, text: str) -> Point:
        """Parse `function.contiguous.float32.enabled`."""
        return cls(**dict(zip(("form", "layout", "dtype", "ambient"), text.split("."), strict=True)))

    def __str__(self) -> str:
        return f"{self.form}.{self.layout}.{self.dtype}.{self.ambient}"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of PyTorch with its samples by layout, and the points of its axes by the tier they run in.

    `function`, `method` and `in_place` are its names as such; `out` is what it takes as `out=`: a `tensor` or a
    `tuple`; each is empty where there is none. `torch` are the releases that have it; empty for all.
    """

    id: str
    function: str = ""
    method: str = ""
    in_place: str = ""
    out: str = ""
    requires: tuple[str, ...] = ()
    torch: str = ""
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    points: Mapping[Point, Tier] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The module it belongs to: the first word of its id."""
        return self.id.partition(".")[0]


@cache
def operations() -> tuple[Operation, ...]:
    """Return the operations of the data file, in its order."""
    data = json.loads((files("conformance.cases") / OPERATIONS_DATA).read_text(encoding="utf-8"))
    return tuple(_operation(each) for each in data["operations"])


def groups() -> list[str]:
    """Return the names of the groups of operations."""
    return list(dict.fromkeys(each.group for each in operations()))


def expand(group: str, base: Case) -> Iterator[Case]:
    """Generate a case of each operation of a group, in each form and layout that it has.

    Args:
        group: of operations.
        base: a case with the fields that the cases share; its id is the family's.
    """
    chosen = [each for each in operations() if each.group == group]
    family = Family(id=base.id, title=base.title, points={"1": sum(len(each.points) for each in chosen)})
    for operation in chosen:
        placed: dict[tuple[str, str], list[Variant]] = {}
        for point, tier in operation.points.items():
            layout = "contiguous" if point.layout == "dynamic" else point.layout
            placed.setdefault((point.form, layout), []).append(variant_of(point, tier))
        for (form, layout), variants in placed.items():
            yield replace(case_of(operation, form, layout, base), variants=tuple(variants), family=family)


def variant_of(point: Point, tier: Tier = Tier.EXHAUSTIVE) -> Variant:
    """Return the variant of a point, within the case of its form and layout."""
    return _variant(point.ambient, point.dtype, point.layout == "dynamic", tier)


@cache
def _variant(ambient: str, dtype: str, dynamic: bool, tier: Tier) -> Variant:
    return replace(AMBIENT[ambient], dtype=dtype, dynamic=dynamic, tier=tier)


def case_of(operation: Operation, form: str, layout: str, base: Case) -> Case:
    """Return the case of an operation in a form and a layout, without its variants."""
    samples = operation.samples["contiguous" if layout in _DERIVED else layout]
    samples = samples[:1] if form == "in_place" else samples  # others may broadcast what is written to
    inputs = {name: spec for sample in samples for name, spec in sample.inputs.items()}
    needs = [each for each in operation.requires if each != "training" or form != "out"]
    clauses = [*base.clauses, *(_BY_NEED[each] for each in needs if each in _BY_NEED)]
    clauses += [_CLAUSES[layout]] if layout in _CLAUSES else []
    name = operation.id.partition(".")[2]
    return replace(
        base,
        id=f"{base.id}.{name}.{form}.{layout}",
        title=f"{operation.function or name} as {_FORM_WORDS[form]}, on {_LAYOUT_WORDS[layout]}",
        clauses=tuple(dict.fromkeys(clauses)),
        program=_program(operation, form, samples),
        inputs=_laid_out(_without_gradients(inputs) if form == "out" else inputs, layout),
        requires=frozenset(map(Capability, needs)),
        torch=operation.torch or None,
        tags=frozenset({OPERATIONS}),
    )


def _program(operation: Operation, form: str, samples: Sequence[Sample]) -> str:
    lines, results = list[str](), list[str]()
    for index, sample in enumerate(samples, start=1):
        before, result = _WRITERS[form](operation, sample, index if len(samples) > 1 else "")
        lines += before
        results += result
    return "\n".join([*lines, f"return {', '.join(results)}", ""])


def _function(operation: Operation, sample: Sample, _: object) -> tuple[list[str], list[str]]:
    return [*sample.lines], [_call(operation.function, sample) if operation.function else sample.first]


def _method(operation: Operation, sample: Sample, _: object) -> tuple[list[str], list[str]]:
    return [], [f"{sample.first}.{operation.method}({sample.rest})"]


def _in_place(operation: Operation, sample: Sample, index: object) -> tuple[list[str], list[str]]:
    """Write into a copy: a leaf that requires gradients refuses it."""
    name = f"changed{index}"
    return [f"{name} = {sample.first}.clone()", f"{name}.{operation.in_place}({sample.rest})"], [name]


def _out(operation: Operation, sample: Sample, index: object) -> tuple[list[str], list[str]]:
    """Write into tensors of the right size and dtype; `out=` into others resizes them, with a warning."""
    plain, given = f"plain{index}", f"out{index}"
    like = f"torch.empty_like({plain})"
    if operation.out == "tuple":
        like = f"tuple([torch.empty_like(each) for each in {plain}])"
    lines = [f"{plain} = {_call(operation.function, sample)}", f"{given} = {like}"]
    return [*lines, _call(operation.function, replace(sample, rest=_joined(sample.rest, f"out={given}")))], [
        given,
        plain,
    ]


_WRITERS = {"function": _function, "method": _method, "in_place": _in_place, "out": _out}


def _call(function: str, sample: Sample) -> str:
    return f"{function}({_joined(sample.first, sample.rest)})"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _without_gradients(inputs: Mapping[str, InputSpec]) -> dict[str, InputSpec]:
    """Functions with `out=` refuse arguments that require gradients."""
    return {name: replace(spec, requires_grad=False) for name, spec in inputs.items()}


def _laid_out(inputs: Mapping[str, InputSpec], layout: str) -> dict[str, InputSpec]:
    made: dict[str, InputSpec] = {}
    for name, spec in inputs.items():
        if layout == "expanded" and _is_random(spec) and spec.shape and int(spec.shape[0]) > 1:
            made |= _expanded(name, spec)
        elif layout == "transposed" and len(spec.shape) > 1 and spec.stride is None:
            made[name] = replace(spec, stride=contiguous([int(size) for size in spec.shape[::-1]])[::-1])
        elif layout == "special" and _is_random(spec) and spec.dtype is None:
            made[name] = replace(spec, distribution="special")
        else:
            made[name] = spec
    return made


def _is_random(spec: InputSpec) -> bool:
    return spec.scalar is None and spec.values is None and spec.base is None


def _expanded(name: str, spec: InputSpec) -> dict[str, InputSpec]:
    """Return an input that repeats its first row, and the row that it is a view of."""
    sizes = [int(size) for size in spec.shape]
    row = replace(spec, shape=(1, *sizes[1:]), stride=None)
    view = InputSpec(shape=tuple(sizes), stride=(0, *contiguous(sizes[1:])), view_of=f"{name}_row")
    return {f"{name}_row": row, name: view}


def _operation(data: Mapping[str, Any]) -> Operation:
    samples = {layout: [_sample(each) for each in found] for layout, found in data["samples"].items()}
    points = {Point.of(f"{place}.{rest}"): tier for place, rest, tier in _tiers(data["points"])}
    names = {key: data.get(key, "") for key in ("id", "function", "method", "in_place", "out", "torch")}
    return Operation(**names, requires=tuple(data.get("requires", ())), samples=samples, points=points)


def _tiers(points: Mapping[str, str]) -> Iterator[tuple[str, str, Tier]]:
    """Yield form and layout, dtype and ambient, and tier: `float32.enabled!` is run everywhere, `...+` where fast."""
    marks = {"!": Tier.DEFAULT, "+": Tier.FAST}
    for place, words in points.items():
        for word in words.split():
            yield place, word.rstrip("!+"), marks.get(word[-1], Tier.EXHAUSTIVE)


def _sample(data: Mapping[str, Any]) -> Sample:
    inputs = {name: _input(spec) for name, spec in data["inputs"].items()}
    lines = tuple(data.get("lines", ()))
    return Sample(first=data["first"], rest=data.get("rest", ""), lines=lines, inputs=inputs)


def _input(data: Mapping[str, Any]) -> InputSpec:
    given: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in data.items()}
    return InputSpec(**given)

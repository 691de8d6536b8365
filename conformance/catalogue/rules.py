"""Rules between the keys of a case: inputs with their shapes, calls with inputs, params with texts."""

from __future__ import annotations

import keyword
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from conformance.model.case import contiguous
from conformance.model.suggestions import did_you_mean
from conformance.program.allowed_names import BUILTINS, ROOTS
from conformance.program.build import placeholders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.catalogue.documents import AxesDocument, CallDocument, CaseDocument, InputDocument
    from conformance.catalogue.yaml_source import Path

__all__ = ["Broken", "broken_inputs", "broken_rules", "is_argument"]

_AXES = frozenset({"grad", "autocast", "dtype", "dynamic"})
# A variant's id is `grad=enabled,name=value`, and `$` would start another param.
_NOT_IN_PARAMS = frozenset(",=$\n")


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A rule that a case breaks, and the path to the value (or, with `key`, to the key) that breaks it."""

    path: Path
    message: str
    hint: str = ""
    key: bool = False


def broken_rules(case: CaseDocument) -> Iterator[Broken]:
    """Yield every rule that `case` breaks, except those for its program."""
    yield from broken_inputs(case.inputs, case.axes.params)
    for index, call in enumerate(case.calls or ()):
        yield from _call(("calls", index), call, case.inputs)
    if "metamorphic" in case.checks:
        yield Broken(path=("checks", "metamorphic"), message="only laws of families have a twin to check", key=True)
    yield from _axes(case.axes, case.inputs)
    yield from _params(case)


def broken_inputs(
    inputs: Mapping[str, InputDocument], params: Mapping[str, Sequence[object]] = MappingProxyType({})
) -> Iterator[Broken]:
    """Yield every rule that inputs break, whose sizes may name these params; paths start at `inputs`."""
    for name, spec in inputs.items():
        path: Path = ("inputs", name)
        yield from _name(path, name)
        if spec.alias_of is not None or spec.view_of is not None:
            yield from _sharing(path, spec, inputs)
            continue
        yield from _input(path, spec) if spec.scalar is None and spec.shape is not None else _scalar(path, spec)
        yield from _named_sizes(path, spec, params)


def is_argument(name: str) -> bool:
    """Whether a function of the program can have an argument of this name."""
    return name.isascii() and name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)


def _name(path: Path, name: str) -> Iterator[Broken]:
    if not is_argument(name):
        yield Broken(path=path, message=f"{name!r} cannot be the name of an argument", key=True)
    elif name in ROOTS or name in BUILTINS or name == "program":
        yield Broken(path=path, message=f"the input {name!r} would shadow a name that programs use", key=True)


def _scalar(path: Path, spec: InputDocument) -> Iterator[Broken]:
    if spec.scalar is None:
        yield Broken(
            path=path, message="an input needs a shape, or a scalar", hint="[] is a tensor without dimensions."
        )
        return
    for field in sorted(spec.model_fields_set - {"scalar"}):
        yield Broken(path=(*path, field), message=f"a scalar input has no {field!r}", key=True)


def _sharing(path: Path, spec: InputDocument, inputs: Mapping[str, InputDocument]) -> Iterator[Broken]:
    """Yield what is wrong with an input that shares memory with another one."""
    key, own = ("alias_of", set()) if spec.alias_of is not None else ("view_of", {"shape", "stride", "offset"})
    for field in sorted(spec.model_fields_set - own - {key}):
        yield Broken(path=(*path, field), message=f"an input with {key} has no {field!r}", key=True)
    tensors = {name: one for name, one in inputs.items() if one.shape is not None and one.view_of is None}
    name = spec.alias_of if spec.alias_of is not None else spec.view_of
    base = tensors.get(name or "")
    if base is None:
        message = f"{name!r} is no tensor of its own to share memory with"
        yield Broken(path=(*path, key), message=message, hint=did_you_mean(name or "", tensors, "input"))
    elif key == "view_of":
        yield from _view(path, spec, base)


def _view(path: Path, spec: InputDocument, base: InputDocument) -> Iterator[Broken]:
    sizes = [size for size in spec.shape or () if isinstance(size, int)]
    whole = [size for size in base.shape or () if isinstance(size, int)]
    if spec.shape is None:
        yield Broken(path=path, message="a view needs a shape")
    elif base.stride is not None or len(sizes) < len(spec.shape) or len(whole) < len(base.shape or ()):
        yield Broken(path=path, message="a view and its contiguous input have sizes in numbers")
    elif spec.stride is not None and len(spec.stride) != len(sizes):
        yield Broken(path=(*path, "stride"), message=f"{len(spec.stride)} strides for {len(sizes)} dimensions")
    elif math.prod(sizes):
        stride = spec.stride or contiguous(sizes)
        last = spec.offset + sum(step * (size - 1) for step, size in zip(stride, sizes, strict=True))
        if last >= math.prod(whole):
            message = f"the view reaches element {last} of an input that has {math.prod(whole)}"
            yield Broken(path=path, message=message)


def _named_sizes(path: Path, spec: InputDocument, params: Mapping[str, Sequence[object]]) -> Iterator[Broken]:
    for index, size in enumerate(spec.shape or ()):
        if not isinstance(size, str):
            continue
        here = (*path, "shape", index)
        if spec.stride is not None or spec.values is not None:
            yield Broken(path=here, message="an input with a stride or values has sizes in numbers")
        if size not in params:
            yield Broken(path=here, message=f"unknown param {size!r}", hint=did_you_mean(size, params, "param"))
        for value in params.get(size, ()):
            if type(value) is not int or value < 0:
                yield Broken(path=here, message=f"the param {size!r} has the value {value!r}, which is no size")


def _input(path: Path, spec: InputDocument) -> Iterator[Broken]:
    shape = [size for size in spec.shape or () if isinstance(size, int)]
    if spec.requires_grad and spec.dtype and not _differentiable(spec.dtype):
        yield Broken(path=(*path, "requires_grad"), message=f"a tensor of {spec.dtype} has no gradient")
    yield from _origin(path, spec)
    in_numbers = len(shape) == len(spec.shape or ())
    if spec.stride is not None and in_numbers:
        yield from _stride((*path, "stride"), shape, spec.stride)
    if spec.values is not None and in_numbers:
        yield from _count((*path, "values"), shape, spec.values)
    if spec.values is not None:
        for field in sorted(spec.model_fields_set & {"distribution", "low", "high"}):
            yield Broken(path=(*path, field), message=f"an input with values has no {field!r}", key=True)
    elif {"low", "high"} & spec.model_fields_set:
        yield from _bounds(path, spec)


def _origin(path: Path, spec: InputDocument) -> Iterator[Broken]:
    """Yield what does not go together in where a tensor comes from."""
    if spec.requires_grad and spec.inference:
        yield Broken(path=(*path, "inference"), message="what is made in inference mode requires no gradient", key=True)
    if not spec.leaf and not spec.requires_grad:
        yield Broken(path=(*path, "leaf"), message="an input that requires no gradient is a leaf", key=True)
    if spec.stride is not None and (spec.inference or not spec.leaf):
        yield Broken(path=(*path, "stride"), message="what is computed from a leaf has no stride of its own", key=True)
    if "offset" in spec.model_fields_set:
        yield Broken(path=(*path, "offset"), message="an input without view_of has no 'offset'", key=True)


def _stride(path: Path, shape: Sequence[int], stride: Sequence[int]) -> Iterator[Broken]:
    if len(stride) != len(shape):
        yield Broken(path=path, message=f"{len(stride)} strides for {len(shape)} dimensions")
        return
    last = 0
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size > 1 and step <= last:
            yield Broken(path=path, message="these strides let elements overlap")
            return
        last += step * max(size - 1, 0)


def _count(path: Path, shape: Sequence[int], values: Sequence[object]) -> Iterator[Broken]:
    if len(values) != math.prod(shape):
        message = f"{len(values)} values for the shape {list(shape)}, which has {math.prod(shape)} elements"
        yield Broken(path=path, message=message)


def _bounds(path: Path, spec: InputDocument) -> Iterator[Broken]:
    if spec.distribution == "normal" and (spec.dtype is None or _differentiable(spec.dtype)):
        hint = "Give distribution: uniform or integers."
        yield Broken(path=path, message="low and high mean nothing to the normal distribution", hint=hint, key=True)
    elif spec.low is not None and spec.high is not None and spec.low >= spec.high:
        yield Broken(path=(*path, "high"), message=f"high ({spec.high}) must be above low ({spec.low})")


def _call(path: Path, call: CallDocument, inputs: Mapping[str, InputDocument]) -> Iterator[Broken]:
    sharing = {name for name, spec in inputs.items() if spec.alias_of is not None or spec.view_of is not None}
    based = {name for spec in inputs.values() for name in (spec.alias_of, spec.view_of)}
    tensors = {name: spec for name, spec in inputs.items() if spec.scalar is None and name not in sharing}
    scalars = {name: spec for name, spec in inputs.items() if spec.scalar is not None}
    for key, given, known in (
        ("shapes", call.shapes, tensors),
        ("requires_grad", call.requires_grad, tensors),
        ("scalars", call.scalars, scalars),
    ):
        what = "scalar" if key == "scalars" else "tensor"
        for name in given:
            if name not in known:
                message = f"no {what} input is called {name!r}"
                yield Broken(
                    path=(*path, key, name), message=message, hint=did_you_mean(name, known, "input"), key=True
                )
    for name, shape in call.shapes.items():
        if name in based:
            message = f"another input shares the memory of {name!r}, so its shape stays"
            yield Broken(path=(*path, "shapes", name), message=message, key=True)
        spec = tensors.get(name)
        if spec and spec.values is not None:
            yield from _count((*path, "shapes", name), shape, spec.values)
    for name, requires_grad in call.requires_grad.items():
        dtype = tensors[name].dtype if name in tensors else None
        if requires_grad and dtype and not _differentiable(dtype):
            yield Broken(path=(*path, "requires_grad", name), message=f"a tensor of {dtype} has no gradient")
        if requires_grad and name in tensors and tensors[name].inference:
            message = "what is made in inference mode requires no gradient"
            yield Broken(path=(*path, "requires_grad", name), message=message)


def _axes(axes: AxesDocument, inputs: Mapping[str, InputDocument]) -> Iterator[Broken]:
    values: dict[Path, Sequence[object]] = {(name,): getattr(axes, name) for name in sorted(_AXES)}
    values |= {("params", name): given for name, given in axes.params.items()}
    for path, given in values.items():
        texts = [str(value).lower() for value in given]
        for index, text in enumerate(texts):
            if text in texts[:index]:
                yield Broken(path=("axes", *path, index), message=f"{given[index]!r} is listed twice")
    follows = any(spec.requires_grad and spec.dtype is None for spec in inputs.values())
    for index, dtype in enumerate(axes.dtype):
        if follows and not _differentiable(dtype):
            message = f"inputs that require grad follow this axis, and a tensor of {dtype} has no gradient"
            yield Broken(path=("axes", "dtype", index), message=message)


def _params(case: CaseDocument) -> Iterator[Broken]:
    params = case.axes.params
    used = placeholders(case.program) | placeholders(case.setup) | placeholders(case.title)
    used |= {size for spec in case.inputs.values() for size in spec.shape or () if isinstance(size, str)}
    for name, values in params.items():
        path: Path = ("axes", "params", name)
        if name in {*_AXES, "moves"}:
            yield Broken(path=path, message=f"the param {name!r} has the name of an axis", key=True)
        if name not in used:
            hint = f"Write ${{{name}}} in program, setup or title, or {name} in a shape, or remove it."
            yield Broken(path=path, message=f"the param {name!r} is never used", hint=hint, key=True)
        for index, value in enumerate(values):
            if _NOT_IN_PARAMS & set(str(value)):
                yield Broken(path=(*path, index), message=f"the value {value!r} holds one of , = $ or a line break")
    for name in sorted(placeholders(case.title) - params.keys()):
        hint = did_you_mean(name, params, "param")
        yield Broken(path=("title",), message=f"unknown param '${{{name}}}'", hint=hint)


def _differentiable(dtype: str) -> bool:
    return "float" in dtype or dtype.startswith("complex")

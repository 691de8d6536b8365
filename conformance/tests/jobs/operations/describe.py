"""An entry of `op_db` as an operation of the catalogue, without its points."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from conformance.catalogue.operations import Operation, Point
from conformance.model.case import CALLS, InputSpec
from conformance.model.enums import Capability
from conformance.observation import seeding
from conformance.observation.driver import Role, arguments_of
from conformance.program import build
from conformance.tests.jobs.operations.calls import NotWritable, public_name
from conformance.tests.jobs.operations.points import prepared, raises, refusal, request_at
from conformance.tests.jobs.operations.samples import Drawn, base_dtype, chosen, drawn, specified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.catalogue.operations import Sample

__all__ = ["described", "identifier", "own_name", "seen"]

_GROUPS = ("linalg", "fft", "special", "masked", "nn.functional", "signal.windows", "ops.aten", "sparse")
_NEEDS = {
    torch.float16: Capability.FLOAT16,
    torch.bfloat16: Capability.BFLOAT16,
    torch.float64: Capability.FLOAT64,
    torch.complex64: Capability.COMPLEX,
    torch.complex128: Capability.COMPLEX,
    torch.complex32: Capability.COMPLEX,
}
# Later releases raise for them: https://github.com/pytorch/pytorch/pull/186817 and 186815.
_RELEASES = {"cholesky": "<2.14", "qr": "<2.14"}


def described(op: Any) -> Operation:
    """The operation, without its points.

    Raises:
        NotWritable: no program can say what `op_db` calls.
    """
    dtype = base_dtype(op)
    if dtype is None:
        raise NotWritable("no dtype on the CPU")
    by_layout = chosen(drawn(op, dtype))
    operation = Operation(
        id=identifier(op.name, op.variant_test_name),
        function=public_name(op),
        method=own_name(op.method_variant) if public_name(op) else "",
        in_place=own_name(op.inplace_variant) if public_name(op) else "",
        torch=_RELEASES.get(op.name, ""),
        samples={layout: _samples(several, dtype, op) for layout, several in by_layout.items()},
    )
    plain = str(dtype).removeprefix("torch.")
    operation = replace(operation, **seen(operation, plain, takes_out=op.supports_out))
    return replace(operation, samples={**_made_smaller(operation, plain), **operation.samples})


def _made_smaller(operation: Operation, dtype: str) -> dict[str, list[Sample]]:
    """The first sample without elements, and without dimensions, where it works so."""
    made = {}
    (first, *_) = operation.samples["contiguous"]
    for layout, shape_of in (("empty", _without_rows), ("zero_dim", lambda _, __: ())):
        rows = next((spec.shape[0] for spec in first.inputs.values() if spec.shape), None)
        inputs = {name: _shaped(spec, shape_of(spec, rows)) for name, spec in first.inputs.items()}
        other = replace(operation, samples={"contiguous": [replace(first, inputs=inputs)]})
        if inputs != first.inputs and raises(other, _plain_point(dtype)) is None:
            made[layout] = list(other.samples["contiguous"])
    return made


def _without_rows(spec: InputSpec, rows: object) -> tuple[int | str, ...]:
    return (0, *spec.shape[1:]) if spec.shape and spec.shape[0] == rows else spec.shape


def _shaped(spec: InputSpec, shape: tuple[int | str, ...]) -> InputSpec:
    if shape == spec.shape:
        return spec
    return replace(
        spec, shape=shape, stride=None, values=None if spec.values is None else spec.values[: 0 not in shape]
    )


def _plain_point(dtype: str) -> Point:
    return Point(form="function", layout="contiguous", dtype=dtype, ambient="enabled")


def identifier(name: str, variant: str) -> str:
    """The id of an operation: its module and its name in small letters."""
    name = name.removeprefix("torch.")
    group = next((each for each in _GROUPS if name.startswith(f"{each}.")), "")
    own = name.removeprefix(f"{group}.")
    own = f"{own}_attribute" if own in {"T", "H", "mT", "mH"} else own
    words = [own, variant] if variant else [own]
    text = re.sub(r"[^a-z0-9_]+", "_", "_".join(words).lower())
    return f"{group.replace('.', '_') or 'torch'}.{text}"


def own_name(variant: Any) -> str:
    """The name of a method of tensors."""
    name = getattr(variant, "__name__", "")
    return name if name.isidentifier() and hasattr(torch.Tensor, name) else ""


def _samples(several: Sequence[Drawn], dtype: torch.dtype, op: Any) -> list[Sample]:
    """The samples, each with numbers of its range if any such do, else with its own numbers."""
    made = []
    for index, each in enumerate(several, start=1):
        suffix = str(index) if len(several) > 1 else ""
        for literal in (False, True):
            sample = specified(each, suffix, dtype, literal=literal)
            alone = Operation(id="torch.sample", function=public_name(op), samples={"contiguous": [sample]})
            if _is_fine(alone, str(dtype).removeprefix("torch."), is_finite=_is_finite(each)):
                made.append(sample)
                break
    if not made:
        raise NotWritable("it differs from itself, or raises, uncompiled")
    return made


def _is_fine(operation: Operation, dtype: str, *, is_finite: bool) -> bool:
    """Whether the suite can judge it, and its results are finite if those of `op_db`'s own sample are."""
    point = _plain_point(dtype)
    if refusal(operation, point) is not None:
        return False
    return not is_finite or all(
        each.isfinite().all() for each in prepared(request_at(operation, point))() if _has_numbers(each)
    )


def _is_finite(each: Drawn) -> bool:
    with torch.random.fork_rng(devices=[]):
        results = torch.utils._pytree.tree_leaves(each.call())
    return all(bool(leaf.isfinite().all()) for leaf in results if isinstance(leaf, torch.Tensor) and _has_numbers(leaf))


def _has_numbers(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized


def seen(operation: Operation, dtype: str, *, takes_out: bool) -> dict[str, Any]:
    """What a backend needs for it, and what it takes as `out=`, seen in a run."""
    request = request_at(operation, _plain_point(dtype))
    module = build.generate(request.case, request.variant).load()
    made = arguments_of(Role(request=request, module=module, function=module.program), CALLS[0], 0)
    arguments = {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
    seeding.seed_default(0)
    before = torch.get_rng_state()
    versions = {name: value._version for name, value in arguments.items()}
    result = module.program(*arguments.values())
    results = [each for each in torch.utils._pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
    needs = {_NEEDS[each.dtype] for each in (*results, *arguments.values()) if each.dtype in _NEEDS}
    needs |= {Capability.TRAINING} if any(each.requires_grad for each in results) else set()
    needs |= {Capability.RNG} if not torch.equal(before, torch.get_rng_state()) else set()
    changed = any(value._version != versions[name] for name, value in arguments.items())
    needs |= {Capability.INPUT_MUTATION} if changed or _shares(results, arguments) else set()
    own = result[0] if len(operation.samples["contiguous"]) > 1 else result
    kinds = {torch.Tensor: "tensor"}
    out = kinds.get(type(own), "tuple" if isinstance(own, tuple) else "")
    takes = takes_out and operation.function and out
    return {"requires": tuple(sorted(map(str, needs))), "out": out if takes else ""}


def _shares(results: Sequence[torch.Tensor], arguments: Mapping[str, torch.Tensor]) -> bool:
    own = {each.untyped_storage().data_ptr() for each in arguments.values()} - {0}
    strided = [each for each in results if each.layout is torch.strided]
    return any(each.untyped_storage().data_ptr() in own for each in strided)

"""Seeded inputs and cotangents: the same numbers for every role, different ones for every call."""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING

import torch

from conformance.model.case import SPECIAL, contiguous, requires_grad, whole_bounds
from conformance.observation.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.model.case import Call, Case, InputSpec, Scalar, Variant

__all__ = [
    "cotangent",
    "make",
    "perturb",
    "related",
]


def make(case: Case, variant: Variant, call: Call, seed: int, index: int) -> dict[str, object]:
    """Return the arguments of call `index`, by name: leaf tensors and Python scalars, or what a user's function makes.

    Those that share memory with another one are left to `related`.

    Raises:
        ValueError: an input does not fit its own description (shape, stride or number of values).
    """
    made = _user_made(case, seed, index)
    return {
        name: made[name] if spec.maker else _make_one(name, spec, variant, call, stream(seed, index, name))
        for name, spec in case.inputs.items()
        if spec.base is None
    }


def related(case: Case, made: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments of a call from what `make` gave: those that are no leaves, views, and the same once more."""
    bases = {name: _computed(case.inputs[name], value) for name, value in made.items()}
    return {name: _sharing(spec, bases) if spec.base else bases[name] for name, spec in case.inputs.items()}


def _computed(spec: InputSpec, value: object) -> object:
    if not isinstance(value, torch.Tensor) or (spec.leaf and not spec.inference):
        return value
    with torch.inference_mode(spec.inference):
        return value.detach().clone() if spec.inference else value * 1


def _sharing(spec: InputSpec, bases: Mapping[str, object]) -> object:
    base = bases[spec.base or ""]
    if spec.alias_of or not isinstance(base, torch.Tensor):
        return base
    sizes = [int(size) for size in spec.shape]
    return base.as_strided(sizes, spec.stride or contiguous(sizes), spec.offset)


def _user_made(case: Case, seed: int, index: int) -> dict[str, object]:
    makers = {spec.maker for spec in case.inputs.values() if spec.maker}
    made: dict[str, object] = {}
    for maker in makers:
        made |= import_module("conformance.observation.user_code").arguments(
            *maker, zlib.crc32(f"{seed}/{index}".encode())
        )
    return made


def _make_one(
    name: str, spec: InputSpec, variant: Variant, call: Call, generator: torch.Generator
) -> torch.Tensor | Scalar:
    if spec.scalar is not None:
        return call.scalars.get(name, spec.scalar)
    sizes = call.shapes.get(name, spec.shape)
    shape = tuple(int(variant.params[size]) if isinstance(size, str) else size for size in sizes)
    name_of_dtype = spec.dtype or call.dtype or variant.dtype
    dtype = getattr(torch, name_of_dtype)
    # A stride given for one shape does not apply to another.
    stride = spec.stride if shape == spec.shape else None
    with torch.no_grad():
        tensor = _strided(_numbers(spec, shape, dtype, generator), dtype, stride)
    return tensor.requires_grad_(requires_grad(name, spec, call, name_of_dtype))


def _numbers(spec: InputSpec, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Numbers of `spec` for `dtype` as float64 (complex128 for a complex dtype), contiguous."""
    if spec.values is not None:
        return torch.tensor(spec.values, dtype=torch.float64).reshape(shape)
    if spec.distribution == "integers" or not (dtype.is_floating_point or dtype.is_complex):
        low, high = whole_bounds(spec, is_bool=dtype is torch.bool)
        return torch.randint(low, high, shape, generator=generator).double()
    wide = torch.complex128 if dtype.is_complex else torch.float64
    if spec.distribution == "normal":
        return torch.randn(shape, generator=generator, dtype=wide)
    start = 0.0 if spec.low is None else spec.low
    end = 1.0 if spec.high is None else spec.high
    numbers = torch.rand(shape, generator=generator, dtype=torch.float64) * (end - start) + start
    if dtype.is_complex:
        numbers = numbers + 1j * (torch.rand(shape, generator=generator, dtype=torch.float64) * (end - start) + start)
    return _with_special(numbers, generator) if spec.distribution == "special" else numbers


def _with_special(numbers: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Put infinite numbers, NaN and zeros in place of a third of the numbers, at least one."""
    count = -(-numbers.numel() // 3)
    places = torch.randperm(numbers.numel(), generator=generator)[:count]
    numbers.view(-1)[places] = torch.tensor(SPECIAL, dtype=numbers.dtype).repeat(count)[:count]
    return numbers


def _strided(numbers: torch.Tensor, dtype: torch.dtype, stride: tuple[int, ...] | None) -> torch.Tensor:
    if stride is None:
        return numbers.to(dtype, copy=True)
    return torch.empty_strided(tuple(numbers.shape), stride, dtype=dtype).copy_(numbers)


def cotangent(output: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random cotangent for `output`: multiples of 1/16 in [-2, 2] without 0, exact in every floating dtype.

    For a complex output this holds for its real and imaginary parts.
    """
    real = _sixteenths(output.shape, generator)
    return (real + 1j * _sixteenths(output.shape, generator) if output.is_complex() else real).to(output)


def _sixteenths(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return (torch.randint(1, 33, shape, generator=generator) * signs).double() / 16


def perturb(parameters: Sequence[torch.Tensor], generator: torch.Generator) -> None:
    """Change every weight in place: double or halve it at random; zero becomes 1/16.

    This is exact in every dtype, so that weights and a float64 copy of them stay the same numbers.
    """
    with torch.no_grad():
        for parameter in parameters:
            factor = (torch.randint(0, 2, parameter.shape, generator=generator) * 1.5 + 0.5).to(parameter)
            parameter.copy_(torch.where(parameter == 0, 0.0625, parameter * factor))

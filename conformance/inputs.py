"""Seeded inputs and cotangents: the same numbers for every role, different ones for every call."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model import Call, Case, InputSpec, Scalar, Variant

__all__ = ["cotangent", "make", "perturb", "stream"]


def stream(seed: int, *names: object) -> torch.Generator:
    """A random generator that depends on nothing but the seed and the names."""
    text = "/".join(map(str, (seed, *names)))
    return torch.Generator().manual_seed(zlib.crc32(text.encode()))


def make(case: Case, variant: Variant, call: Call, seed: int, index: int) -> dict[str, object]:
    """The arguments of call `index`, by name: leaf tensors and Python scalars.

    Raises:
        ValueError: an input does not fit its own description (shape, stride or number of values).
    """
    return {name: _make_one(name, spec, variant, call, stream(seed, index, name)) for name, spec in case.inputs.items()}


def _make_one(
    name: str, spec: InputSpec, variant: Variant, call: Call, generator: torch.Generator
) -> torch.Tensor | Scalar:
    if spec.scalar is not None:
        return call.scalars.get(name, spec.scalar)
    shape = tuple(call.shapes.get(name, spec.shape))
    dtype = getattr(torch, spec.dtype or call.dtype or variant.dtype)
    # A stride given for one shape says nothing about another.
    stride = spec.stride if shape == spec.shape else None
    requires_grad = call.requires_grad.get(name, spec.requires_grad)
    with torch.no_grad():
        tensor = _strided(_numbers(spec, shape, generator), dtype, stride)
    return tensor.requires_grad_(requires_grad)


def _numbers(spec: InputSpec, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Numbers of `spec` as float64 (complex128 for a complex dtype), contiguous."""
    if spec.values is not None:
        return torch.tensor(spec.values, dtype=torch.float64).reshape(shape)
    name = spec.dtype or ""
    if spec.distribution == "integers" or name.startswith(("int", "uint", "bool")):
        default_high = 2 if name == "bool" else 10
        low, high = int(spec.low or 0), int(spec.high if spec.high is not None else default_high)
        return torch.randint(low, high, shape, generator=generator).double()
    if spec.distribution == "uniform":
        start = 0.0 if spec.low is None else spec.low
        end = 1.0 if spec.high is None else spec.high
        return torch.rand(shape, generator=generator, dtype=torch.float64) * (end - start) + start
    dtype = torch.complex128 if name.startswith("complex") else torch.float64
    return torch.randn(shape, generator=generator, dtype=dtype)


def _strided(numbers: torch.Tensor, dtype: torch.dtype, stride: tuple[int, ...] | None) -> torch.Tensor:
    if stride is None:
        return numbers.to(dtype, copy=True)
    return torch.empty_strided(tuple(numbers.shape), stride, dtype=dtype).copy_(numbers)


def cotangent(output: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random cotangent for `output`: multiples of 1/16 in [-2, 2] without 0, exact in every floating dtype."""
    sixteenths = torch.randint(1, 33, output.shape, generator=generator)
    signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
    return (sixteenths * signs / 16).to(output.dtype)


def perturb(parameters: Sequence[torch.Tensor], generator: torch.Generator) -> None:
    """Change weights in place, as an optimizer would between two calls."""
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            # Half precision first: the same numbers reach a float64 copy of the weights.
            parameter.add_((noise * 0.0625).to(torch.bfloat16).to(parameter.dtype))

"""Tolerances: those of `torch.testing` by dtype, and those of the fp64 rule."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CLOSE", "DIRECT_ABOVE", "FACTOR", "REFERENCE", "lowest", "moves_allowed", "reference_tolerance"]

# (rtol, atol), the defaults documented for torch.testing.assert_close; other dtypes are compared exactly. Float64 has
# tighter ones: within the documented 1e-7 a result may have been computed in float32.
CLOSE: Mapping[torch.dtype, tuple[float, float]] = MappingProxyType(
    {
        torch.float16: (1e-3, 1e-5),
        torch.bfloat16: (1.6e-2, 1e-5),
        torch.float32: (1.3e-6, 1e-5),
        torch.float64: (1e-10, 1e-10),
        torch.complex64: (1.3e-6, 1e-5),
        torch.complex128: (1e-10, 1e-10),
    }
)

# The fp64 rule: err(actual) <= max(FACTOR * err(expected), tolerance). Any factor from 2 to 30 gives the same verdicts.
FACTOR = 10.0

# Where uncompiled is this far from fp64, and the spread of its numbers does not explain it, the fp64 reference is not
# used and both sides are compared directly.
DIRECT_ABOVE = 5e-2

# From most to least precise, with the tolerance of the rule.
REFERENCE: Mapping[torch.dtype, float] = MappingProxyType(
    {
        torch.complex128: 1e-10,
        torch.float64: 1e-10,
        torch.complex64: 2e-5,
        torch.float32: 2e-5,
        torch.float16: 2e-3,
        torch.bfloat16: 2e-2,
    }
)


def lowest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """Return the least precise floating dtype among `dtypes`; float64 if there is none."""
    order = list(REFERENCE)
    return max((dtype for dtype in dtypes if dtype in REFERENCE), key=order.index, default=torch.float64)


def reference_tolerance(dtype: torch.dtype, overrides: Mapping[str, float]) -> float:
    """Return the fp64 rule's tolerance for the lowest precision on the path; `overrides` are by dtype name."""
    return overrides.get(str(dtype).removeprefix("torch."), REFERENCE[dtype])


def moves_allowed(dtype: torch.dtype) -> float:
    """Return how many times the uncompiled spread, for a unit in the last place of a dtype, a result may be off.

    For a result that moves by no more than that unit, this is the tolerance of its precision.
    """
    return min(FACTOR, REFERENCE[dtype] / torch.finfo(dtype).eps)

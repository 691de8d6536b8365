"""The fp64 rule, and what it allows for ill-conditioned results.

A result must be within a tolerance of fp64, or within ten times the error of the uncompiled result. Where that fails,
the rule measures how far the uncompiled result moves when all inputs move by a unit in the last place. A correct
backend is within a few times that distance, and no rule can demand more: a difference of large numbers, or a gradient
that is zero but for rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from conformance.observation.distances import distance, gaps, largest, relative_error, sizes
from conformance.observation.tolerance import DIRECT_ABOVE, FACTOR, moves_allowed, reference_tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from conformance.observation.snapshot import Leaf

__all__ = ["Fp64Reference", "Ruling", "rule"]

_USUAL = 0.99


class Fp64Reference(Protocol):
    """Interface of the fp64 reference of a request; `conformance.observation.fp64` implements it.

    A leaf is named by its set of leaves, e.g. `call[0].outputs`, and its path there.
    """

    @property
    def overrides(self) -> Mapping[str, float]:
        """By dtype, the larger of the relative errors that the backend declares and the case allows."""

    def demands_bits(self, where: str) -> bool:
        """Whether a set of leaves must have the bits of uncompiled, as the backend claims."""

    def precision(self, where: str) -> torch.dtype:
        """The lowest floating dtype on the path to a set of leaves."""

    def leaf(self, where: str, path: str) -> torch.Tensor | None:
        """The numbers of a leaf in float64, or None where there are none."""

    def spread(self, where: str, path: str) -> torch.Tensor | None:
        """How far the numbers of a leaf move, element by element, or None where that is not known."""

    def other_draws(self, where: str, path: str) -> Sequence[Leaf]:
        """The leaf for further seeds, where it depends on random numbers that need not be the same."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Whether a tensor passes, and the numbers that decide it.

    The errors are relative to the largest number of fp64, None where fp64 is not usable. `bound` is absolute,
    `allowed` describes it, `remark` is a note on a tensor that passes.
    """

    is_held: bool
    bound: float
    error_actual: float | None = None
    error_expected: float | None = None
    allowed: str = ""
    remark: str = ""


def rule(actual: torch.Tensor, expected: torch.Tensor, reference: Fp64Reference, where: str, path: str) -> Ruling:
    """Judge a tensor that is not close to uncompiled; in the reference it is `path` in the leaves `where`."""
    ideal = reference.leaf(where, path)
    if ideal is not None and not _is_meaningful(ideal, expected):
        ideal = None
    dtype = reference.precision(where)
    ruling = _by_error(actual, expected, ideal, reference_tolerance(dtype, reference.overrides))
    spread = None if ruling.is_held else reference.spread(where, path)
    if spread is not None and spread.shape == expected.shape:
        ruling = _by_spread(actual, expected, ideal, ruling, _Spread(elements=spread, dtype=dtype))
    return replace(ruling, remark=f"{path} {ruling.remark}" if ruling.remark else "")


def _by_error(actual: torch.Tensor, expected: torch.Tensor, ideal: torch.Tensor | None, tolerance: float) -> Ruling:
    """Compare with fp64, or with the uncompiled result where that is far from fp64 or fp64 is not usable."""
    error_actual = None if ideal is None else relative_error(actual, ideal)
    error_expected = None if ideal is None else relative_error(expected, ideal)
    if ideal is None or error_actual is None or error_expected is None or error_expected > DIRECT_ABOVE:
        center, error, bound = expected, relative_error(actual, expected), tolerance
        allowed = f"relative error {bound:.2g} against the uncompiled result; saw {error:.2g}"
    else:
        center, error, bound = ideal, error_actual, max(FACTOR * error_expected, tolerance)
        errors = f"saw {error_actual:.2g}, uncompiled itself is off by {error_expected:.2g}"
        allowed = f"relative error {bound:.2g} against fp64; {errors}"
    return Ruling(
        is_held=error <= bound,
        bound=bound * (largest(sizes(center)) or 1.0),
        error_actual=error_actual,
        error_expected=error_expected,
        allowed=allowed,
        remark=_more_precise(error_actual, error_expected),
    )


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """How far the uncompiled numbers of a leaf move, elementwise, for a unit in the last place of a dtype."""

    elements: torch.Tensor
    dtype: torch.dtype

    @property
    def size(self) -> float:
        """How far 99% of the elements move: one flipped by a threshold excuses only itself."""
        return float(self.elements.flatten().kthvalue(math.ceil(_USUAL * self.elements.numel())).values)

    @property
    def limit(self) -> float:
        """The largest error allowed for an element."""
        return moves_allowed(self.dtype) * self.size

    def explains(self, left: torch.Tensor, right: torch.Tensor) -> bool:
        """Whether the spread accounts for every difference between two results."""
        limits = (moves_allowed(self.dtype) * self.elements).clamp(min=self.limit)
        off = gaps(left, right)
        return bool((off <= limits)[off.isfinite() | (left.isfinite() & right.isfinite())].all())

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        cause = f"inputs, weights and cotangents move by a unit in the last place of {dtype}"
        return f"{moves_allowed(self.dtype):.2g} times what uncompiled itself moves by ({self.size:.2g}) when {cause}"


def _by_spread(
    actual: torch.Tensor, expected: torch.Tensor, ideal: torch.Tensor | None, ruling: Ruling, spread: _Spread
) -> Ruling:
    """Allow what is within the spread of uncompiled numbers, around fp64 where the spread explains them."""
    is_near = ruling.error_expected is not None and ruling.error_expected <= DIRECT_ABOVE
    explains = ideal is not None and (is_near or spread.explains(expected, ideal))
    center, name = (ideal, "fp64") if ideal is not None and explains else (expected, "the uncompiled result")
    off = distance(actual, center)
    if spread.explains(actual, center):
        return replace(ruling, is_held=True, remark=f"is off {name} by {off:.2g}, within {spread}")
    if spread.limit <= ruling.bound:
        return ruling
    return replace(ruling, allowed=f"{spread.limit:.2g} off {name}, {spread}; saw {off:.2g}")


def _is_meaningful(ideal: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether float64 seems to take the same path as the uncompiled program, by shape and finite numbers."""
    if ideal.shape != expected.shape or ideal.is_complex() != expected.is_complex():
        return False
    return bool((ideal.isfinite() | ~expected.isfinite()).all())


def _more_precise(error_actual: float | None, error_expected: float | None) -> str:
    """Remark on a backend that is clearly more precise than uncompiled: it computes in another dtype."""
    if error_actual is None or error_expected is None or error_actual * FACTOR > error_expected:
        return ""
    return f"is more precise than uncompiled: off by {error_actual:.2g} from fp64, uncompiled by {error_expected:.2g}"

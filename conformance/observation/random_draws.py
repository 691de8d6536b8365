"""Comparison of results that depend on random numbers, for a backend that may draw different ones.

The uncompiled program is run with further seeds, which shows what depends on the draw and how it is distributed. A
backend's result must have the same facts, and its statistics must be in the range of those of the uncompiled runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from conformance.model.result import Difference
from conformance.observation.distances import sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from conformance.observation.snapshot import Leaf

__all__ = ["SEEDS", "depends", "unlike"]

SEEDS = 24
"""Further uncompiled runs."""

_DEVIATIONS = 6.5  # for 24 runs, one correct statistic in a million is farther out
_EVENTS = 3  # elements more or fewer of a kind too rare to occur in every run
_MANY = 32  # elements from which on a single one hardly matters
_ROUNDING = 1e-3  # far below the effect of a draw on a statistic
_TAIL = 10  # median distances, beyond which a distance counts logarithmically

_FACTS = ("type", "dtype", "device", "tensor_layout", "shape")


def depends(leaves: Sequence[Leaf]) -> bool:
    """Whether a leaf is not the same for every seed."""
    first = leaves[0]
    return any(_differs(first, leaf) for leaf in leaves[1:])


def _differs(left: Leaf, right: Leaf) -> bool:
    if left.data is None or right.data is None:
        return bool(left.value != right.value)
    same = left.data.shape == right.data.shape and torch.equal(left.data.nan_to_num(), right.data.nan_to_num())
    return not same


def unlike(path: str, actual: Leaf, leaves: Sequence[Leaf]) -> Iterator[Difference]:
    """Return how a leaf differs from those of the uncompiled program for several seeds."""
    for fact in _FACTS:
        known = {leaf.facts.get(fact) for leaf in leaves}
        if len(known) == 1 and actual.facts.get(fact) not in known:
            yield Difference(path=path, kind=fact, actual=str(actual.facts.get(fact)), expected=str(*known))
            return
    samples = [leaf.data for leaf in leaves if leaf.data is not None and leaf.data.numel()]
    if actual.data is None or len(samples) < len(leaves) or not actual.data.numel():
        return
    for name, statistic in _STATISTICS.items():
        yield from _outlier(path, name, statistic, actual.data, samples)


def _outlier(
    path: str,
    name: str,
    statistic: Callable[[torch.Tensor], torch.Tensor],
    actual: torch.Tensor,
    samples: Sequence[torch.Tensor],
) -> Iterator[Difference]:
    """Return a statistic outside the range of the samples; large distances are compressed by asinh."""
    value, known = statistic(actual), torch.stack([statistic(sample) for sample in samples])
    off = ((value - known.median()).abs() - _slack(name, actual, known, samples)).clamp(min=0)
    spread = (known - known.median()).abs().median() or known.std() or torch.ones(())
    if (off / spread / _TAIL).asinh() > _DEVIATIONS * ((known - known.median()) / spread / _TAIL).asinh().std():
        yield Difference(
            path=path,
            kind="statistic of random numbers",
            actual=f"{name} {float(value):.4g}",
            expected=f"{name} {float(known.min()):.4g} to {float(known.max()):.4g} for {len(samples)} seeds",
            allowed="what uncompiled runs spread over; the backend does not claim to draw the same numbers (rng)",
        )


def _slack(name: str, actual: torch.Tensor, known: torch.Tensor, samples: Sequence[torch.Tensor]) -> torch.Tensor:
    """The effect on a statistic of rounding, and of a few elements of a kind too rare to occur in every run."""
    if name.startswith("share"):
        each = torch.ones(())
    elif actual.numel() >= _MANY:
        each = torch.stack([_finite(tensor).max() for tensor in (actual, *samples)]).median()
    else:
        each = torch.zeros(())
    return _ROUNDING * known.median().abs() + _EVENTS * each / actual.numel()


def _finite(tensor: torch.Tensor) -> torch.Tensor:
    found = sizes(tensor)[tensor.isfinite()]
    return found if found.numel() else torch.zeros(1, dtype=torch.float64)


def _middle(tensor: torch.Tensor) -> torch.Tensor:
    """The median, which is robust to long tails, of what is finite and not zero."""
    real = (tensor.real if tensor.is_complex() else tensor).double()
    found = real[real.isfinite() & (real != 0)]
    return found.median() if found.numel() else torch.zeros((), dtype=torch.float64)


_STATISTICS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "median": _middle,
    "median magnitude": lambda tensor: _middle(_finite(tensor)),
    "share of zeros": lambda tensor: (tensor == 0).double().mean(),
    "share of finite numbers": lambda tensor: tensor.isfinite().double().mean(),
}

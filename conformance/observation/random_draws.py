"""Results that depend on random numbers, where a backend draws others: what can still be said of them.

The uncompiled program is run with further seeds, which shows what depends on the draw and how it is distributed. What a
backend gives has to be of the same kind, and its statistics have to lie where those of the uncompiled runs do.
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

_DEVIATIONS = 6.5  # for 24 runs, one honest statistic in a million lies farther out
_EVENTS = 3  # elements more or fewer of a kind too rare to have been seen
_MANY = 32  # elements, of which one says little about the others
_ROUNDING = 1e-3  # far below what a draw makes of a statistic that depends on it
_TAIL = 10  # usual distances, up to which a distance counts in full

_KIND = ("type", "dtype", "device", "tensor_layout", "shape")


def depends(leaves: Sequence[Leaf]) -> bool:
    """Whether a leaf is not the same for every seed."""
    first = leaves[0]
    return any(_differs(first, other) for other in leaves[1:])


def _differs(one: Leaf, other: Leaf) -> bool:
    if one.data is None or other.data is None:
        return bool(one.value != other.value)
    same = one.data.shape == other.data.shape and torch.equal(one.data.nan_to_num(), other.data.nan_to_num())
    return not same


def unlike(path: str, actual: Leaf, leaves: Sequence[Leaf]) -> Iterator[Difference]:
    """How a leaf is unlike those that the uncompiled program gives for several seeds."""
    for fact in _KIND:
        known = {leaf.facts.get(fact) for leaf in leaves}
        if len(known) == 1 and actual.facts.get(fact) not in known:
            yield Difference(path=path, kind=fact, actual=str(actual.facts.get(fact)), expected=str(*known))
            return
    samples = [leaf.data for leaf in leaves if leaf.data is not None and leaf.data.numel()]
    if actual.data is None or len(samples) < len(leaves) or not actual.data.numel():
        return
    for name, statistic in _STATISTICS.items():
        yield from _out_of_place(path, name, statistic, actual.data, samples)


def _out_of_place(
    path: str,
    name: str,
    statistic: Callable[[torch.Tensor], torch.Tensor],
    actual: torch.Tensor,
    samples: Sequence[torch.Tensor],
) -> Iterator[Difference]:
    """A statistic that lies where those of the samples do not; long tails are drawn in before they are measured."""
    seen, known = statistic(actual), torch.stack([statistic(sample) for sample in samples])
    off = ((seen - known.median()).abs() - _slack(name, actual, known, samples)).clamp(min=0)
    spread = (known - known.median()).abs().median() or known.std() or torch.ones(())
    if (off / spread / _TAIL).asinh() > _DEVIATIONS * ((known - known.median()) / spread / _TAIL).asinh().std():
        yield Difference(
            path=path,
            kind="statistic of random numbers",
            actual=f"{name} {float(seen):.4g}",
            expected=f"{name} {float(known.min()):.4g} to {float(known.max()):.4g} for {len(samples)} seeds",
            allowed="what uncompiled runs spread over; the backend does not claim to draw the same numbers (rng)",
        )


def _slack(name: str, actual: torch.Tensor, known: torch.Tensor, samples: Sequence[torch.Tensor]) -> torch.Tensor:
    """What rounding makes of a statistic, and a few elements of a kind that is too rare to be seen each time."""
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
    """The median, which long tails hardly move, of what is finite and not zero."""
    real = (tensor.real if tensor.is_complex() else tensor).double()
    found = real[real.isfinite() & (real != 0)]
    return found.median() if found.numel() else torch.zeros((), dtype=torch.float64)


_STATISTICS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "median": _middle,
    "median magnitude": lambda tensor: _middle(_finite(tensor)),
    "share of zeros": lambda tensor: (tensor == 0).double().mean(),
    "share of finite numbers": lambda tensor: tensor.isfinite().double().mean(),
}

"""PyTorch's own backends in compiler order, and all backends sorted by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LADDER", "by_ladder"]


LADDER = ("eager", "pre_dispatch_eager", "aot_eager", "aot_eager_decomp_partition", "inductor")
"""PyTorch's own backends in compiler order: the first rung that differs identifies the faulty layer."""


def by_ladder(backends: Iterable[str]) -> list[str]:
    """Sort names: the rungs of the ladder first, bottom up, then the remaining ones alphabetically."""
    rank = {name: place for place, name in enumerate(LADDER)}
    return sorted(set(backends), key=lambda name: (rank.get(name, len(rank)), name))

"""A pairwise-covering subset: few candidates that together contain every pair of values that any candidate contains."""

from __future__ import annotations

import heapq
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["pairs", "pairwise"]

Pair = tuple[int, "Hashable", int, "Hashable"]


def pairs(candidate: Sequence[Hashable]) -> frozenset[Pair]:
    """Return every two values of a candidate, with the indices of their factors."""
    return frozenset((i, first, j, second) for (i, first), (j, second) in combinations(enumerate(candidate), 2))


def pairwise(candidates: Sequence[Sequence[Hashable]]) -> list[int]:
    """Choose candidates, by index, so that each pair of values that occurs in any occurs in a chosen one.

    A candidate is a sequence of values, one per factor. Greedy: always the candidate that contains the most uncovered
    pairs, the first of equals; so the same candidates in the same order give the same choice.
    """
    contained = [pairs(candidate) for candidate in candidates]
    missing = set[Pair]().union(*contained)
    # What a candidate adds only ever shrinks, so an old count is an upper bound and few need to be counted again.
    waiting = [(-len(each), index) for index, each in enumerate(contained)]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while missing:
        index = waiting[0][1]
        adds = (-len(contained[index] & missing), index)
        if heapq.heapreplace(waiting, adds) == adds:
            chosen.append(index)
            missing -= contained[index]
    return sorted(chosen)

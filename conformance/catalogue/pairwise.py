"""A pairwise-covering subset: few candidates that together show every pair of values that any candidate shows."""

from __future__ import annotations

import heapq
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["pairs", "pairwise"]

Pair = tuple[int, "Hashable", int, "Hashable"]


def pairs(candidate: Sequence[Hashable]) -> frozenset[Pair]:
    """Every two values of a candidate, with the numbers of the factors they are values of."""
    return frozenset((i, one, j, other) for (i, one), (j, other) in combinations(enumerate(candidate), 2))


def pairwise(candidates: Sequence[Sequence[Hashable]]) -> list[int]:
    """Choose candidates, by index, so that each pair of values that occurs in any occurs in a chosen one.

    A candidate is a sequence of values, one a factor. Greedy: always the candidate that shows the most pairs not yet
    shown, the first of equals; so the same candidates in the same order give the same choice.
    """
    shown = [pairs(candidate) for candidate in candidates]
    missing = set[Pair]().union(*shown)
    # What a candidate adds only ever shrinks, so an old count is an upper bound and few need to be counted again.
    waiting = [(-len(each), index) for index, each in enumerate(shown)]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while missing:
        index = waiting[0][1]
        adds = (-len(shown[index] & missing), index)
        if heapq.heapreplace(waiting, adds) == adds:
            chosen.append(index)
            missing -= shown[index]
    return sorted(chosen)

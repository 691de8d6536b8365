"""What guides the drawing of programs: which programs reached something new, and all that was reached.

A program reaches the pairs of its consecutive parts (operations, views, changes in place, levels, branches, moves), and
what its attempt saw of the compiler: kinds of guards, shapes of graphs and pairs of nodes in them, and counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from conformance.model.case import Case

__all__ = ["Drawn", "Guide", "Kept", "pairs", "reaching"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A program that was drawn.

    Args:
        case: the program.
        choices: the numbers that it was drawn from.
        pairs: of its consecutive parts.
    """

    case: Case
    choices: tuple[int, ...]
    pairs: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A program that reached something new, and is kept to be varied.

    Args:
        choices: the numbers that it was drawn from.
        reached: what no program before it had reached.
    """

    choices: tuple[int, ...]
    reached: tuple[str, ...]


@dataclass(frozen=True)
class Guide:
    """The programs that are kept, in the order in which they were run."""

    kept: Sequence[Kept] = ()

    @cached_property
    def reached(self) -> frozenset[str]:
        """All that these programs were the first to reach."""
        return frozenset(name for one in self.kept for name in one.reached)


def pairs(parts: Sequence[str]) -> frozenset[str]:
    """The pairs of consecutive parts of a program."""
    return frozenset(f"{first} > {then}" for first, then in pairwise(parts))


def reaching(ran: Iterable[tuple[Drawn, Iterable[str]]], known: Iterable[str]) -> tuple[Kept, ...]:
    """The programs that reach something new, of those that ran, each with what its attempt saw."""
    reached, kept = set(known), list[Kept]()
    for drawn, observed in ran:
        if new := {*drawn.pairs, *observed} - reached:
            kept.append(Kept(choices=drawn.choices, reached=tuple(sorted(new))))
            reached |= new
    return tuple(kept)

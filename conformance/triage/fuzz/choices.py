"""The numbers that a program is drawn from, and how they are varied: from the same numbers comes the same program."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

__all__ = ["Choices", "varied"]

T = TypeVar("T")

_SPAN = 4  # how many numbers are left out or repeated, at most


class Choices:
    """Choices among options: as given as far as that goes, then at random.

    Args:
        random: of what is not given.
        given: numbers; each is taken modulo the number of options, so that any numbers give a program.

    Attributes:
        made: the numbers that were chosen, which give the same program again.
    """

    def __init__(self, random: Random, given: Sequence[int] = ()) -> None:
        self.made: list[int] = []
        self._random, self._given = random, given

    def pick(self, options: Iterable[T]) -> T:
        """One of the options."""
        among, place = tuple(options), len(self.made)
        number = self._given[place] if place < len(self._given) else self._random.randrange(len(among))
        self.made.append(number % len(among))
        return among[self.made[-1]]


def varied(choices: Sequence[int], random: Random) -> tuple[int, ...]:
    """Numbers like these: one is another, a few are left out or repeated, or all from some place on are missing."""
    place, bound = random.randrange(len(choices)), max(choices) + 1
    before, after = tuple(choices[:place]), tuple(choices[place:])
    span = random.randint(1, _SPAN)
    ways = (
        (*before, random.randrange(bound), *after[1:]),
        (*before, random.randrange(bound), *after[1:]),
        (*before, *after[span:]),
        (*before, *after[:span], *after),
        before,
    )
    return ways[random.randrange(len(ways))]

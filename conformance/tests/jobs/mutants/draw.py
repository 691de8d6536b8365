"""Which mutants are drawn."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from conformance.tests.jobs.mutants.operators import OPERATORS, mutants_at, places_of
from conformance.tests.jobs.mutants.sources import home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.tests.jobs.mutants.operators import Mutant, Place

__all__ = ["draw"]


def draw(count: int, seed: int, groups: Mapping[str, Sequence[str]]) -> Iterator[Mutant]:
    """Draw mutants, as many of each group: of its files by their size, and of each of these by operators in turn.

    Those of a file follow each other, for parsing one takes seconds.

    Args:
        count: how many.
        seed: of the draw: the same on the same release of torch.
        groups: files relative to `home`, by name.
    """
    each, more = divmod(count, len(groups))
    for place, (name, members) in enumerate(groups.items()):
        chance = random.Random(f"{seed} {name}")  # noqa: S311 - a draw, no secret
        sizes = [(home() / file).stat().st_size for file in members]
        chosen = Counter(chance.choices(members, sizes, k=each + (place < more)))
        for file in sorted(chosen):
            yield from islice(_of_file(file, chance), chosen[file])


def _of_file(file: str, chance: random.Random) -> Iterator[Mutant]:
    """Mutants of a file in the order of the draw: the operators take turns, each at places in a random order."""
    text = (home() / file).read_text(encoding="utf-8")
    places: dict[str, list[Place]] = {name: [] for name in chance.sample(list(OPERATORS), len(OPERATORS))}
    for place in places_of(text):
        places[place.operator].append(place)
    for each in places.values():
        chance.shuffle(each)
    while any(places.values()):
        for each in places.values():
            if made := _next_of(each, file, text):
                yield chance.choice(made)


def _next_of(places: list[Place], file: str, text: str) -> list[Mutant]:
    """The mutants at the next place at which there are any."""
    while places:
        if made := mutants_at(file, text, places.pop()):
            return made
    return []

"""A mutant that is to be run, and the requests that reach it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from conformance.tests.jobs.mutants import sources
from conformance.tests.jobs.mutants.codes import compiled, is_within_functions, lines_around, lines_of
from conformance.tests.jobs.mutants.operators import mutated
from conformance.tests.jobs.mutants.result import Fate, Result, blank

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from conformance.model.request import Key, Request
    from conformance.tests.jobs.mutants.operators import Mutant
    from conformance.tests.jobs.mutants.reach import Reach

__all__ = ["Quarry", "find", "varied"]

_SEED = "test/dynamo/test_pre_dispatch.py"


@dataclass(frozen=True, kw_only=True)
class Quarry:
    """A mutant that is to be hunted.

    Args:
        mutant: what to run.
        seed: of its draw.
        text: the changed text of its file.
        is_live: whether a process that has loaded the file can become the mutant.
        chosen: the requests to run, in this order.
        seeds: those of PyTorch's own three programs that reach it.
        reaching: how many requests reach it.
    """

    mutant: Mutant
    seed: int
    text: str
    is_live: bool
    chosen: Sequence[Request]
    seeds: Sequence[Request]
    reaching: int


def find(mutant: Mutant, *, seed: int, most: int, reached: Reach, requests: Mapping[Key, Request]) -> Quarry | Result:
    """A mutant with at most so many of the requests that reach it; or what became of it where nothing has to be run."""
    before = (sources.home() / mutant.file).read_text(encoding="utf-8")
    text = mutated(before, mutant)
    if text is None:
        return blank(mutant, seed, Fate.EQUIVALENT)
    pair = compiled(before), compiled(text)
    lines = lines_of(*pair, mutant.line)
    reaching = [requests[key] for key in reached.of(mutant.file, lines) if key in requests]
    if not reaching:
        return blank(mutant, seed)
    return Quarry(
        mutant=mutant,
        seed=seed,
        text=text,
        is_live=is_within_functions(*pair) and not reached.is_at_start(mutant.file, lines),
        chosen=varied(reaching, reached.ways(mutant.file, lines_around(*pair)), most),
        seeds=_of_seed(reaching),
        reaching=len(reaching),
    )


def varied(reaching: Sequence[Request], ways: Mapping[Key, Hashable], most: int) -> list[Request]:
    """At most so many requests that take turns: by the way they take through the function, and there by area.

    Those of one backend follow each other, since several of them run in one process.

    Args:
        reaching: all of them, in the order that counts where turns do not decide.
        ways: by request, those of its lines that it reaches.
        most: how many are wanted.
    """
    by_way = _grouped(reaching, lambda request: ways.get(request.key))
    turns = [_in_turns(_grouped(each, _area).values()) for each in by_way.values()]
    backends = list(_grouped(reaching, _backend))
    return sorted(_in_turns(turns)[:most], key=lambda request: backends.index(_backend(request)))


def _backend(request: Request) -> Hashable:
    return request.backend.name


def _area(request: Request) -> Hashable:
    return request.backend.name, request.case.area


def _grouped(requests: Iterable[Request], name: Callable[[Request], Hashable]) -> dict[Hashable, list[Request]]:
    groups: dict[Hashable, list[Request]] = {}
    for request in requests:
        groups.setdefault(name(request), []).append(request)
    return groups


def _in_turns(groups: Iterable[Sequence[Request]]) -> list[Request]:
    """The first of each group, then the second of each."""
    return [request for turn in zip_longest(*groups) for request in turn if request is not None]


def _of_seed(requests: Iterable[Request]) -> list[Request]:
    """Those of the three programs of PyTorch's `test_pre_dispatch.py`, as they are there."""
    return [one for one in requests if (one.case.source or "").endswith(_SEED) and not one.moves]

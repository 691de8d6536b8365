"""A mutant that is to be run, and the requests that reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.tests.jobs.mutants import sources
from conformance.tests.jobs.mutants.codes import compiled, is_within_functions, lines_of
from conformance.tests.jobs.mutants.operators import mutated
from conformance.tests.jobs.mutants.result import Fate, Result, blank

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conformance.model.request import Key, Request
    from conformance.tests.jobs.mutants.operators import Mutant
    from conformance.tests.jobs.mutants.reach import Reach

__all__ = ["Quarry", "find", "likeliest"]

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
        chosen=likeliest(reaching, most),
        seeds=_of_seed(reaching),
        reaching=len(reaching),
    )


def likeliest(reaching: Sequence[Request], most: int) -> list[Request]:
    """At most so many requests, one of each area in turn, in the given order within an area."""
    areas: dict[tuple[str, str], list[Request]] = {}
    for request in reaching:
        areas.setdefault((request.backend.name, request.case.area), []).append(request)
    turns = [(turn, request) for requests in areas.values() for turn, request in enumerate(requests)]
    return [request for _, request in sorted(turns, key=lambda pair: pair[0])[:most]]


def _of_seed(requests: Iterable[Request]) -> list[Request]:
    """Those of the three programs of PyTorch's `test_pre_dispatch.py`, as they are there."""
    return [one for one in requests if (one.case.source or "").endswith(_SEED) and not one.moves]

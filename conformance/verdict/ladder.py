"""PyTorch's own backends in compiler order: the first rung from which on a failure shows is where to look for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from conformance.model.ladder import LADDER
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Attempt, Record

__all__ = ["DEBUG", "Rung", "below", "beneath", "climb", "first", "first_in_records"]

DEBUG = "pre_dispatch_eager"
"""A rung for debugging: no backend is built on it, so its own failures explain no other's."""

_AOT_RUNGS = ("aot_eager", "eager")


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Result of a request on one backend; `same` is whether it shows the failure."""

    backend: str
    symptom: Symptom
    same: bool


def below(backend: str) -> tuple[str, ...]:
    """Return the rungs below a backend; for one that is not a rung itself, all of them."""
    return LADDER[: LADDER.index(backend)] if backend in LADDER else LADDER


def beneath(backend: str, *, is_aot: bool) -> tuple[str, ...]:
    """Return the rungs that a backend is built on, the nearest first.

    Args:
        backend: its name.
        is_aot: whether AOTAutograd made its backward; of a backend that is no rung nothing else is known.
    """
    if backend in LADDER:
        return tuple(rung for rung in reversed(below(backend)) if rung != DEBUG)
    return _AOT_RUNGS if is_aot else _AOT_RUNGS[-1:]


def climb(
    request: Request,
    failure: Symptom,
    infos: Iterable[BackendInfo],
    attempt: Callable[[Request], Attempt],
) -> Iterator[Rung]:
    """Run a request on each rung below its backend, and then on the backend.

    Args:
        request: the request that fails.
        failure: its symptom.
        infos: descriptions of the rungs.
        attempt: runs a request.
    """
    rungs = {info.name: info for info in infos}
    for info in (*(rungs[name] for name in below(request.backend.name)), request.backend):
        symptom = Symptom.of(attempt(replace(request, backend=info)))
        yield Rung(backend=info.name, symptom=symptom, same=symptom == failure)


def first(rungs: Sequence[Rung]) -> str:
    """Return the first rung from which on all show the failure, backend included; empty if the backend does not."""
    return _first_rung([(rung.backend, rung.same) for rung in rungs])


def first_in_records(records: Iterable[Record]) -> Mapping[tuple[str, str, str], str]:
    """Return, by key of each failure, the first rung from which on every record is of the same failure.

    Failures with an unrecorded rung below them are left out; the debugging rung need not have a record.
    """
    known = {record.key: record for record in records}
    symptom = cache(lambda key: Symptom.of_record(known[key]))  # most records are passes, whose symptom is not needed
    found = {}
    for (backend, case, variant), record in known.items():
        if not record.outcome.is_failure:
            continue
        keys = [(rung, case, variant) for rung in (*below(backend), backend)]
        keys = [key for key in keys if key in known or key[0] != DEBUG]
        if all(key in known for key in keys):
            found[record.key] = _first_rung([(key[0], symptom(key) == symptom(record.key)) for key in keys])
    return found


def _first_rung(path: Sequence[tuple[str, bool]]) -> str:
    """The lowest of the consecutive rungs that show a failure, from the backend at the end of the path down.

    A rung that does not show it ends the search, unless the backend is certainly not built on it.
    """
    backend, found = path[-1][0], ""
    skipped = {DEBUG} if backend in LADDER else {DEBUG, LADDER[-1]}
    for rung, shows in reversed(path):
        if shows:
            found = rung
        elif rung == backend or rung not in skipped:
            break
    return found

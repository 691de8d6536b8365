"""PyTorch's own backends in compiler order: a failure that shows from one of them on is that one's part to explain."""

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

__all__ = ["DEBUG", "Rung", "below", "climb", "first", "first_in_records"]

DEBUG = "pre_dispatch_eager"
"""A rung for debugging: no backend is built on it, so that what it does by itself leads nowhere."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What a request shows on one backend; `same` says whether it is what is looked for."""

    backend: str
    symptom: Symptom
    same: bool


def below(backend: str) -> tuple[str, ...]:
    """The rungs under a backend: for one that is no rung itself, all of them."""
    return LADDER[: LADDER.index(backend)] if backend in LADDER else LADDER


def climb(
    request: Request,
    wanted: Symptom,
    infos: Iterable[BackendInfo],
    attempt: Callable[[Request], Attempt],
) -> Iterator[Rung]:
    """Run a request on each rung below its backend, and on that last.

    Args:
        request: what shows the failure.
        wanted: the failure.
        infos: the rungs as they are here.
        attempt: runs a request.
    """
    rungs = {info.name: info for info in infos}
    for info in (*(rungs[name] for name in below(request.backend.name)), request.backend):
        seen = Symptom.of(attempt(replace(request, backend=info)))
        yield Rung(backend=info.name, symptom=seen, same=seen == wanted)


def first(rungs: Sequence[Rung]) -> str:
    """The first rung from which on all show the failure, its own backend last; empty where that one does not."""
    return _lead([(rung.backend, rung.same) for rung in rungs])


def first_in_records(records: Iterable[Record]) -> Mapping[tuple[str, str, str], str]:
    """For the key of each failure, the first rung from which on every record is of the same failure, itself included.

    Left out are those with a rung below them that has no record: nobody has looked. One for debugging need have none.
    """
    known = {record.key: record for record in records}
    symptom = cache(lambda key: Symptom.of_record(known[key]))  # most records are of passes, which nobody asks for
    found = {}
    for (backend, case, variant), record in known.items():
        if not record.outcome.is_failure:
            continue
        keys = [(rung, case, variant) for rung in (*below(backend), backend)]
        keys = [key for key in keys if key in known or key[0] != DEBUG]
        if all(key in known for key in keys):
            found[record.key] = _lead([(key[0], symptom(key) == symptom(record.key)) for key in keys])
    return found


def _lead(path: Sequence[tuple[str, bool]]) -> str:
    """The lowest rung of the unbroken run of those that show a failure, from the backend at the end of the path down.

    A rung that does not show it breaks the run, unless the backend is certainly not built on it.
    """
    backend, found = path[-1][0], ""
    aside = {DEBUG} if backend in LADDER else {DEBUG, LADDER[-1]}
    for rung, shows in reversed(path):
        if shows:
            found = rung
        elif rung == backend or rung not in aside:
            break
    return found

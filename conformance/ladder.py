"""PyTorch's own backends in compiler order: the first on which a failure shows names the part that is to blame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.discover import LADDER
from conformance.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from conformance.model import Attempt, BackendInfo, Record, Request

__all__ = ["Rung", "below", "climb", "first", "first_in_records"]


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


def first(rungs: Iterable[Rung]) -> str:
    """The first rung that shows the failure; empty where none does. No rung above it is looked at."""
    return next((rung.backend for rung in rungs if rung.same), "")


def first_in_records(records: Iterable[Record]) -> Mapping[tuple[str, str, str], str]:
    """For the key of each failure, the first rung of which there is a record with the same failure, itself included.

    Left out are those with a rung below them that has no record: nobody has looked.
    """
    symptoms = {record.key: Symptom.of_record(record) for record in records}
    found = {}
    for (backend, case, variant), wanted in symptoms.items():
        if not wanted.outcome.is_failure:
            continue
        keys = [(rung, case, variant) for rung in (*below(backend), backend)]
        if all(key in symptoms for key in keys):
            found[backend, case, variant] = next(key[0] for key in keys if symptoms[key] == wanted)
    return found

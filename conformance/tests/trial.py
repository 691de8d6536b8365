"""Run cases of the suite on a saboteur or an honest backend, for failures that PyTorch itself does not show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.backend import discovery
from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import select
from conformance.execution.runner import BATCH, Run
from conformance.model.enums import Level, Outcome
from conformance.model.moves import MOVES, NO_MOVES, SEPARATOR
from conformance.model.request import BackendInfo
from conformance.tests.fakes import an_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.result import Record

__all__ = ["CASES", "Findings", "findings", "findings_of", "making", "of_repository", "requiring", "trial"]

CASES = load_cases()

Findings = dict[tuple[str, str], set[str]]
"""By case and variant: the outcome that is no pass, and the MUST checks that did not hold."""


def trial(
    backend: BackendInfo,
    *globs: str,
    cases: Sequence[Case] = CASES,
    batch: int = BATCH,
    jobs: int = 2,
    **selection: Any,
) -> Iterator[Record]:
    """Run those of the cases that match on a backend, `jobs` at a time, at most `batch` of an area in one process."""
    plan = select(cases, [backend], case_globs=globs, **selection)
    with ThreadPoolExecutor(jobs) as pool:
        yield from Run(
            plan,
            pool,
            expectations={},
            environment=an_environment(),
            run_id="run-1",
            slots=lambda: jobs,
            smoke_gate=False,
            batch=batch,
        )


def of_repository(name: str) -> BackendInfo:
    """A backend of this repository, which claims everything: one that is installed with it, or one of `backends/`."""
    ref = name if name in discovery.names() else f"conformance.backends.{name}:backend"
    return BackendInfo(ref=ref, name=name)


def making(move: str) -> list[Case]:
    """The cases in a variant that makes one move; one that recompiles, after those for which nothing is compiled."""
    before = [name for name, spec in MOVES.items() if not spec.recompiles] if MOVES[move].recompiles else []
    names = SEPARATOR.join([*before, move])
    return [
        replace(case, variants=tuple(replace(each, moves=names) for each in case.variants if each.moves != NO_MOVES))
        for case in CASES
        if any(each.moves != NO_MOVES for each in case.variants)
    ]


def requiring(check: str) -> list[Case]:
    """The cases, each of which requires an advisory check to hold."""
    return [replace(case, checks={**case.checks, check: Level.MUST}) for case in CASES]


def findings(record: Record) -> set[str]:
    """The outcome of a record that is no pass, and the MUST checks that did not hold."""
    if record.outcome in {Outcome.PASS, Outcome.UNSUPPORTED}:
        return set()
    return {record.outcome.value} | {check.check for check in record.checks if check.breaks}


def findings_of(kin: str, records: Iterable[Record], among: Sequence[Case] = CASES) -> Findings:
    """The failures of a backend of this repository on the cases and variants of records: PyTorch's own bugs."""
    recorded = {(record.case_id, record.variant) for record in records}
    if not recorded:  # no globs at all would be every case
        return {}
    cases, variants = (sorted(set(names)) for names in zip(*recorded, strict=True))
    own = trial(of_repository(kin), *cases, cases=among, variants=variants)
    return {(record.case_id, record.variant): findings(record) for record in own}

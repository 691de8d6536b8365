"""The records of a run judged by the current expectations, without running anything again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend.discovery import portable
from conformance.catalogue.sources import collect
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Outcome, Verdict
from conformance.model.errors import UsageError
from conformance.model.result import Attempt
from conformance.records.record_file import read, rewrite
from conformance.verdict.expectations import Host, expectation_summary, load_expectations, match
from conformance.verdict.judge import held_against

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.model.case import Variant
    from conformance.model.request import BackendInfo, Expectation
    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

__all__ = ["apply", "judge_again"]


def apply(path: Path) -> Counter[Verdict]:
    """Rewrite a record file with the verdicts that the current expectations of its backends give.

    Observations stay; only verdicts, messages about them and the entries named change.

    Returns:
        The number of records by verdict.

    Raises:
        ConformanceError: the records or an expectations file cannot be read, or the run did not come to its end.
    """
    run = read(path)
    if run.footer is None:
        message = f"{path}: the run did not come to its end: continue it with `conformance run --resume`"
        raise UsageError(message)
    variants = {
        (case.id, variant.id): variant
        for case in (*run.header.cases, *collect([Path(folder) for folder in run.header.folders]))
        for variant in case.variants
    }
    backends = _described(run)
    known = {info.name: _known_failures(info, run, {case for case, _ in variants}) for info in backends}
    records = [judge_again(record, _expectation(record, known[record.backend], variants)) for record in run.records]
    counts = Counter(record.verdict for record in records)
    footer = replace(run.footer, counts={verdict.value: counts[verdict] for verdict in sorted(counts)})
    header = replace(run.header, backends=tuple(map(portable, run.header.backends)))
    rewrite(path, replace(run, header=header, records=tuple(records), footer=footer))
    return counts


def judge_again(record: Record, expectation: Expectation | None) -> Record:
    """The record with the verdict that it has under an expectation, or under none."""
    attempt = Attempt(checks=record.checks, raised=record.raised, ended=record.ended)
    verdict, note = held_against(expectation, record.outcome, attempt)
    applied = expectation if record.outcome is not Outcome.UNSUPPORTED else None
    return replace(record, verdict=verdict, expectation_note=note, expectation=expectation_summary(applied))


def _described(run: RunFile) -> tuple[BackendInfo, ...]:
    """The backends as recorded, with their current expectations."""
    try:
        now = [attempts.describe(info.ref).expectations for info in run.header.backends]
    finally:
        tasks.shutdown()
    return tuple(replace(info, expectations=path) for info, path in zip(run.header.backends, now, strict=True))


def _known_failures(info: BackendInfo, run: RunFile, ids: set[str]) -> tuple[Expectation, ...]:
    if info.expectations is None:
        return ()
    host = Host.of(run.header.environment, info)
    return load_expectations(info.expectations, case_ids=ids, checks=CATALOGUE.keys(), host=host)


def _expectation(
    record: Record, known: tuple[Expectation, ...], variants: Mapping[tuple[str, str], Variant]
) -> Expectation | None:
    variant = variants.get((record.case_id, record.variant))
    return match(known, record.case_id, variant) if variant else None

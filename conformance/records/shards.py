"""Merge the record files of the shards of one plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.catalogue.selection import digest
from conformance.model.errors import RecordFileError
from conformance.records import record_file
from conformance.records.record_file import Footer, RunFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.model.case import Family
    from conformance.records.record_file import Header

__all__ = ["merge"]


def merge(paths: Sequence[Path]) -> RunFile:
    """Merge the shards of one plan into the run without shards, its records sorted by key.

    The header is that of the first file. Machines may differ: each record keeps its own fingerprint and run_id.

    Args:
        paths: at least one file.

    Raises:
        RecordError: a file is unreadable or unfinished, or these are not all the shards of one plan.
    """
    runs = [record_file.read(path) for path in paths]
    first = runs[0].header
    for path, run in zip(paths, runs, strict=True):
        if reason := _why_not(run, first, paths[0]):
            message = f"{path}: {reason}"
            raise RecordFileError(message)
    _refuse_missing([run.header.shard or (1, 1) for run in runs])
    records = tuple(sorted((each for run in runs for each in run.records), key=lambda each: each.key))
    footer = _footer(runs)
    if not footer.gated and digest(each.key for each in records) != first.digest:
        message = f"{', '.join(map(str, paths))}: together they do not hold the records of their plan"
        raise RecordFileError(message)
    return RunFile(
        header=replace(first, shard=None, planned=first.total, families=_families(runs)), records=records, footer=footer
    )


def _why_not(run: RunFile, first: Header, home: Path) -> str | None:
    if run.footer is None or run.truncated:
        return "it is not finished; `conformance run --resume` with its shard completes it"
    actual, expected = _facts(run.header), _facts(first)
    differing = [name for name in actual if actual[name] != expected[name]]
    reasons = [f"its {name} is {actual[name]}, not {expected[name]}" for name in differing]
    reasons += ["it has another set of backends"] if run.header.backends != first.backends else []
    return f"it does not belong to {home}: {', '.join(reasons)}" if reasons else None


def _facts(header: Header) -> dict[str, object]:
    """Facts that the shards of one run share; the machine may differ."""
    return {
        "plan": header.digest,
        "seed": header.seed,
        "number of shards": header.shard[1] if header.shard else 1,
        "torch": header.environment.torch,
        "suite": header.environment.suite_hash,
    }


def _families(runs: Sequence[RunFile]) -> tuple[Family, ...]:
    return tuple({family.id: family for run in runs for family in run.header.families}.values())


def _refuse_missing(shards: Sequence[tuple[int, int]]) -> None:
    expected = range(1, shards[0][1] + 1)
    given = sorted(index for index, _ in shards)
    if given != list(expected):
        message = f"these are the shards {given} of {len(expected)}; merging needs each of them once"
        raise RecordFileError(message)


def _footer(runs: Sequence[RunFile]) -> Footer:
    footers = [run.footer for run in runs if run.footer is not None]
    counts: Counter[str] = Counter()
    for footer in footers:
        counts.update(footer.counts)
    return Footer(
        counts=dict(sorted(counts.items())),
        records=counts.total(),
        gated={name: reason for footer in footers for name, reason in footer.gated.items()},
        finished=max(footer.finished for footer in footers),
        duration_s=sum(footer.duration_s for footer in footers),
    )

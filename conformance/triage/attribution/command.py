"""One `conformance attribute`: the failures of a record file attributed, and the file rewritten with what was found.

No request that passed is run again. A failure takes at most five controls, mostly one or two.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.backend.discovery import usable
from conformance.catalogue import sources
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.attribution import Cause
from conformance.model.errors import UsageError
from conformance.model.request import Key
from conformance.records import environment, record_file
from conformance.records.encoding import SCHEMA_VERSION
from conformance.records.jsonl import conflicts
from conformance.triage.attribution.attributor import Attributor
from conformance.triage.lookup import cases_of, request_of_case
from conformance.verdict.ladder import beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from conformance.model.attribution import Attribution
    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Environment, Record
    from conformance.records.record_file import RunFile

__all__ = ["Ready", "Result", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Failures with their attribution, how many controls that took, and those whose case is no longer there."""

    found: Mapping[Key, Attribution]
    controls: int
    left_out: Sequence[Key] = ()

    @property
    def text(self) -> str:
        """How many failures each cause has, for a terminal."""
        counts = Counter(each.cause for each in self.found.values())
        parts = ", ".join(f"{counts[cause]} {cause}" for cause in Cause if counts[cause])
        failures = f"{len(self.found)} failure{'s' * (len(self.found) != 1)}"
        lines = [": ".join(filter(None, [f"{failures} attributed with {self.controls} controls", parts]))]
        if self.left_out:
            first = "/".join(self.left_out[0])
            lines.append(f"{len(self.left_out)} left out, whose cases are no longer there; the first: {first}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A record file whose failures can be attributed."""

    path: Path
    run: RunFile
    failures: Mapping[Key, Request]
    attributor: Attributor
    jobs: int
    left_out: Sequence[Key] = ()

    def execute(self, advance: Callable[[str], None] = lambda _: None) -> Result:
        """Attribute the failures and rewrite the file, at Ctrl-C with what is known by then; `advance` after each."""
        found: dict[Key, Attribution] = {}
        try:
            for key, attribution in self._attributed():
                found[key] = attribution
                advance("/".join(key))
        finally:
            record_file.rewrite(self.path, _with(self.run, found))
        return Result(found=found, controls=self.attributor.made, left_out=self.left_out)

    def _attributed(self) -> Iterator[tuple[Key, Attribution]]:
        records = {record.key: record for record in self.run.records}
        executor = ThreadPoolExecutor(self.jobs)
        try:
            futures = {
                executor.submit(self.attributor, records[key], request): key for key, request in self.failures.items()
            }
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            tasks.shutdown()  # it ends what the executor waits for
            executor.shutdown()


def prepare(path: Path, *, jobs: int | None = None, folders: Sequence[Path] = ()) -> Ready:
    """Read a record file, and find the requests of its failures that have no attribution yet.

    Args:
        path: the file.
        jobs: failures at a time; default: one for each CPU.
        folders: of cases, beyond the packaged ones and those that the run had.

    Raises:
        ConformanceError: the file cannot be read, or is of another release of torch or of a backend than is installed.
    """
    run = record_file.read(path)
    machine = environment.capture(sources.homes(folders))
    infos = {info.name: usable(attempts.describe(info.ref)) for info in run.header.backends if _fails(run, info.name)}
    _refuse_others(path, run, machine, infos)
    requests, left_out = _requests(run, infos, folders)
    aot_or_not = {rung for name in infos for is_aot in (True, False) for rung in beneath(name, is_aot=is_aot)}
    return Ready(
        path=path,
        run=run,
        failures=requests,
        attributor=Attributor(
            run.records,
            {name: attempts.describe(name) for name in sorted(aot_or_not)},
            attempts.run,
            is_here=environment.fingerprint(machine) == run.header.fingerprint,
        ),
        jobs=jobs or machine.threads,
        left_out=left_out,
    )


def _fails(run: RunFile, backend: str) -> bool:
    return any(_is_due(record) and record.backend == backend for record in run.records)


def _is_due(record: Record) -> bool:
    return record.outcome.is_failure and record.attribution is None


def _requests(
    run: RunFile, infos: Mapping[str, BackendInfo], folders: Sequence[Path]
) -> tuple[dict[Key, Request], list[Key]]:
    """The requests of failures, and the keys of those whose case or variant is no longer there."""
    cases = {case.id: case for case in cases_of(run, folders)}
    found, missing = dict[Key, "Request"](), list[Key]()
    for record in filter(_is_due, run.records):
        case = cases.get(record.case_id)
        if case is None or record.variant not in {variant.id for variant in case.variants}:
            missing.append(record.key)
            continue
        found[record.key] = replace(request_of_case(record, run, case), backend=infos[record.backend])
    return found, missing


def _refuse_others(path: Path, run: RunFile, machine: Environment, infos: Mapping[str, BackendInfo]) -> None:
    """Refuse records of other software: a control would be another program's.

    Raises:
        UsageError: torch or a package of a backend has another version than in the run.
    """
    recorded = {info.name: info for info in run.header.backends}
    before: dict[str, object] = {"torch": run.header.environment.torch}
    now: dict[str, object] = {"torch": machine.torch}
    for name, info in infos.items():
        before |= dict(recorded[name].packages)
        now |= dict(info.packages)
    if found := conflicts(before, now):
        message = f"{path}: cannot be attributed here, for it was made with other software:\n  " + "\n  ".join(found)
        raise UsageError(message)


def _with(run: RunFile, found: Mapping[Key, Attribution]) -> RunFile:
    """The run with attributions in its records, in the version of the format that has them."""
    records = (
        replace(record, schema_version=SCHEMA_VERSION, attribution=found.get(record.key, record.attribution))
        for record in run.records
    )
    return replace(run, header=replace(run.header, schema_version=SCHEMA_VERSION), records=tuple(records))

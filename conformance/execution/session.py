"""One `conformance run`, from its options to its result: discover, plan, run, write, and the exit code."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue.selection import select
from conformance.catalogue.sources import collect, homes
from conformance.execution import attempts
from conformance.execution import engine as engines
from conformance.execution.cluster_worker import cargo_of
from conformance.execution.runner import LONG_S, Run
from conformance.model.enums import SLOW_COMPILE, Extent
from conformance.model.errors import ConformanceError
from conformance.records import environment, kept, record_file
from conformance.records.kept import Kind
from conformance.records.record_file import RecordWriter, belongs, make_header, resume
from conformance.verdict.expectations import known_as, known_failures, refuse_malformed, stale

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conformance.catalogue.selection import Plan
    from conformance.execution.engine import Engine, Scheduler
    from conformance.model.case import Case, Variant
    from conformance.model.request import BackendInfo, Expectation, Key
    from conformance.model.result import Environment, Record

__all__ = ["Options", "Result", "Session", "prepare"]

_INTERRUPTED = 130
_FAST_S, _SLOW_S = 0.15, 1.5
"""Average seconds of a request with a fast and a slow compiler: 2 cores, torch 2.15, no warm cache."""
_FEW = 3  # minutes, below which the estimate is in seconds


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `conformance run`, under their names. Without `records` see `kept`."""

    records: Path | None = None
    backends: Sequence[str] = ()
    case_globs: Sequence[str] = ()
    variants: Sequence[str] = ()
    tags: Sequence[str] = ()
    exclude_tags: Sequence[str] = ()
    folders: Sequence[Path] = ()
    expectations: Path | None = None
    jobs: int | None = None
    seed: int = 0
    timeout_s: float | None = None
    shard: tuple[int, int] | None = None
    max_fail: int | None = None
    batch: int | None = None
    shuffle: int | None = None
    tier: str = Extent.DEFAULT
    resume: bool = False
    scheduler: Scheduler | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a run. `records` are all of the file, also of an earlier, interrupted run, in the order of the plan."""

    path: Path
    records: Sequence[Record]
    planned: int
    gated: Mapping[str, str] = field(default_factory=dict)
    stale: Sequence[Expectation] = ()
    interrupted: bool = False
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """0 if nothing is red, 1 with findings, 130 after Ctrl-C."""
        if self.interrupted:
            return _INTERRUPTED
        return int(bool(self.stale) or not all(record.verdict.is_green for record in self.records))


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run that is ready to start; its record file is open, and what runs it is `engine`, until `stack` is closed."""

    cases: Sequence[Case]
    plan: Plan
    expectations: Mapping[str, Sequence[Expectation]]
    environment: Environment
    path: Path
    writer: RecordWriter
    done: Sequence[Record]
    options: Options
    engine: Engine
    stack: ExitStack
    long: Mapping[Key, float] = field(default_factory=dict)

    @property
    def resumed(self) -> str:
        """Message on the records of an earlier run; empty if there are none."""
        if not (self.done or self.writer.dropped):
            return ""
        cut = "; its last line was cut off, and that request runs again" if self.writer.dropped else ""
        return f"{self.path}: {len(self.done)} of {len(self.plan.requests)} records are there{cut}"

    @property
    def estimate(self) -> str:
        """Message on the number of requests left and their rough duration, right within a factor of two."""
        done = {record.key for record in self.done}
        left = [request.backend for request in self.plan.requests if request.key not in done]
        if not left:
            return "nothing is left to run"
        work_s = sum(_SLOW_S if SLOW_COMPILE in info.tags else _FAST_S for info in left)
        minutes = work_s / 60 / self.engine.slots()
        lasting = f"{minutes:.0f} minutes" if minutes >= _FEW else f"{max(1, round(minutes * 6)) * 10} seconds"
        backends = len({info.name for info in left})
        return (
            f"{len(left):,} requests on {backends} backend{'s' * (backends != 1)}: about {lasting}, and some to start"
        )

    @property
    def remaining(self) -> int:
        """The number of records to come, if no backend is gated."""
        return len(self.plan.requests) - len(self.done)

    def execute(self, advance: Callable[[Record], None]) -> Result:
        """Run, write each record as it comes and then call `advance` with it; Ctrl-C ends the run early."""
        run = self._run()
        records, interrupted = list(self.done), False
        with self.stack, self.writer:
            try:
                for record in run:
                    records.append(record)  # first: a record in the file is counted, whatever interrupts
                    self.writer.write(record)
                    advance(record)
            except KeyboardInterrupt:
                interrupted = True
            if not interrupted and (not run.stopped or len(records) == len(self.plan.requests)):
                self.writer.finish(run.gated)
        return self._result(run, records, interrupted=interrupted)

    def _run(self) -> Run:
        return Run(
            self.plan,
            self.engine.executor,
            expectations=self.expectations,
            environment=self.environment,
            run_id=self.writer.header.run_id,
            folders=self.writer.header.folders,
            done=self.done,
            slots=self.engine.slots,
            max_fail=self.options.max_fail,
            submit=attempts.run_batch,
            batch=self.options.batch,
            long=self.long,
        )

    def _result(self, run: Run, records: Sequence[Record], *, interrupted: bool) -> Result:
        is_complete = self.writer.finished and not self.plan.selection.given and self.plan.shard is None
        places = {request.key: place for place, request in enumerate(self.plan.requests)}
        return Result(
            path=self.path,
            records=sorted(records, key=lambda record: places[record.key]),
            planned=len(self.plan.requests),
            gated=run.gated,
            stale=self._stale(run.gated, records) if is_complete else (),
            interrupted=interrupted,
            stopped=run.stopped and not self.writer.finished,
        )

    def _stale(self, gated: Mapping[str, str], records: Sequence[Record]) -> list[Expectation]:
        """The unused entries, of the backends whose cases were all run."""
        entries: list[Expectation] = []
        for info in self.plan.backends:
            if info.name not in gated and info.broken is None and info.unavailable is None:
                own = [record for record in records if record.backend == info.name]
                entries += stale(self.expectations.get(info.name, ()), own, self._omitted(info.name))
        return entries

    def _omitted(self, backend: str) -> list[tuple[str, Variant]]:
        """Variants that the plan omits on a backend, of cases not run in full by default."""
        planned = {(r.case.id, r.variant.id) for r in self.plan.requests if r.backend.name == backend}
        every = [(case.id, variant) for case in self.cases for variant in case.variants]
        return [(case_id, variant) for case_id, variant in every if (case_id, variant.id) not in planned]


def prepare(options: Options, notify: Callable[[str], None] = lambda _: None) -> Session:
    """Read cases and expectations, describe the backends, plan, and open the record file.

    Args:
        options: of the run.
        notify: called with messages on the workers of a cluster.

    Raises:
        ConformanceError: an option, case or expectation is wrong; nothing has run.
    """
    cases = collect(options.folders)
    if options.expectations:
        refuse_malformed(options.expectations, options.backends or discovery.names(), cases)
    infos = discovery.find(options.backends, attempts.describe)
    plan = _plan(options, cases, infos)
    machine = environment.capture(homes(options.folders))
    expectations = _expectations(options, infos, cases, machine)
    run_id = uuid.uuid4().hex[:12]
    long = _long_before() if options.scheduler else {}
    with ExitStack() as stack:  # closed by whoever executes the session, or here where none is made
        engine = stack.enter_context(_engine(options, run_id, plan, machine.threads, notify))
        header = make_header(plan, machine, run_id, [str(folder) for folder in options.folders])
        path = options.records or (
            kept.to_continue(Kind.RUN, partial(belongs, header=header)) if options.resume else kept.new(Kind.RUN)
        )
        writer, done = resume(path, header) if options.resume else (RecordWriter(path, header), ())
        return Session(
            cases=cases,
            plan=plan,
            expectations=expectations,
            environment=machine,
            path=path,
            writer=writer,
            done=done,
            options=options,
            engine=engine,
            stack=stack.pop_all(),
            long=long,
        )


def _plan(options: Options, cases: Sequence[Case], infos: Sequence[BackendInfo]) -> Plan:
    """The requests that the options ask for; on a cluster what compiles slowly is first, so that all end together."""
    plan = select(
        cases,
        infos,
        case_globs=options.case_globs,
        variants=options.variants,
        tags=options.tags,
        exclude_tags=options.exclude_tags,
        seed=options.seed,
        timeout_s=options.timeout_s,
        shard=options.shard,
        shuffle=options.shuffle,
        extent=Extent(options.tier),
    )
    if options.scheduler is None:
        return plan
    order = sorted(plan.requests, key=lambda request: SLOW_COMPILE not in request.backend.tags)
    selection = replace(plan.selection, allow_mixed=options.scheduler.allow_mixed)
    return replace(plan, requests=tuple(order), selection=selection)


def _long_before() -> dict[Key, float]:
    """The seconds of the requests that took long in the last run here, by key."""
    try:
        records = record_file.read(kept.last(Kind.RUN)).records
    except ConformanceError:  # there is none, or it is of another version
        return {}
    return {record.key: record.duration_s for record in records if record.duration_s >= LONG_S}


def _engine(
    options: Options, run_id: str, plan: Plan, threads: int, notify: Callable[[str], None]
) -> AbstractContextManager[Engine]:
    if options.scheduler is None:
        return engines.local(options.jobs or threads)
    cargo = cargo_of(run_id, plan.backends, options.folders, seed=options.seed, timeout_s=options.timeout_s)
    return engines.cluster(options.scheduler, cargo, notify=notify)


def _expectations(
    options: Options, infos: Sequence[BackendInfo], cases: Sequence[Case], machine: Environment
) -> dict[str, tuple[Expectation, ...]]:
    given = known_as(options.expectations, infos) if options.expectations else infos
    return known_failures(given, cases, machine)

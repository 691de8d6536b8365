"""One `conformance bench`: plan, check that each request conforms, then time what conforms.

Only one child runs on a machine at a time during timing. The file of timings is written here, in the order of arrival.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue.selection import of_plain_calls, select
from conformance.catalogue.sources import collect, homes
from conformance.execution import attempts
from conformance.execution import engine as engines
from conformance.execution.cluster_worker import COMPARED, cargo_of
from conformance.execution.runner import Run
from conformance.model.enums import TIMING_TAG
from conformance.model.errors import HarnessError, UsageError
from conformance.records import environment, kept
from conformance.records.kept import Kind
from conformance.timing import stats
from conformance.timing.clock import resolution_ns
from conformance.timing.model import SMALLEST_EFFECT, Conditions, Effort, Noise, Timing
from conformance.timing.timed import Terms, Timed, time_requests
from conformance.timing.timing_file import TimingRun, TimingWriter, belongs, make_header, resume
from conformance.verdict.expectations import known_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from conformance.catalogue.selection import Plan
    from conformance.execution.engine import Engine, Scheduler
    from conformance.model.request import Expectation, Key, Request
    from conformance.model.result import Attempt, Environment, Record

__all__ = ["Bench", "BenchOptions", "BenchResult", "conditions", "of_known", "prepare"]

_PROBED = 4  # workloads on which noise is measured
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of `conformance bench`, under their names. Without `records` see `kept`."""

    records: Path | None = None
    backends: Sequence[str] = ()
    case_globs: Sequence[str] = ()
    variants: Sequence[str] = ()
    folders: Sequence[Path] = ()
    budget_s: float = Effort.budget_s
    precision: float = Effort.precision
    smallest: float = SMALLEST_EFFECT
    threads: int = 1
    compiles: int = 3
    callgrind: bool = False
    seed: int = 0
    resume: bool = False
    scheduler: Scheduler | None = None


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Result of a run of timings; `interrupted` is whether Ctrl-C ended it."""

    path: Path
    run: TimingRun
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """1 if something is red or could not be timed, 130 after Ctrl-C; slowness does not count."""
        if self.interrupted:
            return 130
        return int(any(not each.verdict.is_green or (_conforms(each) and each.message) for each in self.run.timings))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A run that is ready to start; its file is open, and what runs it is `engine`, until `stack` is closed.

    `done` is the content of the file from an earlier, interrupted run; `known` are records of requests, whose
    conformance is not checked again.
    """

    plan: Plan
    options: BenchOptions
    path: Path
    writer: TimingWriter
    done: TimingRun
    engine: Engine
    stack: ExitStack = field(default_factory=ExitStack)
    expectations: Mapping[str, Sequence[Expectation]] = field(default_factory=dict)
    known: Mapping[Key, Record] = field(default_factory=dict)

    @property
    def resumed(self) -> str:
        """Message on the timings of an earlier run; empty if there are none."""
        number, planned = len(self.done.timings), len(self.plan.requests)
        return f"{self.path}: {number} of {planned} timings are there" if number else ""

    @property
    def remaining(self) -> Sequence[Request]:
        """The requests to time, sorted by workload, so that all backends have similar conditions on each."""
        done = {timing.key for timing in self.done.timings}
        return sorted((each for each in self.plan.requests if each.key not in done), key=_by_case)

    @property
    def effort(self) -> Effort:
        """The effort spent on each phase."""
        return self.writer.header.effort

    @property
    def steps(self) -> int:
        """How often `execute` calls `advance`."""
        return 2 * len(self.remaining) - len(self.known)

    def execute(self, advance: Callable[[str], None]) -> BenchResult:
        """Run it all; `advance` gets a message for each record and each timing."""
        noises, timings, interrupted = list(self.done.noises), list(self.done.timings), False
        with self.stack, self.writer:
            try:
                found = self._conforming(advance)
                machines = set[str]()
                for timed in self._timed(found):
                    if timed.timing.blocks and timed.machine not in machines:
                        self._write_noise(timed.noise)
                        noises.append(timed.noise)
                        machines.add(timed.machine)
                    timing = self._as_line(timed, found)
                    self.writer.write(timing)
                    timings.append(timing)
                    advance(" ".join(timing.key))
                self.writer.finish(_load())
            except KeyboardInterrupt:
                interrupted = True
        run = TimingRun(header=self.writer.header, noises=tuple(noises), timings=tuple(timings))
        return BenchResult(path=self.path, run=run, interrupted=interrupted)

    def _conforming(self, advance: Callable[[str], None]) -> Mapping[Key, Record]:
        """Return the record of each request, by its key."""
        found = dict(self.known)
        header = self.writer.header
        run = Run(
            replace(self.plan, requests=tuple(each for each in self.remaining if each.key not in found)),
            self.engine.executor,
            expectations=self.expectations,
            environment=header.environment,
            run_id=header.run_id,
            slots=self.engine.slots,
            smoke_gate=False,
            submit=attempts.run_batch,
        )
        for record in run:
            found[record.key] = record
            advance(f"conforms? {record.backend} {record.case_id}")
        return found

    def _timed(self, found: Mapping[Key, Record]) -> Iterator[Timed]:
        """Time what conforms, as much at once as the engine times; what does not is a line without times."""
        waiting = deque(self.remaining)
        probes = self._probes([each for each in waiting if _conforms(found[each.key])])
        time: Callable[..., Sequence[Timed | Attempt]] = partial(time_requests, self._terms)
        running: dict[Future[Sequence[Timed | Attempt]], Request] = {}
        # Not `concurrent.futures.wait`: interrupted while it holds the locks of futures, it never gives them back.
        completed: SimpleQueue[Future[Sequence[Timed | Attempt]]] = SimpleQueue()
        while waiting or running:
            while waiting and len(running) < self.engine.timed_at_once():
                request = waiting.popleft()
                if not _conforms(found[request.key]):
                    yield _untimed(request, found[request.key].full_message)
                    continue
                future = self.engine.executor.submit(time, [request], probes)
                running[future] = request
                future.add_done_callback(completed.put)
            if running:
                future = completed.get()
                (made,) = future.result()
                request = running.pop(future)
                yield made if isinstance(made, Timed) else _untimed(request, f"it could not be timed: {made.ended}")

    @cached_property
    def _terms(self) -> Terms:
        return Terms(
            session=uuid.uuid4().hex,
            effort=self.effort,
            threads=self.options.threads,
            compiles=self.options.compiles,
            callgrind=self.options.callgrind,
            pinned=self.options.scheduler is not None,
        )

    def _probes(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Workloads spread over the plan, on which each machine measures its noise."""
        cases = list({(each.case.id, each.variant.id): each for each in requests}.values())
        return cases[:: max(1, len(cases) // _PROBED)][:_PROBED]

    def _write_noise(self, noise: Noise) -> None:
        """Write the noise of a machine.

        Raises:
            HarnessError: the run is continued, but this machine is too noisy for its earlier timings to count.
        """
        smallest = self.writer.header.smallest
        if stats.is_quiet(self.done.noises, smallest) and stats.spread(noise) > smallest:
            message = (
                f"uncompiled-vs-uncompiled noise is now {stats.spread(noise):.1%}, above the smallest effect of"
                f" {smallest:.0%}: the timings so far are kept in {self.path}; continue when the machine is quieter"
            )
            raise HarnessError(message)
        self.writer.noise(noise)

    def _as_line(self, timed: Timed, found: Mapping[Key, Record]) -> Timing:
        """The timing with the verdict of its record, and with its environment where that is not the run's."""
        elsewhere = timed.fingerprint if timed.fingerprint != self.writer.header.fingerprint else ""
        return replace(timed.timing, verdict=found[timed.timing.key].verdict, fingerprint=elsewhere)


def _untimed(request: Request, why: str) -> Timed:
    return Timed(timing=replace(Timing.of(request), message=why), noise=Noise(), machine="")


def prepare(options: BenchOptions, notify: Callable[[str], None] = lambda _: None) -> Bench:
    """Read the cases, describe the backends, plan, and open the file.

    Args:
        options: of the run.
        notify: called with messages on the workers of a cluster.

    Raises:
        ConformanceError: an option, case or expectation is wrong; nothing has run.
    """
    if options.callgrind and options.scheduler is None and shutil.which("valgrind") is None:
        message = "--callgrind needs valgrind, which is not installed here"
        raise UsageError(message)
    cases = collect(options.folders)
    infos = discovery.find(options.backends, attempts.describe)
    # A case given by name is timed, whatever its tags.
    chosen = [case for case in cases if options.case_globs or TIMING_TAG in case.tags]
    plan = select(chosen, infos, case_globs=options.case_globs, variants=options.variants, seed=options.seed)
    machine = environment.capture(homes(options.folders))
    expectations = known_failures(infos, cases, machine)  # before a file of timings is opened, which replaces it
    plan = of_plain_calls(plan)
    if options.scheduler:
        plan = replace(plan, selection=replace(plan.selection, allow_mixed=options.scheduler.allow_mixed))
    run_id = uuid.uuid4().hex[:12]
    with ExitStack() as stack:  # closed by whoever executes the run, or here where there is none
        engine = stack.enter_context(_engine(options, run_id, plan, machine.threads, notify))
        ready = _opened(options, plan, machine, run_id, engine)
        return replace(ready, expectations=expectations, stack=stack.pop_all())


def of_known(plan: Plan, known: Iterable[Record], path: Path) -> Bench:
    """Return the timing run of requests whose conformance is known.

    Args:
        plan: the requests.
        known: a record of each request.
        path: where timings are written.

    Raises:
        ConformanceError: the file cannot be opened.
    """
    options, machine = BenchOptions(records=path, seed=plan.seed), environment.capture()
    with ExitStack() as stack:
        engine = stack.enter_context(engines.local(machine.threads))
        ready = _opened(options, of_plain_calls(plan), machine, uuid.uuid4().hex[:12], engine)
        return replace(ready, known={record.key: record for record in known}, stack=stack.pop_all())


def _engine(
    options: BenchOptions, run_id: str, plan: Plan, threads: int, notify: Callable[[str], None]
) -> AbstractContextManager[Engine]:
    if options.scheduler is None:
        return engines.local(threads)
    compared = (*COMPARED, "cpu")  # on which times depend
    cargo = cargo_of(run_id, plan.backends, options.folders, seed=options.seed, compared=compared)
    return engines.cluster(options.scheduler, cargo, one_a_machine=True, notify=notify)


def _opened(options: BenchOptions, plan: Plan, machine: Environment, run_id: str, engine: Engine) -> Bench:
    header = make_header(
        plan,
        machine,
        run_id,
        conditions=conditions(options.threads),
        effort=Effort(budget_s=options.budget_s, precision=options.precision),
        smallest=options.smallest,
        compiles=options.compiles,
        callgrind=options.callgrind,
        planned=len(plan.requests),
    )
    path = options.records or (
        kept.to_continue(Kind.BENCH, partial(belongs, header=header)) if options.resume else kept.new(Kind.BENCH)
    )
    if options.resume:
        writer, done = resume(path, header)
    else:
        writer, done = TimingWriter(path, header), TimingRun(header=header)
    return Bench(plan=plan, options=options, path=path, writer=writer, done=done, engine=engine)


def conditions(threads: int) -> Conditions:
    """Return the current conditions of timing on this machine."""
    governor = _GOVERNOR.read_text(encoding="ascii").strip() if _GOVERNOR.exists() else ""
    return Conditions(threads=threads, governor=governor, load=_load(), resolution_ns=resolution_ns())


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _by_case(request: Request) -> tuple[str, str]:
    return request.case.id, request.variant.id


def _conforms(result: Record | Timing) -> bool:
    return result.verdict.conforms

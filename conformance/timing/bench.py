"""One `conformance bench`: plan, show that each request conforms, time uncompiled against itself, then what conforms.

Only one child runs at a time while the clock is read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from conformance.backend import discovery
from conformance.catalogue.selection import select
from conformance.catalogue.sources import collect, homes
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.isolation import tasks
from conformance.model.enums import TIMING_TAG
from conformance.model.errors import HarnessError, UsageError
from conformance.records import environment, kept
from conformance.records.kept import Kind
from conformance.timing import stats
from conformance.timing.clock import resolution_ns
from conformance.timing.model import SMALLEST_EFFECT, Conditions, Effort, FirstCall, Noise, Phase, Timing, TimingRequest
from conformance.timing.timing_file import TimingRun, TimingWriter, belongs, make_header, resume
from conformance.verdict.expectations import known_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from conformance.catalogue.selection import Plan
    from conformance.model.request import Expectation, Request
    from conformance.model.result import Environment, Record
    from conformance.timing.timing_file import TimingHeader

__all__ = ["Bench", "BenchOptions", "BenchResult", "conditions", "of_known", "prepare"]

T = TypeVar("T")

_NOISE = Effort(budget_s=0.25)
_REPETITIONS = 12
_PROBED = 4  # workloads on which noise is measured
_SLACK_S = 60.0
_CALLGRIND_S = 900.0
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What the user asked for; the names are those of `conformance bench`. Without `records` see `kept`."""

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


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What came of it. `interrupted` says that Ctrl-C ended it."""

    path: Path
    run: TimingRun
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """1 where something is red or could not be timed, 130 after Ctrl-C; what is slow is no finding."""
        if self.interrupted:
            return 130
        return int(any(not each.verdict.is_green or (_conforms(each) and each.message) for each in self.run.timings))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A run that is ready to start; its file is open.

    `done` is what the file holds of an earlier, interrupted run; `known` are records of requests, which are not run
    again to see whether they conform.
    """

    plan: Plan
    options: BenchOptions
    path: Path
    writer: TimingWriter
    done: TimingRun
    expectations: Mapping[str, Sequence[Expectation]]
    known: Mapping[tuple[str, str, str], Record] = field(default_factory=dict)

    @property
    def resumed(self) -> str:
        """What there was of an earlier run, in words; empty where there was nothing."""
        number, planned = len(self.done.timings), len(self.plan.requests)
        return f"{self.path}: {number} of {planned} timings are there" if number else ""

    @property
    def remaining(self) -> Sequence[Request]:
        """What is to be timed: backends on one workload one after another, so that they meet the machine alike."""
        done = {timing.key for timing in self.done.timings}
        return sorted((each for each in self.plan.requests if each.key not in done), key=_by_case)

    @property
    def effort(self) -> Effort:
        """How long a phase is measured."""
        return self.writer.header.effort

    @property
    def steps(self) -> int:
        """How often `execute` tells that something was done."""
        return 2 * len(self.remaining) - len(self.known) + 1

    def execute(self, advance: Callable[[str], None]) -> BenchResult:
        """Do it all; `advance` is told what has been done, once for each record, the noise, and each timing."""
        noises, timings, interrupted = list(self.done.noises), list(self.done.timings), False
        try:
            with self.writer:
                try:
                    found = self._conforming(advance)
                    ready = [each for each in self.remaining if _conforms(found[each.key])]
                    noises += self._measure_noise(ready)
                    advance("noise")
                    for request in self.remaining:
                        timing = self._timing(request, found[request.key])
                        self.writer.write(timing)
                        timings.append(timing)
                        advance(" ".join(request.key))
                    self.writer.finish(_load())
                except KeyboardInterrupt:
                    interrupted = True
        finally:
            tasks.shutdown()
        run = TimingRun(header=self.writer.header, noises=tuple(noises), timings=tuple(timings))
        return BenchResult(path=self.path, run=run, interrupted=interrupted)

    def _conforming(self, advance: Callable[[str], None]) -> Mapping[tuple[str, str, str], Record]:
        """The record of each request, by its key."""
        found = dict(self.known)
        header = self.writer.header
        plan = replace(self.plan, requests=tuple(each for each in self.remaining if each.key not in found))
        for record in records(plan, header.environment, self.expectations, header.run_id):
            found[record.key] = record
            advance(f"conforms? {record.backend} {record.case_id}")
        return found

    def _measure_noise(self, requests: Sequence[Request]) -> list[Noise]:
        """Measure the noise before these are timed, and write it.

        Raises:
            HarnessError: the run is continued, and the machine is so noisy now that it would spoil what was timed.
        """
        if not requests:
            return []
        noise, smallest = self._noise(requests), self.writer.header.smallest
        if stats.is_quiet(self.done.noises, smallest) and stats.spread(noise) > smallest:
            message = (
                f"uncompiled calls lie within {stats.spread(noise):.1%} of themselves just now, and {smallest:.0%}"
                f" counts: what was timed is kept in {self.path}; go on when the machine is quieter"
            )
            raise HarnessError(message)
        self.writer.noise(noise)
        return [noise]

    def _noise(self, requests: Sequence[Request]) -> Noise:
        """Time uncompiled calls against themselves on workloads from all over the plan."""
        cases = list({(each.case.id, each.variant.id): each for each in requests}.values())
        ratios: dict[str, tuple[float, ...]] = {}
        for request in cases[:: max(1, len(cases) // _PROBED)][:_PROBED]:
            task = TimingRequest(request=request, effort=_NOISE, threads=self.options.threads, repetitions=_REPETITIONS)
            found = _in_child("run_against_itself", task, Noise, request, _NOISE.budget_s * _REPETITIONS)
            ratios |= found.ratios if isinstance(found, Noise) else {}
        return Noise(ratios=ratios)

    def _timing(self, request: Request, record: Record) -> Timing:
        named = replace(Timing.of(request), verdict=record.verdict)
        if not _conforms(record):
            return replace(named, message=record.full_message)
        task = TimingRequest(request=request, effort=self.effort, threads=self.options.threads)
        found = _in_child("run", task, Timing, request, self.effort.budget_s * len(Phase))
        if isinstance(found, str):
            return replace(named, message=f"it could not be timed: {found}")
        found = self._with_compiles(replace(found, verdict=record.verdict), request)
        return self._with_instructions(found, task) if self.options.callgrind else found

    def _with_instructions(self, timing: Timing, task: TimingRequest) -> Timing:
        """What Callgrind counts; valgrind is known to be there."""
        found = _in_child("instructions", task, Timing, task.request, _CALLGRIND_S)
        if isinstance(found, str):
            why = f"its instructions could not be counted: {found}"
            return replace(timing, message="; ".join(filter(None, (timing.message, why))))
        return replace(timing, instructions=found.instructions)

    def _with_compiles(self, timing: Timing, request: Request) -> Timing:
        """Seconds of first calls, cold and warm by turns, each pair with a cache of its own."""
        taken: dict[Phase, tuple[float, ...]] = {}
        for _ in range(self.options.compiles):
            with tempfile.TemporaryDirectory(prefix="conformance-cache-") as cache:
                for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM):
                    task = FirstCall(request=request, phase=phase, cache=cache, threads=self.options.threads)
                    found = _in_child("first_call", task, Timing, request, 0.0)
                    if isinstance(found, str):
                        return replace(timing, compiles=taken, message=f"{phase} could not be timed: {found}")
                    taken[phase] = taken.get(phase, ()) + found.compiles[phase]
        return replace(timing, compiles=taken)


def prepare(options: BenchOptions) -> Bench:
    """Read the cases, describe the backends, plan, and open the file.

    Raises:
        ConformanceError: whatever is wrong with what was asked for, before anything has run.
    """
    if options.callgrind and shutil.which("valgrind") is None:
        message = "--callgrind needs valgrind, which is not installed here"
        raise UsageError(message)
    cases = collect(options.folders)
    infos = discovery.find(options.backends, attempts.describe)
    # A case that is named is timed, whatever its tags.
    chosen = [case for case in cases if options.case_globs or TIMING_TAG in case.tags]
    plan = select(chosen, infos, case_globs=options.case_globs, variants=options.variants, seed=options.seed)
    machine = environment.capture(homes(options.folders))
    expectations = known_failures(infos, cases, machine)  # before a file of timings is opened, which replaces it
    return _opened(options, plan, machine, expectations)


def of_known(plan: Plan, known: Iterable[Record], path: Path) -> Bench:
    """The timing of requests of which it is known whether they conform.

    Args:
        plan: all of them.
        known: a record of each.
        path: where timings are written.

    Raises:
        ConformanceError: the file cannot be opened.
    """
    ready = _opened(BenchOptions(records=path, seed=plan.seed), plan, environment.capture(), {})
    return replace(ready, known={record.key: record for record in known})


def _opened(
    options: BenchOptions, plan: Plan, machine: Environment, expectations: Mapping[str, Sequence[Expectation]]
) -> Bench:
    header = make_header(
        plan,
        machine,
        uuid.uuid4().hex[:12],
        conditions=conditions(options.threads),
        effort=Effort(budget_s=options.budget_s, precision=options.precision),
        smallest=options.smallest,
        compiles=options.compiles,
        callgrind=options.callgrind,
        planned=len(plan.requests),
    )
    path = options.records or _kept(options, header)
    if options.resume:
        writer, done = resume(path, header)
    else:
        writer, done = TimingWriter(path, header), TimingRun(header=header)
    return Bench(plan=plan, options=options, path=path, expectations=expectations, writer=writer, done=done)


def _kept(options: BenchOptions, header: TimingHeader) -> Path:
    """The file of timings for which none was named."""
    if options.resume:
        return kept.to_continue(Kind.BENCH, partial(belongs, header=header))
    return kept.new(Kind.BENCH)


def conditions(threads: int) -> Conditions:
    """What the clock of this machine is read under just now."""
    governor = _GOVERNOR.read_text(encoding="ascii").strip() if _GOVERNOR.exists() else ""
    return Conditions(threads=threads, governor=governor, load=_load(), resolution_ns=resolution_ns())


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _by_case(request: Request) -> tuple[str, str]:
    return request.case.id, request.variant.id


def _conforms(what: Record | Timing) -> bool:
    return what.verdict.conforms


def _in_child(function: str, task: object, kind: type[T], request: Request, budget_s: float) -> T | str:
    """What a function of `conformance.timing.measure` returns in a child of its own, or why it returned nothing."""
    limit = request.timeout_s + _SLACK_S + 2 * budget_s
    end = tasks.run_task(f"conformance.timing.measure:{function}", task, env=request.backend.env, timeout_s=limit)
    found = tasks.result(kind, end)
    return found if isinstance(found, kind) else str(found)

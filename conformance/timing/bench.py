"""One `conformance bench`: plan, check that each request conforms, measure noise, then time what conforms.

Only one child runs at a time during timing.
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
from conformance.catalogue.selection import of_plain_calls, select
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
    """A run that is ready to start; its file is open.

    `done` is the content of the file from an earlier, interrupted run; `known` are records of requests, whose
    conformance is not checked again.
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
        return 2 * len(self.remaining) - len(self.known) + 1

    def execute(self, advance: Callable[[str], None]) -> BenchResult:
        """Run it all; `advance` gets a message for each record, the noise, and each timing."""
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
        """Return the record of each request, by its key."""
        found = dict(self.known)
        header = self.writer.header
        plan = replace(self.plan, requests=tuple(each for each in self.remaining if each.key not in found))
        for record in records(plan, header.environment, self.expectations, header.run_id):
            found[record.key] = record
            advance(f"conforms? {record.backend} {record.case_id}")
        return found

    def _measure_noise(self, requests: Sequence[Request]) -> list[Noise]:
        """Measure the noise before timing these requests, and write it.

        Raises:
            HarnessError: the run is continued, but the machine is now too noisy for its earlier timings to count.
        """
        if not requests:
            return []
        noise, smallest = self._noise(requests), self.writer.header.smallest
        if stats.is_quiet(self.done.noises, smallest) and stats.spread(noise) > smallest:
            message = (
                f"uncompiled-vs-uncompiled noise is now {stats.spread(noise):.1%}, above the smallest effect of"
                f" {smallest:.0%}: the timings so far are kept in {self.path}; continue when the machine is quieter"
            )
            raise HarnessError(message)
        self.writer.noise(noise)
        return [noise]

    def _noise(self, requests: Sequence[Request]) -> Noise:
        """Time uncompiled calls against themselves on workloads spread over the plan."""
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
        """Add the instructions that Callgrind counts; valgrind is known to be installed."""
        found = _in_child("instructions", task, Timing, task.request, _CALLGRIND_S)
        if isinstance(found, str):
            why = f"its instructions could not be counted: {found}"
            return replace(timing, message="; ".join(filter(None, (timing.message, why))))
        return replace(timing, instructions=found.instructions)

    def _with_compiles(self, timing: Timing, request: Request) -> Timing:
        """Add the seconds of first calls, alternately cold and warm, each pair with its own cache."""
        seconds: dict[Phase, tuple[float, ...]] = {}
        for _ in range(self.options.compiles):
            with tempfile.TemporaryDirectory(prefix="conformance-cache-") as cache:
                for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM):
                    task = FirstCall(request=request, phase=phase, cache=cache, threads=self.options.threads)
                    found = _in_child("first_call", task, Timing, request, 0.0)
                    if isinstance(found, str):
                        return replace(timing, compiles=seconds, message=f"{phase} could not be timed: {found}")
                    seconds[phase] = seconds.get(phase, ()) + found.compiles[phase]
        return replace(timing, compiles=seconds)


def prepare(options: BenchOptions) -> Bench:
    """Read the cases, describe the backends, plan, and open the file.

    Raises:
        ConformanceError: an option, case or expectation is wrong; nothing has run.
    """
    if options.callgrind and shutil.which("valgrind") is None:
        message = "--callgrind needs valgrind, which is not installed here"
        raise UsageError(message)
    cases = collect(options.folders)
    infos = discovery.find(options.backends, attempts.describe)
    # A case given by name is timed, whatever its tags.
    chosen = [case for case in cases if options.case_globs or TIMING_TAG in case.tags]
    plan = select(chosen, infos, case_globs=options.case_globs, variants=options.variants, seed=options.seed)
    machine = environment.capture(homes(options.folders))
    expectations = known_failures(infos, cases, machine)  # before a file of timings is opened, which replaces it
    return _opened(options, of_plain_calls(plan), machine, expectations)


def of_known(plan: Plan, known: Iterable[Record], path: Path) -> Bench:
    """Return the timing run of requests whose conformance is known.

    Args:
        plan: the requests.
        known: a record of each request.
        path: where timings are written.

    Raises:
        ConformanceError: the file cannot be opened.
    """
    ready = _opened(BenchOptions(records=path, seed=plan.seed), of_plain_calls(plan), environment.capture(), {})
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
    path = options.records or (
        kept.to_continue(Kind.BENCH, partial(belongs, header=header)) if options.resume else kept.new(Kind.BENCH)
    )
    if options.resume:
        writer, done = resume(path, header)
    else:
        writer, done = TimingWriter(path, header), TimingRun(header=header)
    return Bench(plan=plan, options=options, path=path, expectations=expectations, writer=writer, done=done)


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


def _in_child(function: str, task: object, kind: type[T], request: Request, budget_s: float) -> T | str:
    """Run a function of `conformance.timing.measure` in a child; return its result, or why there is none."""
    limit = request.timeout_s + _SLACK_S + 2 * budget_s
    end = tasks.run_task(f"conformance.timing.measure:{function}", task, env=request.backend.env, timeout_s=limit)
    found = tasks.result(kind, end)
    return found if isinstance(found, kind) else str(found)

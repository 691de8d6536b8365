"""One `conformance fuzz`: the driver with the real ladder, shrinker and writer, and what is printed."""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from conformance.backend.discovery import find
from conformance.catalogue import writer
from conformance.execution import attempts
from conformance.execution import engine as engines
from conformance.execution.cluster_worker import Drawn, cargo_of
from conformance.isolation.deadline import Deadline, StoppedError
from conformance.model.enums import Outcome
from conformance.model.errors import UsageError
from conformance.model.ladder import LADDER
from conformance.model.result import Attempt
from conformance.records.environment import capture
from conformance.records.jsonl import as_record_error
from conformance.triage.fuzz import campaign
from conformance.triage.fuzz import report as fuzz_report
from conformance.triage.fuzz.confirm import confirm
from conformance.triage.fuzz.known import known_failures, packaged
from conformance.triage.fuzz.runner import here, on_cluster
from conformance.triage.shrink.search import shrink
from conformance.verdict import ladder
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conformance.execution.engine import Engine, Scheduler
    from conformance.model.request import BackendInfo, Request
    from conformance.triage.fuzz.campaign import Fuzz
    from conformance.triage.fuzz.confirm import Confirmation
    from conformance.triage.fuzz.result import Chunk, FuzzResult, Options
    from conformance.triage.fuzz.runner import Runner

__all__ = ["REPORT", "Fuzzed", "Fuzzing", "first_rung", "prepare"]

REPORT = "report.md"
_KERNELS = "kernels"  # the folder of what children compile together, as long as a run takes
_ATTEMPTS = 200  # to shrink one finding
_ATTEMPTS_AT_A_HANG = 20  # each takes as long as it is given
_SHRINKING = 0.25  # of a budget, at most, for one finding: the first ones must not take all of it


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """The result of a run; its report is written."""

    result: FuzzResult
    confirmed: Mapping[str, Confirmation]
    report: Path
    start_s: float = 0.0

    @property
    def exit_code(self) -> int:
        """1 with findings that are new, 130 after Ctrl-C."""
        return self.result.exit_code

    @property
    def text(self) -> str:
        """For a terminal: numbers in a line, what is new, where the report is, how to go on where not all is done."""
        next_step: list[str] = []
        if self.result.interrupted:
            next_step = ["Interrupted. Continue: the same command, with the same output folder"]
        elif self.result.left:
            unexplained = f"{len(self.result.left)} more symptoms were seen, and there was no time to look into them."
            next_step = [f"{unexplained} Continue: the same command with a larger --budget"]
        started = f"Starting torch took {self.start_s:.0f} s, which is no part of the budget."
        summary = fuzz_report.summary(self.result, self.confirmed)
        return "\n".join([started, f"{summary}\n", f"{self.report}: written", *next_step])

    @property
    def statistics(self) -> str:
        """For a terminal: what was drawn, and what was found that is known."""
        return fuzz_report.statistics(self.result)


@dataclass(frozen=True, kw_only=True)
class Fuzzing:
    """A run that is ready to start; starting torch took `start_s`, which is no part of the budget.

    Findings are confirmed on this machine, `jobs` at a time. What runs the programs does so until `stack` is closed.
    """

    run: Fuzz
    start_s: float = 0.0
    jobs: int = 1
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def steps(self) -> int:
        """About how many steps `execute` reports: seconds of the budget, or programs."""
        return int(self.run.options.programs or self.run.options.budget_s or 0)

    def execute(self, advance: Callable[[str], None]) -> Fuzzed:
        """Draw, run, look into what fails, run the scripts of what is new, and write the report.

        `advance` is called with the progress, as text.
        """
        by_programs = self.run.options.programs is not None
        counted = 0.0

        def report_chunk(chunk: Chunk) -> None:
            nonlocal counted
            before, counted = int(counted), counted + (chunk.programs if by_programs else chunk.seconds)
            for _ in range(int(counted) - before):
                advance(f"chunk {chunk.number}: {len(chunk.failures)} of {chunk.programs} differ")

        with self.stack:
            result = self.run.execute(report_chunk)
            confirmed: Mapping[str, Confirmation] = {}
            path = self._write(result, confirmed)
            if not result.interrupted:
                try:
                    confirmed = self._confirm(result)
                except KeyboardInterrupt:
                    result = replace(result, interrupted=True)
                path = self._write(result, confirmed)
        return Fuzzed(result=result, confirmed=confirmed, report=path, start_s=self.start_s)

    def _confirm(self, result: FuzzResult) -> Mapping[str, Confirmation]:
        """Run the scripts of what is new, on this machine."""
        return confirm(
            result.new,
            self.run.backend,
            self.run.options.output,
            timeout_s=self.run.options.timeout_s,
            jobs=self.jobs,
            deadline=self.run.tools.deadline,
        )

    def _write(self, result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> Path:
        path = self.run.options.output / REPORT
        with as_record_error(f"cannot write {path}"):
            path.write_text(fuzz_report.report(result, confirmed), encoding="utf-8")
        return path


def prepare(
    options: Options,
    known: Sequence[Path] = (),
    scheduler: Scheduler | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Fuzzing:
    """Describe the backends, read what is known, and open the state.

    Args:
        options: of the command.
        known: record files, or folders of them, whose failures are known already; default: what comes with the package.
        scheduler: of the cluster whose workers run the programs, if not this machine does.
        notify: called with messages on these workers.

    Raises:
        ConformanceError: an option, the records or a backend is wrong.
    """
    failures = known_failures(known) if known else packaged()  # first: errors are reported before torch starts
    deadline, began = Deadline(), time.monotonic()
    infos = find(LADDER, attempts.describe)
    start_s = time.monotonic() - began
    jobs = options.jobs or capture().threads
    with ExitStack() as stack:  # closed by whoever executes the run, or here where there is none
        runner, at_a_time = here(_kernels(options.output, stack)), jobs
        if scheduler:
            engine = stack.enter_context(_cluster(scheduler, options, infos, notify))
            runner, at_a_time = on_cluster(engine.executor), engine.slots()
        tools = campaign.Tools(
            rung=first_rung(infos, runner, deadline),
            shrink=_shrinker(runner, deadline, options.budget_s),
            dump=writer.dump,
            known=failures,
            run=lambda requests: runner.several(requests, deadline),
            script_s=start_s,  # a script imports torch and compiles, as the fork server has just done on this machine
            deadline=deadline,
            stop=runner.stop,
            sharing=runner.sharing,
        )
        run = campaign.prepare(replace(options, jobs=at_a_time), tools)
        return Fuzzing(run=run, start_s=start_s, jobs=jobs, stack=stack.pop_all())


def _kernels(output: Path, stack: ExitStack) -> Path:
    """The folder of the kernels that are compiled together, which is gone when the stack is closed."""
    folder = output.absolute() / _KERNELS
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _cluster(
    scheduler: Scheduler, options: Options, ladder_infos: Sequence[BackendInfo], notify: Callable[[str], None]
) -> AbstractContextManager[Engine]:
    """Workers that get the programs as texts: they are in no catalogue."""
    backends = {info.name: info for info in (*ladder_infos, *find([options.backend], attempts.describe))}
    cargo = cargo_of(uuid.uuid4().hex[:12], list(backends.values()))
    return engines.cluster(scheduler, cargo, words=Drawn.of, notify=notify)


def _shrinker(
    runner: Runner, deadline: Deadline, budget_s: float | None
) -> Callable[[Request, Symptom, Callable[[Request], bool]], Request]:
    """Return a function that finds the smallest request in time; the request itself where there is no time at all."""

    def smaller(request: Request, expected: Symptom, holds: Callable[[Request], bool]) -> Request:
        end = deadline if budget_s is None else deadline.within(_SHRINKING * budget_s)

        def attempt(candidate: Request) -> Attempt:
            try:
                made = runner.one(candidate, end)
                slipped = Symptom.of(made) == expected and not holds(candidate)
            except StoppedError:
                return Attempt(invalid="the time is up")
            return Attempt(invalid="the symptom is of another failure") if slipped else made

        budget = _ATTEMPTS_AT_A_HANG if expected.outcome is Outcome.TIMEOUT else _ATTEMPTS
        try:
            return shrink(request, expected, attempt, budget=budget).request
        except UsageError:
            if end.has_passed:
                return request
            raise

    return smaller


def first_rung(infos: Sequence[BackendInfo], runner: Runner, deadline: Deadline) -> Callable[[Request, Symptom], str]:
    """Return a function that finds the first rung that shows a failure, its own backend last; '' where none does.

    It raises a StoppedError once the deadline has passed.

    Args:
        infos: the backends of the ladder.
        runner: runs requests.
        deadline: when it has to end.
    """

    def run(request: Request) -> Attempt:
        return runner.one(request, deadline)

    return lambda request, symptom: ladder.first(list(ladder.climb(request, symptom, infos, run)))

"""One `conformance fuzz`: the driver with the real ladder, shrinker and writer, and what is printed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from conformance.backend.discovery import find
from conformance.catalogue import writer
from conformance.execution import attempts
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
from conformance.triage.shrink.search import shrink
from conformance.verdict import ladder
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.triage.fuzz.campaign import Fuzz
    from conformance.triage.fuzz.confirm import Confirmation
    from conformance.triage.fuzz.result import Chunk, FuzzResult, Options

__all__ = ["REPORT", "Fuzzed", "Fuzzing", "first_rung", "prepare"]

REPORT = "report.md"
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
    """A run that is ready to start; starting torch took `start_s`, which is no part of the budget."""

    run: Fuzz
    start_s: float = 0.0

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

        result = self.run.execute(report_chunk)
        confirmed: Mapping[str, Confirmation] = {}
        path = self._write(result, confirmed)
        if not result.interrupted:
            try:
                confirmed = confirm(
                    result.new,
                    self.run.backend,
                    self.run.options.output,
                    timeout_s=self.run.options.timeout_s,
                    jobs=self.run.options.jobs or capture().threads,
                    deadline=self.run.tools.deadline,
                )
            except KeyboardInterrupt:
                result = replace(result, interrupted=True)
            path = self._write(result, confirmed)
        return Fuzzed(result=result, confirmed=confirmed, report=path, start_s=self.start_s)

    def _write(self, result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> Path:
        path = self.run.options.output / REPORT
        with as_record_error(f"cannot write {path}"):
            path.write_text(fuzz_report.report(result, confirmed), encoding="utf-8")
        return path


def prepare(options: Options, known: Sequence[Path] = ()) -> Fuzzing:
    """Describe the backends, read what is known, and open the state.

    Args:
        options: of the command.
        known: record files, or folders of them, whose failures are known already; default: what comes with the package.

    Raises:
        ConformanceError: an option, the records or a backend is wrong.
    """
    failures = known_failures(known) if known else packaged()  # first: errors are reported before torch starts
    deadline, began = Deadline(), time.monotonic()
    rung = first_rung(deadline)
    start_s = time.monotonic() - began
    tools = campaign.Tools(
        rung=rung,
        shrink=partial(_smaller, deadline, options.budget_s),
        dump=writer.dump,
        known=failures,
        run=partial(attempts.sweep, deadline=deadline),
        script_s=start_s,  # a script imports torch and compiles, as the fork server has just done on this machine
        deadline=deadline,
    )
    return Fuzzing(run=campaign.prepare(options, tools), start_s=start_s)


def _smaller(
    deadline: Deadline, budget_s: float | None, request: Request, expected: Symptom, holds: Callable[[Request], bool]
) -> Request:
    """The smallest request that is found in time; the request itself where there is no time at all."""
    end = deadline if budget_s is None else deadline.within(_SHRINKING * budget_s)

    def attempt(candidate: Request) -> Attempt:
        try:
            made = attempts.run(candidate, end)
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


def first_rung(deadline: Deadline | None = None) -> Callable[[Request, Symptom], str]:
    """Return a function that finds the first rung that shows a failure, its own backend last; '' where none does.

    It raises a StoppedError once the deadline has passed.

    Raises:
        ConformanceError: the backends of the ladder cannot be described.
    """
    infos = find(LADDER, attempts.describe)
    run = partial(attempts.run, deadline=deadline)
    return lambda request, symptom: ladder.first(list(ladder.climb(request, symptom, infos, run)))

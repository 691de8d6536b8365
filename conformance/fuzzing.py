"""One `conformance fuzz`: the driver with the real ladder, shrinker and writer, and what a terminal is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import case_text, findings, fuzz, isolate
from conformance.confirm import confirm
from conformance.environment import capture
from conformance.known import known_failures
from conformance.linefile import telling
from conformance.model import Attempt, Outcome
from conformance.shrink import shrink
from conformance.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conformance.confirm import Confirmation
    from conformance.fuzz import Chunk, Fuzz, FuzzResult, Options
    from conformance.model import Request

__all__ = ["REPORT", "Fuzzed", "Fuzzing", "prepare"]

REPORT = "report.md"
_PUBLISHED = Path("results", "records")
_ATTEMPTS = 200  # to shrink one finding
_ATTEMPTS_AT_A_HANG = 20  # each takes as long as it is given


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What came of it; its report is written."""

    result: FuzzResult
    confirmed: Mapping[str, Confirmation]
    report: Path

    @property
    def exit_code(self) -> int:
        """1 with findings that are new, 130 after Ctrl-C."""
        return self.result.exit_code

    @property
    def text(self) -> str:
        """The report for a terminal, where it is, and after an interruption how to go on."""
        again = (
            "\nInterrupted. Continue: the same command, with the same output folder" if self.result.interrupted else ""
        )
        return f"{findings.report(self.result, self.confirmed).rstrip()}\n\n{self.report}: written{again}"


@dataclass(frozen=True, kw_only=True)
class Fuzzing:
    """A run that is ready to start."""

    run: Fuzz

    @property
    def steps(self) -> int:
        """About how much `execute` tells: seconds of the budget, or programs."""
        return int(self.run.options.programs or self.run.options.budget_s or 0)

    def execute(self, advance: Callable[[str], None]) -> Fuzzed:
        """Draw, run, look into what fails, run the scripts of what is new, and write the report.

        `advance` is told how far it has come.
        """
        by_programs = self.run.options.programs is not None
        counted = 0.0

        def told(chunk: Chunk) -> None:
            nonlocal counted
            before, counted = int(counted), counted + (chunk.programs if by_programs else chunk.seconds)
            for _ in range(int(counted) - before):
                advance(f"chunk {chunk.number}: {len(chunk.failures)} of {chunk.programs} differ")

        result = self.run.execute(told)
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
                )
            except KeyboardInterrupt:
                result = replace(result, interrupted=True)
            path = self._write(result, confirmed)
        return Fuzzed(result=result, confirmed=confirmed, report=path)

    def _write(self, result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> Path:
        path = self.run.options.output / REPORT
        with telling(f"cannot write {path}"):
            path.write_text(findings.report(result, confirmed), encoding="utf-8")
        return path


def prepare(options: Options, known: Sequence[Path] = ()) -> Fuzzing:
    """Describe the backends, read what is known, and open the state.

    Args:
        options: what the user asked for.
        known: record files, or folders of them, whose failures are no news; default: the published ones.

    Raises:
        ConformanceError: whatever is wrong with what was asked for.
    """
    places = list(known) or [place for place in (_PUBLISHED,) if place.is_dir()]
    seen = known_failures(places)  # first: what is wrong with records is said before torch starts
    tools = fuzz.Tools(rung=findings.first_rung(), shrink=_smaller, dump=case_text.dump, known=seen)
    return Fuzzing(run=fuzz.prepare(options, tools))


def _smaller(request: Request, wanted: Symptom, holds: Callable[[Request], bool]) -> Request:
    def attempt(one: Request) -> Attempt:
        made = isolate.run(one)
        slipped = Symptom.of(made) == wanted and not holds(one)
        return Attempt(invalid="the symptom is of another failure") if slipped else made

    budget = _ATTEMPTS_AT_A_HANG if wanted.outcome is Outcome.TIMEOUT else _ATTEMPTS
    return shrink(request, wanted, attempt, budget=budget).request

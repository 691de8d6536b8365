"""Measures what fuzzing promises: programs per second, that uncompiled equals itself, and how soon defects show.

`python -m conformance.tests.jobs.fuzz_speed --programs 20000` runs so many programs on the backend `eager`, fuzzes
`aot_eager` and `inductor` for `--seconds`, and each saboteur of modes until a program shows what none of PyTorch's own
backends does, or for so long. The exit code is 1 where one of them shows nothing, and where what must hold of
uncompiled does not.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from tabulate import tabulate

from conformance.backend.discovery import find
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.isolation.deadline import Deadline
from conformance.model.ladder import LADDER
from conformance.tests.saboteurs import SABOTEURS, ref
from conformance.triage.fuzz.campaign import Tools, prepare
from conformance.triage.fuzz.command import first_rung
from conformance.triage.fuzz.known import Known, known_failures
from conformance.triage.fuzz.result import FuzzResult, Options
from conformance.triage.fuzz.runner import here
from conformance.triage.shrink.search import shrink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.request import Request
    from conformance.triage.fuzz.result import Chunk
    from conformance.verdict.symptom import Symptom

_RECORDS = Path(__file__).parents[3] / "results" / "records"
_FEW_LINES = 5
_ACCEPTED = 0.9
_MODES = [name for name, saboteur in SABOTEURS.items() if saboteur.home == "modes"]


class Row(NamedTuple):
    """One thing measured, what it must be, and whether it is; how fast things are is for the reader to judge."""

    what: str
    measured: str
    wanted: str = ""
    holds: bool = True


@click.command()
@click.option("--programs", default=2000, show_default=True, help="Programs run on eager.")
@click.option("--seconds", default=60.0, show_default=True, help="Time for each backend and saboteur.")
@click.option("--jobs", type=int, default=None, help="Batches at a time; default: one for each processor.")
@click.option("--seed", default=0, show_default=True)
@click.argument("names", metavar="[SABOTEUR ...]", nargs=-1, type=click.Choice(_MODES))
def main(programs: int, seconds: float, jobs: int | None, seed: int, names: Sequence[str]) -> None:
    """Measure and print one table; with names, those saboteurs alone."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as kernels:
        runner = here(Path(kernels))
        tools = Tools(
            rung=first_rung(find(LADDER, attempts.describe), runner, Deadline()),
            shrink=_unshrunk,
            dump=_text,
            known=known_failures([_RECORDS]) if _RECORDS.is_dir() else Known(),
            run=lambda requests: runner.several(requests, Deadline()),
            sharing=runner.sharing,
        )
        given = Options(backend="", output=Path(folder), seed=seed, jobs=jobs)
        fast = {"aot_eager": 25, "inductor": 5}
        rows = [] if names else list(_alone(given, tools, programs))
        rows += [] if names else [_fast(given, tools, seconds, *one) for one in fast.items()]
        found = [_saboteur(given, tools, name, seconds) for name in names or _MODES]
        rows += [row for row, _ in found]
        rows += [_median([lines for _, lines in found if lines is not None])]
    shown = [(row.what, row.measured, row.wanted if row.holds else f"{row.wanted}: IT IS NOT") for row in rows]
    sys.stdout.write(tabulate(shown, headers=("what", "measured", "must be"), tablefmt="github") + "\n")
    sys.exit(0 if all(row.holds for row in rows) else 1)


def _unshrunk(request: Request, _: Symptom, __: object) -> Request:
    return request


def _text(case: Case) -> str:
    return case.program


def _fuzzed(given: Options, tools: Tools, backend: str, **limits: float) -> FuzzResult:
    folder = given.output / str(sum(1 for _ in given.output.iterdir()))
    options = Options(backend=backend, output=folder, seed=given.seed, jobs=given.jobs, **limits)  # type: ignore[arg-type]
    return prepare(options, tools).execute()


def _median(lines: Sequence[int]) -> Row:
    measured = f"{statistics.median(lines):g} (of {len(lines)})" if lines else "nothing was found"
    small = bool(lines) and statistics.median(lines) <= _FEW_LINES
    return Row("lines of the smallest programs, median", measured, f"at most {_FEW_LINES}", small)


def _alone(given: Options, tools: Tools, programs: int) -> Iterator[Row]:
    """The failures of `eager`: each program is run against itself before a backend is; Dynamo alone may differ."""
    result = _fuzzed(given, tools, "eager", programs=programs)
    _tell(result)
    unequal = result.unstable
    yield Row(f"of {result.programs} programs, where uncompiled differs from itself", str(unequal), "0", not unequal)
    found = ", ".join(f"{finding.symptom} ({finding.case_id})" for finding in result.new) or "nothing"
    yield Row("what the backend eager does otherwise: Dynamo alone", found)
    accepted = result.accepted / max(result.programs, 1)
    yield Row("of these programs, accepted", f"{accepted:.1%}", f"at least {_ACCEPTED:.0%}", accepted >= _ACCEPTED)
    unused = [name for name, count in result.coverage.items() if not count]
    yield Row("parts of the grammar that none of them uses", ", ".join(unused) or "none", "none", not unused)
    yield Row("programs per second on eager, without shrinking", _rate(result))


def _fast(given: Options, tools: Tools, seconds: float, backend: str, least: int) -> Row:
    result = _fuzzed(given, tools, backend, budget_s=seconds)
    _tell(result)
    return Row(f"programs per second on {backend}, without shrinking", _rate(result), f"at least {least}")


def _saboteur(given: Options, tools: Tools, name: str, seconds: float) -> tuple[Row, int | None]:
    """How soon a saboteur is found, and how many lines the smallest program has that shows it."""
    backend = ref(SABOTEURS[name].home, name)
    options = replace(given, backend=backend, output=given.output / name, budget_s=seconds)
    watch, lines = _Watch(name), None
    try:
        prepare(options, replace(tools, shrink=watch.keep, known=Known())).execute(watch)
        measured = f"NOT FOUND in {watch.programs} programs"
    except _FoundError as found:
        small = shrink(*found.args).request
        tasks.shutdown()
        lines = small.case.program.count("\n")
        measured = f"{watch.seconds:.0f} s, {watch.programs} programs; {lines} lines: {found.args[1]}"
    click.echo(f"{name}: {measured}", err=True)
    return Row(f"{name} is found after", measured, f"at most {seconds:.0f} s", lines is not None), lines


class _FoundError(Exception):
    """A program shows what the saboteur's kin does not: the request and its symptom."""


class _Watch:
    """Ends a run as soon as something is found that the saboteur of this name shows and none of PyTorch's own does."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.programs, self.seconds = 0, 0.0
        self._requests: dict[str, Request] = {}

    def keep(self, request: Request, _: Symptom, __: object) -> Request:
        """Replace the shrinker, and remember what was to be shrunk."""
        self._requests[request.case.id] = request
        return request

    def __call__(self, chunk: Chunk) -> None:
        self.programs += chunk.programs
        self.seconds += chunk.seconds
        for finding in chunk.findings:
            if finding.rung == self._name:
                raise _FoundError(self._requests[finding.case_id], finding.symptom)


def _rate(result: FuzzResult) -> str:
    return f"{result.programs / max(result.seconds, 1e-3):.1f} ({result.programs} in {result.seconds:.0f} s)"


def _tell(result: FuzzResult) -> None:
    click.echo(f"{result.backend}: {_rate(result)}, {result.failures.total()} failed", err=True)
    for finding in result.findings:
        click.echo(
            f"  {finding.symptom} | {finding.rung} | {finding.nest or finding.known} | {finding.case_id}", err=True
        )


if __name__ == "__main__":
    main()

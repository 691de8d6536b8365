"""Whether known defects are attributed to their causes: `python -m conformance.tests.jobs.attributions [SABOTEUR ...]`.

Of each saboteur, the first failure is attributed that shows what is meant to catch it, and not on the backend that it
is made from; with `--failures N` the first N, each of which has to be right. The truth is in the saboteur's docstring.
With `--within GLOB` these are cases in which the defect may not show; there, defects of the base are looked for among
modes, and those that do not show do not count. The exit code is 1 where fewer than 95 of 104 are right. With
`--done FILE` what is known of a saboteur is kept in the file, and it is not run again.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import TypeAdapter
from tabulate import tabulate

from conformance.catalogue.selection import plan_of, select
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.tests.fakes import an_environment
from conformance.tests.jobs.results_file import ResultsFile
from conformance.tests.saboteurs import SABOTEURS, ref
from conformance.tests.trial import CASES, findings, making
from conformance.triage.attribution.attributor import Attributor
from conformance.verdict.ladder import beneath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Record

__all__ = ["Verdict", "attributed", "judged"]

_SHARE = 95 / 104


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A saboteur, what its failures are to be attributed to, what they were, with how many controls, in how long."""

    name: str
    wanted: tuple[str, ...]
    found: tuple[str, ...]
    controls: int
    seconds: float
    first: str

    @property
    def is_right(self) -> bool:
        """Whether there are failures, and each is attributed right."""
        return bool(self.found) and set(self.found) <= set(self.wanted)


@click.command()
@click.option("--done", type=click.Path(dir_okay=False, path_type=Path), help="Where results are kept, and taken from.")
@click.option("--failures", type=click.IntRange(min=1), default=1, show_default=True, help="Of each saboteur.")
@click.option("--within", multiple=True, metavar="GLOB", help="Cases to fail in, in place of those named for each.")
@click.option("--jobs", "-j", default=os.cpu_count(), show_default=True, help="Saboteurs at a time.")
@click.argument("names", metavar="[SABOTEUR ...]", nargs=-1, type=click.Choice(list(SABOTEURS)))
def main(names: Sequence[str], done: Path | None, failures: int, within: Sequence[str], jobs: int) -> None:
    """Print one row for each saboteur."""
    results = ResultsFile(TypeAdapter(Verdict), done)
    known = {each.name: each for each in results.read()}
    with ThreadPoolExecutor(jobs) as executor:
        made = list(
            executor.map(
                lambda name: known.get(name) or results.add(attributed(name, failures, within)), names or SABOTEURS
            )
        )
    rows = [
        (each.name, ", ".join(each.wanted), _counted(each.found), "" if each.is_right else "wrong", each.controls)
        for each in made
    ]
    click.echo(tabulate(rows, ("defect", "to be", "attributed to", "", "controls"), tablefmt="github"))
    counting = [each for each in made if each.found or not within]
    click.echo(judged(counting))
    sys.exit(0 if sum(each.is_right for each in counting) >= _SHARE * len(counting) else 1)


def judged(made: Sequence[Verdict]) -> str:
    """How many are right, and what that cost."""
    failures, controls = sum(len(each.found) for each in made), sum(each.controls for each in made)
    seconds = sum(each.seconds for each in made)
    right = sum(each.is_right for each in made)
    return f"{right} of {len(made)} are attributed right; {controls} controls for {failures} failures, {seconds:.0f} s"


def attributed(name: str, failures: int = 1, within: Sequence[str] = ()) -> Verdict:
    """Attribute the first failures of a saboteur."""
    saboteur = SABOTEURS[name]
    found = list(islice(_failures(name, within), failures))
    start = time.perf_counter()
    attributor = Attributor([record for record, _ in found], _rungs())
    causes = tuple(attributor(record, request).cause.value for record, request in found)
    made = Verdict(
        name=name,
        wanted=tuple(sorted(saboteur.causes)),
        found=causes,
        controls=attributor.made,
        seconds=round(time.perf_counter() - start, 1),
        first="/".join(found[0][0].key[1:]) if found else "",
    )
    click.echo(f"{name}: {_counted(causes)}, to be {', '.join(made.wanted)} {made.first}", err=True)
    return made


def _failures(name: str, within: Sequence[str]) -> Iterator[tuple[Record, Request]]:
    """The failures, among the cases named for a saboteur, that show what is meant to catch it and not its kin."""
    saboteur = SABOTEURS[name]
    cases = making(saboteur.move) if saboteur.move else CASES
    kin, broken = attempts.describe(saboteur.kin), attempts.describe(ref(saboteur.home, name))
    for request in select(cases, [broken], case_globs=within or [saboteur.cases], timeout_s=saboteur.limit_s).requests:
        record = _run(request)
        if saboteur.meant in findings(record) and saboteur.meant not in findings(_run(replace(request, backend=kin))):
            yield record, request


def _run(request: Request) -> Record:
    (record,) = records(plan_of([request]), an_environment(threads=1))
    return record


@cache
def _rungs() -> Mapping[str, BackendInfo]:
    return {name: attempts.describe(name) for name in beneath("", is_aot=True)}


def _counted(found: Sequence[str]) -> str:
    return ", ".join(f"{number} {cause}" for cause, number in Counter(found).items()) or "no failure"


if __name__ == "__main__":
    main()

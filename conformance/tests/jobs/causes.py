"""Whether every known defect is led back to its cause: `python -m conformance.tests.jobs.causes [SABOTEUR ...]`.

Of each saboteur, the first failure that shows what is meant to catch it is explained, written as a stand-alone script,
which has to show it on the saboteur and not on the backend that it is made from, and shrunk. The table has the
results; the exit code is 1 where one of them does not work.
"""

from __future__ import annotations

import os
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

from conformance.catalogue.selection import select
from conformance.execution import attempts
from conformance.model.enums import Outcome
from conformance.model.errors import UsageError
from conformance.tests.jobs import scripts
from conformance.tests.saboteurs import SABOTEURS, ref
from conformance.tests.trial import CASES, findings, findings_of
from conformance.triage.explain import command
from conformance.triage.lookup import rerun
from conformance.triage.repro import script
from conformance.triage.shrink.search import shrink
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.triage.lookup import Found

_ATTEMPTS = 200


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The results for a saboteur's failure.

    Args:
        name: of the saboteur.
        symptom: of the failure.
        rung: the first that shows the symptom, for another reason where it is one of PyTorch's own; empty where it was
            not seen again.
        node: whether a node of a captured graph was found that differs.
        scripted: whether its script shows it on the saboteur alone, or why there is none.
        lines: of the smallest case, program and setup.
        tried: how many attempts that took.
    """

    name: str
    symptom: str
    rung: str
    node: bool
    scripted: str
    lines: int
    tried: int

    @property
    def holds(self) -> bool:
        """Whether it was led back to its cause in every way."""
        return self.rung != "" and self.scripted == "yes"


@click.command()
@click.option("--jobs", default=os.cpu_count(), show_default=True, help="Saboteurs at a time.")
@click.argument("names", metavar="[SABOTEUR ...]", nargs=-1, type=click.Choice(list(SABOTEURS)))
def main(names: Sequence[str], jobs: int) -> None:
    """Print one row for each saboteur."""
    chosen = names or list(SABOTEURS)
    with ThreadPoolExecutor(jobs) as executor:
        causes = list(executor.map(_cause, chosen))
    headers = ("defect", "what goes wrong", "first rung", "node found", "script", "lines", "attempts")
    rows = [(c.name, c.symptom, c.rung, "yes" if c.node else "", c.scripted, c.lines, c.tried) for c in causes]
    median = statistics.median(c.lines for c in causes)
    held = sum(c.holds for c in causes)
    click.echo(tabulate(rows, headers, tablefmt="github"))
    click.echo(f"{held} of {len(causes)} explained, scripted and shrunk; {median:g} lines, median")
    sys.exit(0 if held == len(causes) else 1)


def _cause(name: str) -> Cause:
    found = _failure(name)
    symptom = Symptom.of_record(found.record)
    told = command.of(found)
    small = shrink(found.request, symptom, budget=_ATTEMPTS)
    case = small.request.case
    click.echo(f"{name}: {'/'.join(found.record.key[1:])}", err=True)
    return Cause(
        name=name,
        symptom=str(symptom),
        rung=told.first_rung,
        node=not isinstance(told.dissection, str) and any(graph.difference for graph in told.dissection.graphs),
        scripted=_scripted(found, SABOTEURS[name].kin),
        lines=len(case.program.splitlines()) + len(case.setup.splitlines()),
        tried=small.tried,
    )


def _failure(name: str) -> Found:
    """The first failure, among the cases named for a saboteur, that shows what is meant to catch it and not its kin."""
    saboteur = SABOTEURS[name]
    backend = attempts.describe(ref(saboteur.home, name))
    plan = select(CASES, [backend], case_globs=[saboteur.cases], timeout_s=saboteur.limit_s)
    for request in plan.requests:
        found = rerun(request)
        shown = findings(found.record)
        if saboteur.meant in shown and shown.isdisjoint(
            findings_of(saboteur.kin, [found.record])[found.record.case_id, found.record.variant]
        ):
            return found
    message = f"{saboteur.meant} does not show {name} in {saboteur.cases}"
    raise click.ClickException(message)


def _scripted(found: Found, kin: str) -> str:
    try:
        text = script.render_script(found, script.compiler(found.request.backend))
    except UsageError as error:
        return str(error)
    if not scripts.run(text, 2 * found.request.timeout_s).shows(found.record.outcome):
        return "it does not show it"
    # PyTorch's `eager` returns its graph unchanged as well, since that is its purpose.
    kin = "aot_eager" if found.record.outcome is Outcome.VACUOUS else kin
    honest = replace(found, request=replace(found.request, backend=attempts.describe(kin)))
    on_kin = scripts.run(script.render_script(honest, script.compiler(honest.request.backend)))
    return "yes" if on_kin.status == 0 else f"{kin} shows it too"


if __name__ == "__main__":
    main()

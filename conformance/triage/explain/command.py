"""One `conformance explain`: a failure from its record to its cause, as far as the suite can follow it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from conformance.catalogue.specification import clause_texts
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.errors import UsageError
from conformance.program.build import generate
from conformance.records.record_file import mixed_with
from conformance.report import terminal
from conformance.report.terminal import style_of, styled
from conformance.triage.explain.dissection import Dissection
from conformance.triage.lookup import find, with_installed_backend
from conformance.verdict.first_seen import broken_in_order
from conformance.verdict.ladder import DEBUG, below, climb, first
from conformance.verdict.symptom import Symptom, first_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.result import Record
    from conformance.triage.explain.dissection import CapturedGraph, Listing
    from conformance.triage.lookup import Found
    from conformance.verdict.ladder import Rung

__all__ = ["Explanation", "explain", "of", "text"]

_FEW_GUARDS = 30
_MARK = ">"
_WIDE = 60  # characters of a cell


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A failure, its dissection (or why there is none), and what each rung of the ladder does."""

    found: Found
    dissection: Dissection | str
    rungs: Sequence[Rung]

    @property
    def first_rung(self) -> str:
        """The first backend from which on all show the failure; empty where it did not show again."""
        return first(self.rungs)


def explain(name: str, places: Sequence[Path] = (), folders: Sequence[Path] = ()) -> Explanation:
    """Run a recorded failure again: dissected on its backend, and on each rung below.

    Args:
        name: `BACKEND/CASE/VARIANT`; see `conformance.triage.lookup`.
        places: record files, or folders of them.
        folders: of cases, beyond those that the run had.

    Raises:
        UsageError: there is no such record, or it is no failure.
        ConformanceError: records, cases or the backend cannot be read.
    """
    found = find(name, places, folders)
    if not found.record.outcome.is_failure:
        message = f"{'/'.join(found.record.key)}: {found.record.outcome}; there is nothing to explain"
        raise UsageError(message)
    return of(replace(found, request=with_installed_backend(found.request)))


def of(found: Found) -> Explanation:
    """Explain a failure whose request has its backend as it is installed here.

    Raises:
        BackendError: a backend of PyTorch's own is not there.
        HarnessError: the fork server does not start, or died twice.
    """
    request = found.request
    infos = [attempts.describe(rung) for rung in below(request.backend.name)]
    rungs = tuple(climb(request, Symptom.of_record(found.record), infos, attempts.run))
    end = tasks.run_task(
        "conformance.triage.explain.dissect:run", request, env=request.backend.env, timeout_s=2 * request.timeout_s
    )
    dissection = tasks.result(Dissection, end)
    return Explanation(
        found=found, dissection=dissection if isinstance(dissection, Dissection) else str(dissection), rungs=rungs
    )


def text(explanation: Explanation) -> str:
    """The explanation for a terminal, from what is known for sure to what was found."""
    record = explanation.found.record
    parts = [
        f"{' / '.join(record.key)}: {styled(record.verdict.value, style_of(record.verdict))}",
        *_where(explanation.found),
        _section("Program", _program(explanation)),
        _section("What differs", _observed(record)),
        _section("Ladder", _ladder(explanation)),
        *_dissected(explanation.dissection),
        _section("Specification", "\n".join(_clauses(record)) or "The case names no clause."),
        f"Script: conformance repro '{'/'.join(record.key)}'",
    ]
    return "\n\n".join(parts)


def _where(found: Found) -> Iterator[str]:
    """The environment of a record of a run whose workers were allowed to differ, where it is not that of the run."""
    own = mixed_with(found.run)
    if own and found.record.fingerprint != own:
        yield f"It was run in environment {found.record.fingerprint}; that of the run is {own}."


def _section(title: str, body: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{body}"


def _program(explanation: Explanation) -> str:
    """The Python that is run, with a mark at the line of the first node that differs."""
    if isinstance(explanation.dissection, str):
        graphs: Sequence[CapturedGraph] = ()
        text, start = generate(explanation.found.request.case, explanation.found.request.variant).source, 1
    else:
        graphs = explanation.dissection.graphs
        text, start = explanation.dissection.listing.text, explanation.dissection.listing.line
    marked = {graph.difference.line for graph in graphs if graph.difference}
    lines = enumerate(text.rstrip().split("\n"), start)
    return "\n".join(f"{_MARK if number in marked else ' '} {line}" for number, line in lines)


def _observed(record: Record) -> str:
    """The observations uncompiled and on the backend, side by side."""
    rows = [
        tuple(
            shorten(word, _WIDE, placeholder=" ...")
            for word in (check.check, difference.place, difference.kind, difference.expected, difference.actual)
        )
        for check in broken_in_order(record.checks)
        for difference in check.differences
    ]
    if not rows:
        return record.full_message
    table = terminal.listing(("check", "where", "what", "uncompiled", record.backend), rows)
    return f"{record.full_message}\n\n{table}" if record.raised else table


def _ladder(explanation: Explanation) -> str:
    rows = [(_rung(rung.backend), "differs" if rung.same else "", str(rung.symptom)) for rung in explanation.rungs]
    table = terminal.listing(("backend", "", "what it shows"), rows)
    if not explanation.first_rung:
        return f"{table}\nThe failure of the record did not show again."
    return f"{table}\nThis failure is first seen in {explanation.first_rung}, {_stage(explanation)}."


def _rung(backend: str) -> str:
    return f"{backend} (for debugging)" if backend == DEBUG else backend


def _stage(explanation: Explanation) -> str:
    return first_stage(explanation.found.record)


def _dissected(dissection: Dissection | str) -> Iterator[str]:
    if isinstance(dissection, str):
        yield _section("From inside", f"It could not be looked at: {dissection.partition(chr(10))[0]}")
        return
    for number, graph in enumerate(dissection.graphs, 1):
        title = (
            f"Captured graph {number} of {len(dissection.graphs)}" if len(dissection.graphs) > 1 else "Captured graph"
        )
        yield _section(title, f"{_without_files(graph.text)}\n\n{_node(graph, dissection.listing)}")
    breaks = "\n".join(f"- {reason}" for reason in dissection.graph_breaks)
    yield _section("Graph breaks", breaks or "none")
    more = f"\n... and {len(dissection.guards) - _FEW_GUARDS} more" if len(dissection.guards) > _FEW_GUARDS else ""
    yield _section("Guards", ("\n".join(dissection.guards[:_FEW_GUARDS]) or "none") + more)


def _node(graph: CapturedGraph, listing: Listing) -> str:
    found = graph.difference
    if found is None:
        return f"No node was found that differs: {graph.searched}."
    home = Path(listing.file)
    place = f"{home.name}:{found.line}" if home.is_file() else f"line {found.line} of the program"
    where = f", {place}" if found.line else ""
    return (
        f"The first node that differs, with each value returned: {found.node} ({found.target}){where}, {found.stage}:"
        f" {found.kind} {found.actual}, uncompiled {found.expected}."
    )


def _without_files(graph: str) -> str:
    """The graph without the paths in comments; the code that they quote stays."""
    lines = [re.sub(r"# File: .*, code: ", "# ", line) for line in graph.strip().split("\n")]
    return "\n".join(line for line in lines if line.strip() and "No stacktrace found" not in line)


def _clauses(record: Record) -> Iterator[str]:
    texts = clause_texts()
    for clause in record.clauses:
        yield f"{clause}  {texts.get(clause, 'no longer in the specification')}"

"""The report of a fuzzing run, as markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.isolation import torch_release
from conformance.report.markdown import code as quoted
from conformance.report.markdown import fenced, plain, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.triage.fuzz.confirm import Confirmation
    from conformance.triage.fuzz.finding import FuzzFinding
    from conformance.triage.fuzz.result import FuzzResult

__all__ = ["report", "statistics", "summary"]


_NOT_ALONE = "not seen again by itself"


def report(result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> str:
    """Return what a run found and what it drew, as markdown.

    Args:
        result: of the run.
        confirmed: how the scripts of findings ended, by the id of the case.
    """
    blocks = [_title(result), _counts(result), *_new(result, confirmed), *_beside(result)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def statistics(result: FuzzResult) -> str:
    """All of a report but what is new, as markdown."""
    return "\n\n".join([_title(result), _counts(result), *_beside(result)])


def summary(result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> str:
    """One line of numbers, and then what is new; the arguments are those of `report`."""
    new, known = len(result.new), len(result.findings) - len(result.new)
    numbers = (
        f"{plain(result.backend)}: {result.programs} programs in {result.seconds:.0f} s,"
        f" {result.failures.total()} failed, {result.looked_into} of these looked into;"
        f" findings: {known} known, {new} new"
    )
    return "\n\n".join([numbers, *_new(result, confirmed)])


def _title(result: FuzzResult) -> str:
    return f"# Fuzzing {plain(result.backend)}, seed {result.seed}"


def _new(result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> Iterator[str]:
    yield _headed("## New findings", _table(result.new, result))
    yield from (_program(one, confirmed.get(one.case_id)) for one in result.new)


def _beside(result: FuzzResult) -> Iterator[str]:
    """The sections of a report that are about no new finding."""
    yield _headed("## Known findings", _table([one for one in result.findings if one.known], result))
    yield _headed("## Programs that PyTorch refuses uncompiled", _invalid(result))
    rows = [(name, count) for name, count in result.coverage.items()]
    yield _headed("## Parts of the grammar", table(("part", "programs"), rows, right=[1]))


def _counts(result: FuzzResult) -> str:
    programs, seconds = result.programs, result.seconds
    accepted = result.accepted / max(programs, 1)
    rows = [
        ("torch", torch_release.installed().version),
        ("programs", str(programs)),
        ("accepted, uncompiled and by the semantics model", f"{result.accepted} ({accepted:.1%})"),
        ("left out: they need what the backend does not claim", str(result.unsupported)),
        ("failed", str(result.failures.total())),
        ("of these, looked into", str(result.looked_into)),
        *([("symptoms that there was no time to look into", str(len(result.left)))] if result.left else []),
        ("pairs of parts, guards, graphs and counters that were reached", str(len(result.kept.reached))),
        ("programs that were the first to reach one of them, and were varied", str(len(result.kept.kept))),
        ("seconds", f"{seconds:.0f}"),
        ("programs per second", f"{programs / seconds:.1f}" if seconds else ""),
        ("findings", f"{len(result.new)} new, {len(result.findings) - len(result.new)} known"),
    ]
    return table(("what", "how many"), rows, right=[1])


def _headed(head: str, content: str) -> str:
    return f"{head}\n\n{content or 'None.'}"


def _table(findings: Sequence[FuzzFinding], result: FuzzResult) -> str:
    headers = ("what goes wrong", "first rung", "nest", "programs with the symptom", "case")
    rows = [
        (
            plain(str(one.symptom)),
            one.rung or _NOT_ALONE,
            one.nest,
            result.failures[one.symptom],
            quoted(one.known or one.file or one.case_id),
        )
        for one in findings
    ]
    return table(headers, rows, right=[3]) if rows else ""


def _program(finding: FuzzFinding, confirmed: Confirmation | None) -> str:
    script = f", script {quoted(confirmed.script)}" if confirmed and confirmed.script else ""
    says = f": {plain(str(confirmed))}" if confirmed else ""
    return f"{quoted(finding.case_id)}{script}{says}\n\n{fenced(finding.program.rstrip(), 'python')}"


def _invalid(result: FuzzResult) -> str:
    rows = [(quoted(case), plain(reason)) for case, reason in result.invalid.items()]
    return table(("program", "why"), rows) if rows else ""

"""The summary that `conformance run` prints."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from conformance.model.enums import Verdict
from conformance.records import frame, kept
from conformance.report import terminal
from conformance.report.matrix import cell, matrix, tally
from conformance.report.terminal import style_of, styled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from conformance.execution.session import Result
    from conformance.model.result import CheckResult, Record

__all__ = ["as_it_comes", "brief", "finding", "missing", "text"]

_FEW = 5  # requests that are shown in full
_MANY = 25  # red rows; for more, the report reads better


def text(result: Result, *, quiet: bool, command: Sequence[str]) -> str:
    """The matrix, what is red with its command to reproduce, and where the records are.

    Args:
        result: of the run.
        quiet: give the last line only.
        command: the words after `conformance` that started the run, to print how to resume it.
    """
    last = _last(result, command)
    if quiet or not result.records:
        return last
    if len(result.records) < _FEW:
        return "\n\n".join([*map(_full, result.records), *_notes(result), last])
    table = terminal.table(*matrix(frame.of(result.records), _coloured))
    return "\n\n".join([table, *_red(result), *_notes(result), last])


def _red(result: Result) -> Iterator[str]:
    red = [record for record in result.records if not record.verdict.is_green]
    if red:
        yield terminal.folded(f"{len(red)} red", "\n\n".join(map(finding, red[:_MANY])))
    if len(red) > _MANY:
        of = "" if result.path.parent == kept.FOLDER else f" --records {result.path}"
        yield f"... and {len(red) - _MANY} more red; `conformance report{of}` writes pages that hold them all."


def as_it_comes(record: Record) -> str:
    """A finding while the run goes on, or nothing; in a log of GitHub Actions it is folded under its name."""
    if record.verdict.is_green:
        return ""
    return terminal.folded(f"{_where(record)}: {record.verdict}", finding(record))


def brief(record: Record) -> str:
    """The verdict of one request, while others still run."""
    return f"{_where(record)}: {styled(record.verdict.value, style_of(record.verdict))}"


def finding(record: Record) -> str:
    """The request, its verdict and message, and how to reproduce it."""
    return f"{_what(record)}\n  Reproduce: {record.reproduce}"


def _what(record: Record) -> str:
    message = f": {record.full_message}" if record.full_message else ""
    verdict = styled(record.verdict.value, style_of(record.verdict))
    return "\n  ".join(f"{_where(record)}: {verdict}{message}".splitlines())


def _where(record: Record) -> str:
    return f"{record.backend} / {record.case_id} / {record.variant}"


def _coloured(part: pd.DataFrame) -> str:
    """A cell of the matrix in the colour of the worst that it counts."""
    styles = {style_of(verdict) for verdict in tally(part) if verdict.scored or not verdict.is_green}
    worst = next((style for style in (terminal.BAD, terminal.WARN, terminal.GOOD) if style in styles), terminal.QUIET)
    return styled(cell(part), worst)


def _full(record: Record) -> str:
    head = _what(record) if record.verdict is Verdict.PASS else finding(record)
    lines = [head, f"  outcome {record.outcome}, stage {record.stage}, {record.duration_s:.2f} s"]
    if record.evidence:
        lines.append(f"  evidence: {_pairs(vars(record.evidence))}")
    if record.metrics:
        lines.append(f"  metrics: {_pairs(record.metrics)}")
    return "\n".join([*lines, *map(_check, record.checks)])


def _pairs(facts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in facts.items())


def _check(check: CheckResult) -> str:
    held = "held" if check.held else styled("BROKEN", terminal.BAD) if check.breaks else "advisory"
    grade = f" ({check.grade})" if check.grade else ""
    return f"    {check.check:<16} {held}{grade}{f': {check.message}' if check.message else ''}"


def _notes(result: Result) -> Iterator[str]:
    for backend, why in result.gated.items():
        yield f"{backend}: the other cases were not run, because {why}"
    for entry in result.stale:
        yield f"{entry.location}: no record matches this expectation (cases: {entry.cases}); delete it"


def _last(result: Result, command: Sequence[str]) -> str:
    found = tally(frame.of(result.records))
    counts = ", ".join(styled(f"{number} {verdict}", style_of(verdict)) for verdict, number in found.items())
    line = f"{counts or 'nothing run'}; records in {result.path}"
    if not (result.interrupted or result.stopped):
        return line
    why = "Interrupted" if result.interrupted else "Stopped by --max-fail"
    return f"{line}\n{why}; {missing(len(result.records), result.planned, command)}"


def missing(done: int, planned: int, command: Sequence[str]) -> str:
    """How many of the requests that were planned are missing, and the command that runs them."""
    again = shlex.join(["conformance", *(word for word in command if word != "--resume"), "--resume"])
    return f"{planned - done} of {planned} requests are missing. Continue: {again}"

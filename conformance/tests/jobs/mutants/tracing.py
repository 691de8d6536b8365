"""What a child does that traces a request; it imports little, for each child imports it anew."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import coverage

from conformance.model.enums import Outcome
from conformance.tests.jobs.mutants.sources import files, home
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.enums import Stage
    from conformance.model.request import Request
    from conformance.model.result import Attempt

__all__ = ["Traced", "print_start", "traced"]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a child says: whether the request passed, and the lines that it reached, by file relative to `home`."""

    passed: bool
    lines: dict[str, tuple[int, ...]]


def traced(request: Request, report: Callable[[Stage], None]) -> Traced:
    """Run a request in this process under the tracer."""
    from conformance.execution import observe  # noqa: PLC0415 - it imports torch, which who reads the result has not

    tracer = coverage.Coverage(data_file=None, config_file=False, include=list(_names()))
    tracer.start()
    try:
        attempt: Attempt = observe.run(request, report)
    finally:
        tracer.stop()
    return Traced(passed=outcome(attempt) is Outcome.PASS, lines=_lines(tracer))


def print_start() -> None:
    """Prepare this process as a fork server is, and print as JSON what was reached, by file.

    It has to be traced from its start (`site/sitecustomize.py`).
    """
    from conformance.execution.warmup import preparations  # noqa: PLC0415 - the lines of what it imports count too

    for step in preparations():
        with suppress(Exception):  # as a fork server leaves out what this release lacks
            step.action()
    tracer = coverage.Coverage.current()
    if tracer is not None:
        tracer.stop()
        sys.stdout.write(json.dumps(_lines(tracer)))


def _names() -> dict[str, str]:
    """The files that are mutated, by their paths."""
    root = home()
    return {str(root / name): name for group in files().values() for name in group}


def _lines(tracer: coverage.Coverage) -> dict[str, tuple[int, ...]]:
    data, names = tracer.get_data(), _names()
    return {names[path]: tuple(sorted(data.lines(path) or ())) for path in data.measured_files() if path in names}

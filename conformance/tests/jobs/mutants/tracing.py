"""What a child does that traces a request; it imports little, for each child imports it anew."""

from __future__ import annotations

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

__all__ = ["Traced", "traced"]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a child says: whether the request passed, and the lines that it reached, by file relative to `home`."""

    passed: bool
    lines: dict[str, tuple[int, ...]]


def traced(request: Request, report: Callable[[Stage], None]) -> Traced:
    """Run a request in this process under the tracer."""
    from conformance.execution import observe  # noqa: PLC0415 - it imports torch, which who reads the result has not

    root = home()
    names = {str(root / name): name for group in files().values() for name in group}
    tracer = coverage.Coverage(data_file=None, config_file=False, include=list(names))
    tracer.start()
    try:
        attempt: Attempt = observe.run(request, report)
    finally:
        tracer.stop()
    data = tracer.get_data()
    lines = {names[path]: tuple(sorted(data.lines(path) or ())) for path in data.measured_files() if path in names}
    return Traced(passed=outcome(attempt) is Outcome.PASS, lines=lines)

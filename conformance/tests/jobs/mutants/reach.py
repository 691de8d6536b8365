"""Which lines of PyTorch which request reaches: each request is run once under coverage's tracer, in a child."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import coverage
from pydantic import TypeAdapter

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import decided, select
from conformance.execution import attempts
from conformance.isolation import tasks, torch_release
from conformance.model.enums import EXHAUSTIVE, Outcome
from conformance.tests.jobs.mutants.draw import files, home
from conformance.tests.jobs.results_file import ResultsFile
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model.enums import Stage
    from conformance.model.request import Request
    from conformance.model.result import Attempt

__all__ = ["BACKENDS", "UNCACHED", "Key", "Reach", "key_of", "read", "requests", "trace", "traced"]

BACKENDS = ("eager", "aot_eager", "inductor")
"""Cheapest first."""
_WITH_MOVES = "aot_eager"

UNCACHED = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}
"""Their keys hold the files of torch and not what is loaded, so that a mutant would be given what is of another."""

Key = tuple[str, str, str]
"""Backend, case, variant."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a child says: whether the request passed, and the lines that it reached, by file relative to `home`."""

    passed: bool
    lines: dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request that was traced."""

    key: Key
    traced: Traced


class Reach:
    """By file and line, the requests that pass on the unchanged compiler and reach it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        passing = [row for row in rows if row.traced.passed]
        self.keys = [row.key for row in passing]
        self.lines: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, row in enumerate(passing):
            for file, lines in row.traced.lines.items():
                for line in lines:
                    self.lines[file][line].append(number)

    def of(self, file: str, line: int) -> list[Key]:
        """The requests that reach a line."""
        return [self.keys[number] for number in self.lines.get(file, {}).get(line, ())]


def key_of(request: Request) -> Key:
    """Return what names a request."""
    return request.backend.name, request.case.id, request.variant.id


def requests(backend: str) -> list[Request]:
    """The requests that mutants are run on, on one backend.

    They are every case written by hand in its first variant and, on `aot_eager` after these, in the first with moves.
    """
    cases = [case for case in load_cases() if EXHAUSTIVE not in case.tags]
    plan = select(cases, [attempts.describe(backend)])
    release = torch_release.installed().version
    chosen: dict[tuple[str, bool], Request] = {}
    for request in plan.requests:
        if decided(request, release) is None and (backend == _WITH_MOVES or not request.moves):
            chosen.setdefault((request.case.id, bool(request.moves)), request)
    return sorted(chosen.values(), key=lambda request: bool(request.moves))


def trace(wanted: Sequence[Request], file: Path) -> None:
    """Run requests that the file lacks and append a line for each."""
    results = _kept(file)
    done = {row.key for row in results.read()}
    os.environ |= UNCACHED
    for request in wanted:
        key = key_of(request)
        if key in done:
            continue
        limit = _SLOWER * request.timeout_s
        end = tasks.run_task(f"{__name__}:traced", request, env=request.backend.env, timeout_s=limit)
        made = tasks.result(Traced, end)
        results.add(Row(key=key, traced=made if isinstance(made, Traced) else Traced(passed=False, lines={})))


_SLOWER = 4  # a traced program


def read(file: Path) -> Reach:
    """The reach that a file holds."""
    return Reach(_kept(file).read())


def _kept(file: Path) -> ResultsFile[Row]:
    return ResultsFile(TypeAdapter(Row), file)


def traced(request: Request, report: Callable[[Stage], None]) -> Traced:
    """Run a request in this process under the tracer."""
    from conformance.execution import observe  # noqa: PLC0415 - it imports torch

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

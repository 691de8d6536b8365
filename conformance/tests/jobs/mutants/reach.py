"""Which lines of PyTorch which request reaches: each request is run once under coverage's tracer, in a child."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import decided, select
from conformance.execution import attempts
from conformance.isolation import tasks, torch_release
from conformance.model.enums import EXHAUSTIVE, Extent
from conformance.model.request import Key  # noqa: TC001 - pydantic reads the annotations at run time
from conformance.tests.jobs.mutants import tracing
from conformance.tests.jobs.mutants.sources import home, site
from conformance.tests.jobs.mutants.tracing import Traced
from conformance.tests.jobs.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor
    from pathlib import Path

    from conformance.model.request import Request

__all__ = ["BACKENDS", "UNCACHED", "Reach", "read", "requests", "trace"]

BACKENDS = ("eager", "aot_eager", "inductor")
"""Cheapest first."""
_WITH_MOVES = "aot_eager"

UNCACHED = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}
"""Their keys hold the files of torch and not what is loaded, so that a mutant would be given what is of another."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request that was traced."""

    key: Key
    traced: Traced


_START = ("", "", "")
"""In place of a request: what a process reaches that only starts."""


class Reach:
    """By file and line, the requests that pass on the unchanged compiler and reach it.

    What a process reaches before it is given a request runs once for all of them: whatever reaches the file reaches it.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        start = [row.traced.lines for row in rows if row.key == _START]
        self.at_start = {file: frozenset(lines) for each in start for file, lines in each.items()}
        passing = [row for row in rows if row.traced.passed and row.key != _START]
        self.keys = [row.key for row in passing]
        self.lines: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, row in enumerate(passing):
            for file, lines in row.traced.lines.items():
                for line in lines:
                    self.lines[file][line].append(number)

    def of(self, file: str, lines: AbstractSet[int]) -> list[Key]:
        """The requests that reach any of these lines."""
        if self.is_at_start(file, lines):
            lines = self.lines[file].keys()
        numbers = {number for line in lines for number in self.lines[file].get(line, ())}
        return [self.keys[number] for number in sorted(numbers)]

    def ways(self, file: str, lines: AbstractSet[int]) -> dict[Key, frozenset[int]]:
        """Which of these lines each request reaches that reaches any."""
        ways: defaultdict[Key, set[int]] = defaultdict(set)
        for line in lines:
            for number in self.lines[file].get(line, ()):
                ways[self.keys[number]].add(line)
        return {key: frozenset(reached) for key, reached in ways.items()}

    def is_at_start(self, file: str, lines: AbstractSet[int]) -> bool:
        """Whether a process reaches any of these lines before it is given a request."""
        return not self.at_start.get(file, frozenset()).isdisjoint(lines)


def requests(backend: str, within: Extent) -> list[Request]:
    """The requests that mutants are run on, on one backend.

    They are every case written by hand in its first variant and, on `aot_eager` after these, in the first with moves.

    Args:
        backend: its name.
        within: those of `--tier quick`, or all.
    """
    written = [case for case in load_cases() if EXHAUSTIVE not in case.tags]
    cases = [case for case in written if within is not Extent.QUICK or within in case.tags]
    plan = select(cases, [attempts.describe(backend)])
    release = torch_release.installed().version
    chosen: dict[tuple[str, bool], Request] = {}
    for request in plan.requests:
        if decided(request, release) is None and (backend == _WITH_MOVES or not request.moves):
            chosen.setdefault((request.case.id, bool(request.moves)), request)
    return sorted(chosen.values(), key=lambda request: bool(request.moves))


def trace(wanted: Sequence[Request], file: Path, pool: Executor) -> None:
    """Run requests that the file lacks and append a line for each."""
    results = _kept(file)
    done = {row.key for row in results.read()}
    if _START not in done:
        results.add(pool.submit(_row_of_start).result())
    missing = [request for request in wanted if request.key not in done]
    for future in as_completed([pool.submit(_row, request) for request in missing]):
        results.add(future.result())


def _row(request: Request) -> Row:
    env, limit = {**request.backend.env, **UNCACHED}, _SLOWER * request.timeout_s
    made = tasks.result(Traced, tasks.run_task(f"{tracing.__name__}:traced", request, env=env, timeout_s=limit))
    return Row(key=request.key, traced=made if isinstance(made, Traced) else Traced(passed=False, lines={}))


def _row_of_start() -> Row:
    given = {**os.environ, **site({"CONFORMANCE_TRACED": str(home() / "torch" / "*")})}
    command = [sys.executable, "-c", f"from {tracing.__name__} import print_start; print_start()"]
    done = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True)
    lines = {file: tuple(numbers) for file, numbers in json.loads(done.stdout).items()}
    return Row(key=_START, traced=Traced(passed=True, lines=lines))


_SLOWER = 4  # a traced program


def read(file: Path) -> Reach:
    """The reach that a file holds, or a packed one beside it (`.xz`) where it is not there."""
    return Reach(_kept(file).read())


def _kept(file: Path) -> ResultsFile[Row]:
    packed = file.with_name(f"{file.name}.xz")
    if packed.exists() and not file.exists():
        file.write_bytes(lzma.decompress(packed.read_bytes()))
    return ResultsFile(TypeAdapter(Row), file)

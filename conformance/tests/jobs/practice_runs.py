"""The functions of `practice` as cases, and runs of them on backends that can be interrupted and continued.

This module imports no torch.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations at run time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.selection import select
from conformance.catalogue.user_function import as_case
from conformance.execution.runner import Run
from conformance.isolation import tasks
from conformance.model import codec
from conformance.model.user_function import UserFunction
from conformance.records import environment, record_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.enums import Stage
    from conformance.model.request import BackendInfo
    from conformance.model.result import Record

__all__ = ["LIMIT_S", "PRACTICE", "Plain", "PlainFile", "Question", "cases", "functions", "recorded", "ref_of"]

PRACTICE = Path(__file__).parent / "practice"

_INPUTS = "_inputs"
LIMIT_S = 600.0
"""Seconds of a request: compiling takes long on a busy machine."""


def functions() -> list[str]:
    """The functions and modules, each as `domain.name`, in the order of their files."""
    return [f"{path.stem}.{name}" for path in sorted(PRACTICE.glob("[a-z]*.py")) for name in _names(path)]


def ref_of(function: str) -> str:
    """The argument of `conformance check` for a function."""
    domain, _, name = function.partition(".")
    return f"{PRACTICE / domain}.py:{name}"


def _names(path: Path) -> Iterator[str]:
    """The functions that have inputs, and are bound before them."""
    bound: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        else:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from (name.removesuffix(_INPUTS) for name in names if name.removesuffix(_INPUTS) in bound)
        bound |= {name for name in names if not name.endswith(_INPUTS)}


@dataclass(frozen=True, kw_only=True)
class Described:
    """Functions of one file in words."""

    functions: tuple[UserFunction, ...]


def describe(refs: Sequence[str], report: Callable[[Stage], None]) -> Described:
    """Child side: describe functions of one file."""
    from conformance.observation import user_code  # noqa: PLC0415 - it imports torch

    return Described(functions=tuple(user_code.describe(ref, report) for ref in refs))


def cases(names: Sequence[str]) -> list[Case]:
    """Functions as `conformance check` makes cases of them; the ids are `practice.domain.name`.

    Raises:
        ValueError: a file cannot be run.
        HarnessError: the fork server does not start, or died twice.
    """
    by_domain: dict[str, list[str]] = {}
    for name in names:
        by_domain.setdefault(name.partition(".")[0], []).append(name)
    return [case for group in by_domain.values() for case in _cases(group)]


def _cases(names: Sequence[str]) -> Iterator[Case]:
    end = tasks.run_task(f"{__name__}:describe", [ref_of(name) for name in names], env={}, timeout_s=LIMIT_S)
    found = tasks.result(Described, end)
    if not isinstance(found, Described):
        message = f"{names[0]} and what is beside it: {found}"
        raise ValueError(message)  # noqa: TRY004 - no type is wrong
    for name, user in zip(names, found.functions, strict=True):
        yield replace(as_case(user, {"moves": "none"}), id=f"practice.{name}")


def recorded(
    cases: Sequence[Case],
    backend: BackendInfo,
    path: Path,
    advance: Callable[[Record], None],
    *,
    timeout_s: float = LIMIT_S,
) -> Sequence[Record]:
    """Run cases on a backend into a record file; requests in it are not run again.

    Raises:
        ConformanceError: the file is of another run, or cannot be written, or the harness failed.
    """
    plan = select(cases, [backend], timeout_s=timeout_s)
    machine = replace(environment.capture(), suite_hash=_hash_of(cases))
    writer, done = record_file.resume(path, record_file.make_header(plan, machine, "practice"))
    executor = ThreadPoolExecutor(machine.threads)
    run = Run(
        plan,
        executor,
        expectations={},
        environment=machine,
        run_id=writer.header.run_id,
        done=done,
        slots=lambda: machine.threads,
        smoke_gate=False,
    )
    made = list(done)
    try:
        with writer:
            for each in run:
                writer.write(each)
                made.append(each)
                advance(each)
            writer.finish({})
    except BaseException:
        tasks.shutdown()  # it ends what the executor waits for
        raise
    finally:
        executor.shutdown(cancel_futures=True)
    order = {request.key: place for place, request in enumerate(plan.requests)}
    return sorted(made, key=lambda each: order[each.key])


def _hash_of(cases: Sequence[Case]) -> str:
    """Twelve digits over the files that hold the functions: what was recorded of others is not continued."""
    files = sorted({Path(case.location.file.rpartition(":")[0]) for case in cases})
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A function and a backend, as `plain_torch` takes them."""

    function: str
    backend: str


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The result of plain torch for a function on a backend.

    Args:
        differences: from uncompiled, the first of each kind.
        unstable: of uncompiled from itself.
        ended: how the process ended, where it did not end well.
    """

    differences: Mapping[str, str] = field(default_factory=dict)
    unstable: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that differ; an abnormal end of the process is a kind of its own."""
        return frozenset(self.differences.keys() - self.unstable.keys()) | ({"ended"} if self.ended else set())


def ask(question: Question, _report: Callable[[Stage], None]) -> Plain:
    """Child side: compare with torch alone."""
    from conformance.tests.jobs import plain_torch  # noqa: PLC0415 - it imports torch

    differences, unstable = plain_torch.shown(question.function, question.backend)
    return Plain(differences=differences, unstable=unstable)


class PlainFile:
    """Results of plain torch, one line of JSON for each pair, so that none is run twice.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._known = {(made[0], made[1]): codec.from_plain(Plain, made[2]) for made in map(json.loads, lines)}

    def all(
        self, questions: Sequence[tuple[str, str]], advance: Callable[[str], None], *, timeout_s: float = LIMIT_S
    ) -> list[Plain]:
        """The differences of each function, `domain.name`, on each backend, as `plain_torch` names it."""
        new = [each for each in dict.fromkeys(questions) if each not in self._known]
        with ThreadPoolExecutor(environment.capture().threads) as executor, self._path.open("a") as file:
            for question, made in zip(new, executor.map(partial(_asked, timeout_s=timeout_s), new), strict=True):
                self._known[question] = made
                file.write(json.dumps([*question, codec.to_plain(made)]) + "\n")
                file.flush()
                advance(" ".join(question))
        return [self._known[each] for each in questions]


def _asked(question: tuple[str, str], timeout_s: float) -> Plain:
    function, backend = question
    asked = Question(function=ref_of(function), backend=backend)
    end = tasks.run_task(f"{__name__}:ask", asked, env={}, timeout_s=timeout_s)
    found = tasks.result(Plain, end)
    return found if isinstance(found, Plain) else Plain(ended=str(found).strip().rpartition("\n")[2])

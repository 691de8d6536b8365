"""What fuzzing has found: told apart by symptom, first rung that shows it and shape of the nest; known or new."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from conformance import isolate, ladder, syntax, torch_release
from conformance.case_text import filename
from conformance.discover import LADDER, find
from conformance.linefile import telling
from conformance.nests import AMBIENT, MODES, Level
from conformance.report.markdown import code as quoted
from conformance.report.markdown import fenced, plain, table
from conformance.symptom import Symptom  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from conformance.confirm import Confirmation
    from conformance.deadline import Deadline
    from conformance.fuzz_result import FuzzResult
    from conformance.model import Case, Request

__all__ = [
    "Finding",
    "code",
    "first_rung",
    "levels_of",
    "merged",
    "modes_of",
    "nest",
    "report",
    "statistics",
    "summary",
    "write",
]

_NOT_ALONE = "not seen again by itself"
_LEVELS = {ast.dump(ast.parse(mode.text, mode="eval").body): name for name, mode in MODES.items()}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One way in which a backend differs from the uncompiled program.

    Args:
        symptom: what goes wrong.
        rung: the first of PyTorch's own backends that shows it, else the backend itself; empty where none does alone.
        nest: how the modes of the shrunk program are nested; empty where the finding is known.
        case_id: of the program that shows it.
        program: its text.
        known: the case of the suite that shows it too; empty where it is new.
        file: the name of the case's file; empty where the finding is known.
    """

    symptom: Symptom
    rung: str
    nest: str
    case_id: str
    program: str
    known: str = ""
    file: str = ""

    @property
    def key(self) -> tuple[Symptom, str, str]:
        """What it is told from others by."""
        return (self.symptom, self.rung, self.nest)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of each key, in their order."""
    found: dict[tuple[Symptom, str, str], Finding] = {}
    for one in findings:
        found.setdefault(one.key, one)
    return list(found.values())


def code(case: Case) -> tuple[str, ...]:
    """What makes two cases the same program, whatever they are called."""
    return (case.program, case.setup, repr(case.inputs), repr(case.calls), repr(case.variants))


def nest(case: Case) -> str:
    """The nesting of the modes of a program, without names and operations: `disabled: no_grad_with(set_true_call)`."""
    around = next((name for name, one in AMBIENT.items() if one == case.variants[0]), case.variants[0].id)
    called = [_words(call.grad, call.autocast) for call in case.calls]
    held = ", ".join(dict.fromkeys([around, *filter(None, called)]))
    inside = _told(syntax.parse(case.program).body)
    return f"{held}: {inside}" if inside else held


def levels_of(program: str) -> Iterator[tuple[int, Level]]:
    """Every level of a program with its depth, the outermost ones at 1, in the order of the text."""
    yield from _levels(syntax.parse(program).body, 1)


def modes_of(text: str) -> set[str]:
    """The modes of `MODES` that a text names, in whatever form."""
    calls = (node for node in ast.walk(syntax.parse(text)) if isinstance(node, ast.Call))
    return {_LEVELS[dumped] for call in calls if (dumped := ast.dump(call)) in _LEVELS}


def _words(grad: str | None, autocast: str | None) -> str:
    return " ".join(filter(None, [grad, autocast]))


def _told(body: Sequence[ast.stmt]) -> str:
    parts = []
    for statement in body:
        inner = ", ".join(filter(None, map(_told, _bodies(statement))))
        level = _level(statement)
        parts.append(f"{level}({inner})" if level and inner else str(level or inner))
    return ", ".join(filter(None, parts))


def _levels(body: Sequence[ast.stmt], depth: int) -> Iterator[tuple[int, Level]]:
    for statement in body:
        level = _level(statement)
        if level:
            yield depth, level
        for inner in _bodies(statement):
            yield from _levels(inner, depth + bool(level))


def _bodies(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks of a statement that has any."""
    named = (getattr(statement, name, []) for name in ("body", "orelse", "finalbody"))
    return [body for body in named if body]


def _level(statement: ast.stmt) -> Level | None:
    """The mode that a statement sets, and in which form."""
    match statement:
        case ast.With(items=[ast.withitem(context_expr=context)]):
            return _mode(context, "with")
        case ast.FunctionDef(decorator_list=[decorator]):
            return _mode(decorator, "def")
        case ast.Expr(value=ast.Call() as value):
            return _mode(value, "call")
    return None


def _mode(node: ast.expr, form: str) -> Level | None:
    name = _LEVELS.get(ast.dump(node))
    return Level(name, form) if name and (form != "call" or MODES[name].callable) else None


def first_rung(deadline: Deadline | None = None) -> Callable[[Request, Symptom], str]:
    """What tells from which rung on a failure of a request shows, its own backend last; empty where that one does not.

    It raises a StoppedError once the deadline has passed.

    Raises:
        ConformanceError: the backends of the ladder cannot be described.
    """
    infos = find(LADDER, isolate.describe)
    run = partial(isolate.run, deadline=deadline)
    return lambda request, wanted: ladder.first(list(ladder.climb(request, wanted, infos, run)))


def write(folder: Path, case: Case, dump: Callable[[Case], str]) -> str:
    """Write a case into a file of its own, which `conformance run --cases` takes with its folder; gives its name.

    Raises:
        RecordError: it cannot be written.
    """
    path = folder / filename(case)
    with telling(f"cannot write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(case), encoding="utf-8")
    return path.name


def report(result: FuzzResult, confirmed: Mapping[str, Confirmation]) -> str:
    """What a run found and what it drew, as markdown.

    Args:
        result: of the run.
        confirmed: what the scripts of findings came to, by the id of the case.
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
        ("seconds", f"{seconds:.0f}"),
        ("programs per second", f"{programs / seconds:.1f}" if seconds else ""),
        ("findings", f"{len(result.new)} new, {len(result.findings) - len(result.new)} known"),
    ]
    return table(("what", "how many"), rows, right=[1])


def _headed(head: str, content: str) -> str:
    return f"{head}\n\n{content or 'None.'}"


def _table(findings: Sequence[Finding], result: FuzzResult) -> str:
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


def _program(finding: Finding, confirmed: Confirmation | None) -> str:
    script = f", script {quoted(confirmed.script)}" if confirmed and confirmed.script else ""
    says = f": {plain(str(confirmed))}" if confirmed else ""
    return f"{quoted(finding.case_id)}{script}{says}\n\n{fenced(finding.program.rstrip(), 'python')}"


def _invalid(result: FuzzResult) -> str:
    rows = [(quoted(case), plain(reason)) for case, reason in result.invalid.items()]
    return table(("program", "why"), rows) if rows else ""

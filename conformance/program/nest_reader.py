"""The nest of modes of a program, read back from its text."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from conformance.program import parsing
from conformance.program.nests import AMBIENT, MODES, NestLevel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.case import Case

__all__ = ["levels_of", "modes_of", "nest"]


_LEVELS = {ast.dump(ast.parse(mode.text, mode="eval").body): name for name, mode in MODES.items()}


def nest(case: Case) -> str:
    """Describe how a program nests modes, without names and operations: `disabled: no_grad_with(set_true_call)`."""
    around = next((name for name, variant in AMBIENT.items() if variant == case.variants[0]), case.variants[0].id)
    called = [_words(call.grad, call.autocast) for call in case.calls]
    held = ", ".join(dict.fromkeys([around, *filter(None, called)]))
    inside = _description(parsing.parse(case.program).body)
    return f"{held}: {inside}" if inside else held


def levels_of(program: str) -> Iterator[tuple[int, NestLevel]]:
    """Yield every level of a program with its depth, from 1 for the outermost, in the order of the text."""
    yield from _levels(parsing.parse(program).body, 1)


def modes_of(text: str) -> set[str]:
    """Return the modes of `MODES` that occur in a text, in any form."""
    calls = (node for node in ast.walk(parsing.parse(text)) if isinstance(node, ast.Call))
    return {_LEVELS[dumped] for call in calls if (dumped := ast.dump(call)) in _LEVELS}


def _words(grad: str | None, autocast: str | None) -> str:
    return " ".join(filter(None, [grad, autocast]))


def _description(body: Sequence[ast.stmt]) -> str:
    parts = []
    for statement in body:
        inner = ", ".join(filter(None, map(_description, _bodies(statement))))
        level = _level(statement)
        parts.append(f"{level}({inner})" if level and inner else str(level or inner))
    return ", ".join(filter(None, parts))


def _levels(body: Sequence[ast.stmt], depth: int) -> Iterator[tuple[int, NestLevel]]:
    for statement in body:
        level = _level(statement)
        if level:
            yield depth, level
        for inner in _bodies(statement):
            yield from _levels(inner, depth + bool(level))


def _bodies(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Return the blocks of a statement, if any."""
    named = (getattr(statement, name, []) for name in ("body", "orelse", "finalbody"))
    return [body for body in named if body]


def _level(statement: ast.stmt) -> NestLevel | None:
    """Return the mode that a statement sets and its form, or None."""
    match statement:
        case ast.With(items=[ast.withitem(context_expr=context)]):
            return _mode(context, "with")
        case ast.FunctionDef(decorator_list=[decorator]):
            return _mode(decorator, "def")
        case ast.Expr(value=ast.Call() as value):
            return _mode(value, "call")
    return None


def _mode(node: ast.expr, form: str) -> NestLevel | None:
    name = _LEVELS.get(ast.dump(node))
    return NestLevel(name, form) if name and (form != "call" or MODES[name].callable) else None

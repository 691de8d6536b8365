"""A function of a user written out as a case, where all that it needs is within the subset of programs.

The text of its file is read; nothing of it runs here. Code outside the subset might do anything when parts of it are
left out, so that only code within it is made smaller.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations at run time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.writer import Texts
from conformance.isolation import tasks
from conformance.model.case import InputSpec  # noqa: TC001 - as above
from conformance.program import parsing
from conformance.program.build import problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.request import Request

__all__ = ["PlainInputs", "written_out"]

_FUNCTIONAL = "torch.nn.functional"


@dataclass(frozen=True, kw_only=True)
class PlainInputs:
    """The inputs of the first call by name; those of few elements have their values too."""

    inputs: Mapping[str, InputSpec]


def written_out(request: Request) -> Iterator[Request]:
    """Requests that may fail like one of a user's function: with inputs drawn anew, then with their exact values.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    case = _within_subset(request.case)
    if case is None:
        return
    end = tasks.run_task("conformance.triage.user_inputs:describe", request, env={}, timeout_s=request.timeout_s)
    made = tasks.result(PlainInputs, end)
    if isinstance(made, PlainInputs):
        for inputs in _choices(made.inputs):
            yield replace(request, case=replace(case, inputs=inputs))


def _choices(made: Mapping[str, InputSpec]) -> Iterator[Mapping[str, InputSpec]]:
    yield {name: replace(spec, values=None) for name, spec in made.items()}
    yield {name: _as_written(spec) if spec.values is not None else spec for name, spec in made.items()}


def _as_written(spec: InputSpec) -> InputSpec:
    """An input with exactly these values, and no distribution."""
    return replace(spec, distribution="normal", low=None, high=None)


def _within_subset(case: Case) -> Case | None:
    """The case with the text of its function's file in place of the file; None where that is outside the subset."""
    user = case.function
    if user is None or not user.home.endswith(".py"):
        return None
    tree = parsing.parse(Path(user.home).read_text(encoding="utf-8"))
    plain = _Plain(dict(_aliases(tree.body)))
    setup = [plain.visit(statement) for statement in tree.body if not _is_aside(statement)]
    callee = user.name
    if user.is_factory:
        callee = "net"
        setup += parsing.parse(f"{callee} = {user.name}()").body
    written = replace(
        case,
        setup=ast.unparse(ast.fix_missing_locations(ast.Module(body=setup, type_ignores=[]))),
        program=case.program.replace(user.callee, callee, 1),
        function=None,
        may_raise=False,
    )
    written = Texts.of(written).without_unused().put_into(written)
    return None if problems(written) else written


def _aliases(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Imported names with their full names."""
    for statement in body:
        for alias in statement.names if isinstance(statement, ast.Import | ast.ImportFrom) else ():
            home = f"{statement.module}." if isinstance(statement, ast.ImportFrom) else ""
            yield alias.asname or alias.name, home + alias.name


def _is_aside(statement: ast.stmt) -> bool:
    """Whether a statement is no part of a file's functions: imports, docstring, code of a script."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


class _Plain(ast.NodeTransformer):
    """Python as a case has it: full names of torch, no annotations, docstrings, and decorators of this project."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A name that is imported, in full."""
        known = self._aliases.get(node.id)
        return self._short(parsing.parse(known).body[0].value) if known and known != node.id else node  # type: ignore[attr-defined]

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """A dotted name, of which parts may have been imported."""
        self.generic_visit(node)
        return self._short(node)

    def _short(self, node: ast.expr) -> ast.expr:
        """`F` for what programs call by that name."""
        return ast.Name(id="F", ctx=ast.Load()) if ast.unparse(node) == _FUNCTIONAL else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """An argument without its annotation."""
        return ast.arg(arg=node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """An assignment without its annotation."""
        self.generic_visit(node)
        return ast.Assign(targets=[node.target], value=node.value) if node.value else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function without annotations, docstring, and decorators of this project."""
        node.decorator_list = [each for each in node.decorator_list if "conformance" not in self._named(each)]
        node.returns = None
        self._without_docstring(node)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """A class without its docstring."""
        self._without_docstring(node)
        return self.generic_visit(node)

    def _named(self, decorator: ast.expr) -> str:
        text = ast.unparse(decorator)
        head = text.partition("(")[0].partition(".")[0]
        return self._aliases.get(head, head)

    @staticmethod
    def _without_docstring(node: ast.FunctionDef | ast.ClassDef) -> None:
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]

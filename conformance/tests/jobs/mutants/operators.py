"""Mutation operators, and every mutant that they make of a Python file.

mutmut has the operators; those that it lacks are here. Nothing is mutated that cannot change a result: annotations,
decorators, docstrings, imports, log calls, assertions (also an `if` that only raises an AssertionError), what is
raised, functions that write for people by their name, and questions after the release of Python. Defaults of
parameters and fields are not either, for a line that is run does not say that they are used. What does not compile is
no mutant, and what compiles to the same bytecode is none either.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.metadata import ExpressionContext, ExpressionContextProvider, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

from conformance.tests.jobs.mutants.codes import compiled, same_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["OPERATORS", "Mutant", "Place", "mutant_of", "mutants_at", "mutated", "places_of"]

_EXCERPT = 100  # characters of source text
_MESSAGE = re.compile(
    r"(\w*log(ger|ging)?(\(\))?|\w*Logger|warnings|torch\._logging|trace_structured\w*|signpost_event|unimplemented\w*"
    r"|\w*dynamo_timed|get_verbose_code_parts?)(\.|$)"
)
_FOR_PEOPLE = re.compile(
    r"__(repr|str)__|_?(maybe_)?log_(?!softmax|sigmoid|add)\w+|\w*_logger|_?format_\w+"
    r"|(\w*_)?(debug|describe|verbose|traceback|warn|print|dump|pretty)(_\w+)?"
    r"|\w*_(msg|message|summary|repr|log_str|stack_traces?)"
)
_PLATFORM = ("sys.version_info", "sys.platform")
_TARGETS = {ExpressionContext.STORE, ExpressionContext.DEL}
_SKIPPED = (
    *(cst.Annotation, cst.Decorator, cst.Param, cst.Import, cst.ImportFrom, cst.Global, cst.Nonlocal),
    *(cst.Raise, cst.Assert),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an operator changes a file: a line, from 1, and a column, from 0."""

    line: int
    column: int
    operator: str


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one place in a file of torch.

    Args:
        file: relative to the folder that torch is installed in.
        line: of the place, from 1; `column` from 0.
        operator: a name of `OPERATORS`.
        number: which of the changes that the operator makes at this place, from 0.
        before: the source text of the place, one line; `after` that of the change.
    """

    file: str
    line: int
    column: int
    operator: str
    number: int
    before: str = ""
    after: str = ""

    @property
    def id(self) -> str:
        """It is found again by this on the same release of torch."""
        return f"{self.file}:{self.line}:{self.column}:{self.operator}:{self.number}"


def mutant_of(name: str) -> Mutant:
    """Return the mutant with an id, without its texts.

    Raises:
        ValueError: the id is none.
    """
    file, line, column, operator, number = name.rsplit(":", 4)
    if operator not in OPERATORS:
        message = f"there is no operator {operator!r}"
        raise ValueError(message)
    return Mutant(file=file, line=int(line), column=int(column), operator=operator, number=int(number))


def places_of(text: str) -> list[Place]:
    """The places of a file with this text that an operator changes, in their order."""
    return list(_Tree.of(text).places)


def mutants_at(file: str, text: str, place: Place) -> list[Mutant]:
    """What an operator makes of a place."""
    tree = _Tree.of(text)
    return [
        Mutant(
            file=file,
            line=place.line,
            column=place.column,
            operator=place.operator,
            number=number,
            before=tree.excerpt(node),
            after=tree.excerpt(changed),
        )
        for number, (node, changed) in enumerate(tree.changes(place))
    ]


def mutated(text: str, mutant: Mutant) -> str | None:
    """The text of a file with the change of a mutant; None if that is no Python, or the same bytecode.

    Raises:
        LookupError: the text has no such place.
    """
    tree = _Tree.of(text)
    changes = tree.changes(Place(line=mutant.line, column=mutant.column, operator=mutant.operator))
    if mutant.number >= len(changes):
        message = f"{mutant.id}: there is no such place; is it of another release of torch?"
        raise LookupError(message)
    module = tree.module.deep_replace(*changes[mutant.number])
    changed = tree.module.code_for_node(module)
    try:
        code = compiled(changed)
    except SyntaxError:
        return None
    return None if same_code(compiled(text), code) else changed


def _negated_condition(node: cst.If | cst.While | cst.CompIf) -> Iterator[cst.CSTNode]:
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(operator=cst.Not(), expression=test))


def _dropped_statement(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    if len(node.body) == 1 and isinstance(node.body[0], cst.Expr | cst.AugAssign | cst.Del | cst.Return):
        yield node.with_changes(body=[cst.Pass()])


def _early_return(node: cst.FunctionDef) -> Iterator[cst.CSTNode]:
    if isinstance(node.body, cst.IndentedBlock):
        first = cst.SimpleStatementLine(body=[cst.Return()])
        yield node.with_changes(body=node.body.with_changes(body=[first, *node.body.body]))


def _swapped_arguments(node: cst.Call) -> Iterator[cst.CSTNode]:
    for place in range(len(node.args) - 1):
        first, second = node.args[place : place + 2]
        if first.star or second.star or first.keyword or second.keyword:
            continue
        swapped = (first.with_changes(value=second.value), second.with_changes(value=first.value))
        yield node.with_changes(args=[*node.args[:place], *swapped, *node.args[place + 2 :]])


def _deleted_element(node: cst.List | cst.Tuple | cst.Set | cst.Dict) -> Iterator[cst.CSTNode]:
    elements: Sequence[Any] = node.elements
    if len(elements) < 2 and isinstance(node, cst.Set):  # an empty one is a dict
        return
    for place in range(len(elements)):
        yield node.with_changes(elements=[*elements[:place], *elements[place + 1 :]])


def _assigned_none(node: cst.Assign | cst.AnnAssign) -> Iterable[cst.CSTNode]:
    """mutmut's, without None that becomes an empty text: nothing asks which of them it is."""
    if isinstance(node.value, cst.Name) and node.value.value == "None":
        return ()
    return mutators.operator_assignment(node)


_Operator = tuple[tuple[type[cst.CSTNode], ...], "Callable[[Any], Iterable[cst.CSTNode]]"]

OPERATORS: dict[str, _Operator] = {
    "negate_condition": ((cst.If, cst.While, cst.CompIf), _negated_condition),
    "drop_statement": ((cst.SimpleStatementLine,), _dropped_statement),
    "return_early": ((cst.FunctionDef,), _early_return),
    "swap_arguments": ((cst.Call,), _swapped_arguments),
    "delete_element": ((cst.List, cst.Tuple, cst.Set, cst.Dict), _deleted_element),
    "drop_argument": ((cst.Call,), mutators.operator_arg_removal),
    "number_off_by_one": ((cst.Integer, cst.Float), mutators.operator_number),
    "flip_constant": ((cst.Name,), mutators.operator_name),
    "assign_none": ((cst.Assign, cst.AnnAssign), _assigned_none),
    "drop_not": ((cst.UnaryOperation,), mutators.operator_remove_unary_ops),
    "swap_keyword": (
        (cst.Is, cst.IsNot, cst.In, cst.NotIn, cst.Break, cst.Continue),
        mutators.operator_keywords,
    ),
    "swap_operator": (
        (cst.BinaryOperation, cst.UnaryOperation, cst.BooleanOperation, cst.ComparisonTarget, cst.AugAssign),
        mutators.operator_swap_op,
    ),
    "force_condition": ((cst.IfExp,), mutators.operator_if_exp),
}
"""By name: the kinds of nodes that an operator changes, and the function that gives what each may become."""


class _Tree:
    """A parsed file, with the nodes that start at each place."""

    def __init__(self, text: str) -> None:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        self.module = wrapper.module
        collector = _Collector()
        wrapper.visit(collector)
        self.places = collector.nodes

    @staticmethod
    @lru_cache(maxsize=4)
    def of(text: str) -> _Tree:
        return _Tree(text)

    def changes(self, place: Place) -> list[tuple[cst.CSTNode, cst.CSTNode]]:
        """The nodes of a place, each with what the operator makes of it; those that would be no Python left out."""
        _, operator = OPERATORS[place.operator]
        made = []
        for node in self.places.get(place, ()):
            with contextlib.suppress(cst.CSTValidationError):
                made += [(node, changed) for changed in operator(node)]
        return made

    def excerpt(self, node: cst.CSTNode) -> str:
        line = " ".join(self.module.code_for_node(node).split())
        return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 3]}..."


class _Collector(cst.CSTVisitor):
    """Collects the nodes that are changed by place: several may start at one."""

    METADATA_DEPENDENCIES = (PositionProvider, ExpressionContextProvider)

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[Place, list[cst.CSTNode]] = {}
        self.fields: set[cst.CSTNode] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, _SKIPPED) or any(shows_nothing(node) for shows_nothing in _NOTHING_SHOWN):
            return False
        if node in self.fields:
            return False
        if isinstance(node, cst.ClassDef):
            self.fields.update(_fields(node))
        if self.get_metadata(ExpressionContextProvider, node, None) not in _TARGETS:
            self._collect(node)
        return True

    def _collect(self, node: cst.CSTNode) -> None:
        for name, (kinds, _) in OPERATORS.items():
            if isinstance(node, kinds):
                start = self.get_metadata(PositionProvider, node).start
                self.nodes.setdefault(Place(line=start.line, column=start.column, operator=name), []).append(node)


def _fields(node: cst.ClassDef) -> Iterator[cst.CSTNode]:
    for line in node.body.body:
        if isinstance(line, cst.SimpleStatementLine) and isinstance(line.body[0], cst.AnnAssign):
            yield line


def _is_message(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1 and isinstance(node.body[0], cst.Expr):
        return _is_message(node.body[0].value)
    return isinstance(node, cst.Call) and bool(_MESSAGE.match(cst.Module([]).code_for_node(node.func)))


def _is_docstring(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.SimpleStatementLine) or not isinstance(node.body[0], cst.Expr):
        return False
    return isinstance(node.body[0].value, cst.SimpleString | cst.ConcatenatedString)


def _is_for_typing(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"


def _is_assertion(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.If) or node.orelse or not isinstance(node.body, cst.IndentedBlock):
        return False
    (first, *more) = node.body.body
    if more or not isinstance(first, cst.SimpleStatementLine) or not isinstance(first.body[0], cst.Raise):
        return False
    raised = first.body[0].exc
    return isinstance(raised, cst.Call) and isinstance(raised.func, cst.Name) and raised.func.value == "AssertionError"


def _is_for_people(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.FunctionDef) and bool(_FOR_PEOPLE.fullmatch(node.name.value))


def _asks_for_platform(node: cst.CSTNode) -> bool:
    test = node.test if isinstance(node, cst.If | cst.IfExp) else node
    if not isinstance(test, cst.Comparison | cst.BooleanOperation | cst.UnaryOperation):
        return False
    words = cst.Module([]).code_for_node(test)
    return any(name in words for name in _PLATFORM)


_NOTHING_SHOWN = (_is_message, _is_docstring, _is_for_typing, _is_assertion, _is_for_people, _asks_for_platform)

"""What a program may contain: a syntax tree checked against allow-lists of node types, names and attributes.

Nothing here runs a program. An untrusted case is data: each violation is reported with its place.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.model.suggestions import nearest
from conformance.program import parsing
from conformance.program.allowed_attributes import ATTRIBUTES, is_reserved
from conformance.program.allowed_names import BASES, BUILTINS, CONTEXTS, DECORATORS, DOTTED, DUNDERS, ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["Violation", "Vocabulary", "check", "check_body", "parse"]

_STATEMENTS = """
    AnnAssign Assert Assign AugAssign Break ClassDef Continue Delete Expr For FunctionDef If Nonlocal Pass Raise Return
    Try While With
"""
_EXPRESSIONS = """
    Attribute BinOp BoolOp Call Compare Constant Dict DictComp FormattedValue GeneratorExp IfExp JoinedStr Lambda List
    ListComp Name NamedExpr Set SetComp Slice Starred Subscript Tuple UnaryOp Yield YieldFrom
"""
_NODES = tuple(getattr(ast, name) for name in f"{_STATEMENTS} {_EXPRESSIONS}".split())
_REGISTER = frozenset({"add_module", "register_buffer", "register_module", "register_parameter"})
_DEEPEST = 200
"""Depth of a syntax tree; Python's own limit depends on the recursion limit that happens to be set in a process."""
_SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One thing that a program may not do; line and column count from 1 within its text."""

    line: int
    column: int
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Names, classes and attributes (of its classes, assigned to, or registered) that a text defines itself."""

    names: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, nodes: Sequence[ast.AST], inputs: Iterable[str] = ()) -> Vocabulary:
        """Collect everything that the nodes of a tree bind, and the names of its inputs."""
        bound = (name for node in nodes for name in _bound(node))
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        members = (name for each in classes for part in each.body for node in _own(part) for name in _bound(node))
        given = (name for node in nodes for name in _given_attributes(node))
        return cls(
            names=frozenset(bound) | frozenset(inputs),
            classes=frozenset(each.name for each in classes),
            attributes=frozenset(members) | frozenset(given),
        )

    def __or__(self, other: Vocabulary) -> Vocabulary:
        return Vocabulary(
            names=self.names | other.names,
            classes=self.classes | other.classes,
            attributes=self.attributes | other.attributes,
        )


def parse(text: str) -> ast.Module | Violation:
    """Return the tree of `text`, or what keeps it from being Python."""
    odd = next((index for index, char in enumerate(text) if not char.isprintable() and char not in "\n\t"), None)
    if odd is not None:
        before = text[:odd]
        place = before.count("\n") + 1, odd - before.rfind("\n")
        return Violation(line=place[0], column=place[1], message=f"the character {text[odd]!r} is not allowed")
    too_deep = Violation(line=1, column=1, message=f"nested too deeply: at most {_DEEPEST} levels")
    try:
        tree = parsing.parse(text)
    except SyntaxError as error:
        return Violation(line=error.lineno or 1, column=error.offset or 1, message=f"not Python: {error.msg}")
    except (RecursionError, MemoryError):
        return too_deep
    return too_deep if _is_deeper(tree, _DEEPEST) else tree


def _is_deeper(tree: ast.AST, levels: int) -> bool:
    level = [tree]
    for _ in range(levels):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return bool(level)


def check(nodes: Sequence[ast.AST], text: str, known: Vocabulary) -> Iterator[Violation]:
    """Yield every violation in the tree of `text`; `known` is what it may use besides the names of torch.

    The nodes are in the order of `ast.walk`.
    """
    checker = _Checker(known, {member for node in nodes for member in _methods(node)})
    lines = text.split("\n")
    for node in nodes:
        for at, message, hint in checker.visit(node):
            column = len(lines[at.lineno - 1].encode()[: at.col_offset].decode(errors="ignore")) + 1
            yield Violation(line=at.lineno, column=column, message=message, hint=hint)


def check_body(tree: ast.Module) -> Iterator[Violation]:
    """Check what only the body of the program must do: return (or raise), and not yield."""
    own = [node for statement in tree.body for node in _own(statement)]
    for node in own:
        if isinstance(node, ast.Yield | ast.YieldFrom):
            yield Violation(line=node.lineno, column=1, message="the program itself must not yield")
    if not any(isinstance(node, ast.Return | ast.Raise) for node in own):
        hint = "End it with: return <what is compared>"
        yield Violation(line=1, column=1, message="the program must return something", hint=hint)


_Found = tuple[ast.stmt | ast.expr | ast.arg | ast.excepthandler, str, str]


class _Checker:
    """Rules by node type. Names of torch are checked as whole dotted chains, from the outermost attribute."""

    def __init__(self, known: Vocabulary, methods: AbstractSet[ast.AST]) -> None:
        self._known = known
        self._methods = methods
        self._chained: set[ast.AST] = set()

    def visit(self, node: ast.AST) -> Iterator[_Found]:
        """Yield the violations of one node; parents must be visited before their children."""
        if isinstance(node, ast.stmt | ast.expr) and not isinstance(node, _NODES):
            yield node, f"{_word(node)} is not part of the subset", ""
        match node:
            case ast.Name(ctx=ast.Load()):
                yield from self._name(node)
            case ast.Attribute() if node not in self._chained:
                yield from self._attribute(node)
            case ast.With():
                for item in node.items:
                    yield from self._context(item.context_expr)
            case ast.FunctionDef():
                yield from self._decorators(node.decorator_list)
            case ast.ClassDef():
                yield from self._decorators(node.decorator_list)
                yield from self._bases(node)
        if isinstance(node, ast.expr | ast.stmt | ast.arg | ast.excepthandler):
            yield from self._bindings(node)

    def _bindings(self, node: ast.expr | ast.stmt | ast.arg | ast.excepthandler) -> Iterator[_Found]:
        for name in _bound(node):
            if name in ROOTS or name in BUILTINS or name == "program":
                yield node, f"{name!r} cannot be given another meaning", "Choose another name."
            elif name.startswith("_") and name != "_" and not (node in self._methods and name in DUNDERS):
                yield node, f"the name {name!r} starts with an underscore", _dunder_hint(node)

    def _name(self, node: ast.Name) -> Iterator[_Found]:
        if node in self._chained or node.id in self._known.names or node.id in BUILTINS:
            return
        if node.id in ROOTS:
            yield node, f"{node.id!r} alone is not allowed", f"Use a full name, such as {node.id}.{_EXAMPLE[node.id]}."
        else:
            hint = "A program names its inputs, what it binds, torch, F, math and a few builtins."
            yield node, f"unknown name {node.id!r}", _closest(node.id, self._known.names | BUILTINS | ROOTS) or hint

    def _attribute(self, node: ast.Attribute) -> Iterator[_Found]:
        dotted = _dotted(node)
        if dotted:
            self._chained.update(_chain(node))
            if dotted not in DOTTED or not isinstance(node.ctx, ast.Load):
                yield node, f"{dotted!r} is not among the names a program may use", _closest(dotted, DOTTED)
        elif node.attr.startswith("_"):
            if not (node.attr in DUNDERS and _is_super(node.value)):
                yield node, f"the attribute {node.attr!r} starts with an underscore", ""
        elif is_reserved(node.attr):
            yield node, f"the attribute {node.attr!r} is not allowed", ""
        elif node.attr not in ATTRIBUTES and node.attr not in self._known.attributes:
            hint = _closest(node.attr, ATTRIBUTES | self._known.attributes)
            yield node, f"unknown attribute {node.attr!r}", hint

    def _context(self, expression: ast.expr) -> Iterator[_Found]:
        dotted = _dotted(expression.func) if isinstance(expression, ast.Call) else None
        if dotted not in CONTEXTS and _root(expression) not in self._known.names:
            hint = f"Call one of these, or a class of the program: {', '.join(sorted(CONTEXTS))}."
            yield expression, "not a context that a program may enter", hint

    def _decorators(self, decorators: list[ast.expr]) -> Iterator[_Found]:
        for decorator in decorators:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if (_dotted(target) or _root(target)) not in DECORATORS and _root(target) not in self._known.names:
                yield decorator, "not a decorator that a program may use", f"Known: {', '.join(sorted(DECORATORS))}."

    def _bases(self, node: ast.ClassDef) -> Iterator[_Found]:
        for base in node.bases:
            name = base.id if isinstance(base, ast.Name) else _dotted(base)
            if name not in BASES and name not in self._known.classes:
                yield base, "not a class that a program may derive from", f"Known: {', '.join(sorted(BASES))}."
        for keyword in node.keywords:
            yield keyword.value, "a class takes no keyword arguments", ""


_EXAMPLE = {"torch": "sin", "F": "relu", "math": "pi"}


def _bound(node: ast.AST) -> list[str]:
    """The names that `node` itself binds."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)):
            return [name]
        case _:
            return []


def _given_attributes(node: ast.AST) -> list[str]:
    """The attribute that `node` sets: by assignment, or by registering it with a module under a literal name."""
    match node:
        case ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
        case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]) if method in _REGISTER:
            return [name]
        case _:
            return []


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and everything below it that belongs to the same function or class."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        if not isinstance(here, _SCOPES):
            waiting.extend(ast.iter_child_nodes(here))


def _methods(node: ast.AST) -> list[ast.AST]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef)] if isinstance(node, ast.ClassDef) else []


def _dotted(node: ast.expr) -> str | None:
    """Return `torch.nn.Linear` of a chain of attributes that starts at a root; None for every other expression."""
    chain = _chain(node)
    root = chain[-1]
    if not isinstance(node, ast.Attribute) or not isinstance(root, ast.Name) or root.id not in ROOTS:
        return None
    return ".".join([root.id, *(link.attr for link in reversed(chain) if isinstance(link, ast.Attribute))])


def _chain(node: ast.expr) -> list[ast.expr]:
    """The links of a chain of attributes, outermost first; the last is what the chain starts at."""
    links = [node]
    while isinstance(links[-1], ast.Attribute):
        links.append(links[-1].value)
    return links


def _root(node: ast.expr) -> str | None:
    """The name that a chain of attributes and calls starts at."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _word(node: ast.AST) -> str:
    words = {
        "ImportFrom": "import",
        "AsyncFunctionDef": "async def",
        "AsyncWith": "async with",
        "AsyncFor": "async for",
    }
    name = type(node).__name__
    return words.get(name, name.lower())


def _dunder_hint(node: ast.AST) -> str:
    return f"A class may define: {', '.join(sorted(DUNDERS))}." if isinstance(node, ast.FunctionDef) else ""


def _closest(word: str, known: Iterable[str]) -> str:
    """Suggest names whose last part resembles that of `word`; of names with the same last part, the shortest."""
    root, dot, _ = word.partition(".")
    named = sorted((name for name in known if name.startswith(root + dot) or not dot), key=len, reverse=True)
    return nearest(word, named[::-1], most=2, key=lambda name: name.rpartition(".")[2])

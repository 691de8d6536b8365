"""Simpler cases, one step away from a case: what `conformance.triage.shrink.search` tries, largest steps first.

A step changes the syntax trees of setup and program, or a field of the case. Each gives a case that is simpler by
`size`, so that a sequence of steps ends; one that is not a valid case is left out. Nothing here runs a program.
"""

from __future__ import annotations

import ast
import math
import warnings
from dataclasses import fields, replace
from itertools import chain, combinations
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from conformance.catalogue.writer import Edit, Texts, edited, pinned
from conformance.model.case import Call, Case, InputSpec, Location, Variant
from conformance.model.moves import SEPARATOR
from conformance.program import parsing
from conformance.program.allowed_names import ROOTS
from conformance.program.build import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

__all__ = ["candidates", "size"]

_Shape = tuple[Any, ...]
V = TypeVar("V")
Part = TypeVar("Part", Call, InputSpec, Variant)

_FILTERS = Lock()  # threads share them
_PARAMETER = "torch.nn.Parameter(torch.ones(()))"
_NO_MODULES = frozenset({"Buffer", "Module", "Parameter"})
_RANKS = {"clone": 0, "sin": 1}
_UNRANKED = 2
_PLAIN = Case(id="", title="", topic="", program="", location=Location(file=""))
_DECLARED = "tags", "clauses", "source", "torch", "timeout_s", "graph_breaks", "recompiles", "tolerance", "raises"


def candidates(case: Case, variant: Variant) -> Iterator[tuple[Case, Variant]]:
    """Simpler cases with the variant to run, each within the subset and smaller than `case` by `size`.

    The first has the one variant alone, its params put into the texts; the others are made from that.

    Args:
        case: to be simplified.
        variant: the one of its variants that matters.
    """
    fixed = pinned(case, variant)
    # The texts of a user's function are outside the subset; such a case keeps them.
    kept = None if _fits(fixed) else (fixed.setup, fixed.program)
    limit, tried = size(case), {repr(case)}
    for candidate in chain([fixed], _steps(fixed)):
        text = repr(candidate)
        if (
            text not in tried
            and ((candidate.setup, candidate.program) == kept or _fits(candidate))
            and size(candidate) < limit
        ):
            yield candidate, candidate.variants[0]
        tried.add(text)


def _fits(case: Case) -> bool:
    """Whether its texts are within the subset, and nothing that Python warns of, such as an integer that is called."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        return not problems(case)


def size(case: Case) -> tuple[int, ...]:
    """How large a case is, the most important number first; all are from 0, so that steps to smaller ones end.

    What it is varied over, whether it has a twin, modules, nodes of the syntax trees, calls and what they change,
    inputs, operations other than the simplest, properties of inputs, their dimensions and elements, axes that are no
    default, and what else it declares.
    """
    texts = Texts.of(case)
    shapes = [spec.shape for spec in case.inputs.values()]
    shapes += [shape for call in case.calls for shape in call.shapes.values()]
    first = case.variants[0]
    return (
        len(case.variants) - 1 + len(first.params) + bool(case.family),
        bool(case.twin),
        sum(map(_is_module, texts.nodes)),
        sum(not isinstance(node, ast.expr_context | ast.operator) for node in texts.nodes),
        sum(1 + len(list(_plainer(call, Call()))) for call in case.calls),
        len(case.inputs),
        sum(map(_rank, texts.nodes)),
        sum(_properties(case, spec) for spec in case.inputs.values()),
        sum(1 + one for shape in shapes for one in shape if isinstance(one, int)),
        len(list(_plainer(first, Variant()))) + first.moves.count(SEPARATOR),
        len(case.checks) + sum(getattr(case, name) != getattr(_PLAIN, name) for name in _DECLARED),
    )


def _properties(case: Case, spec: InputSpec) -> int:
    """How many an input has; one that shares memory has those of the other one too."""
    own = len(list(_plainer(spec, InputSpec(shape=spec.shape))))
    return own + (1 + _properties(case, case.inputs[spec.base]) if spec.base else 0)


def _steps(case: Case) -> Iterator[Case]:
    """Cases one step away, unchecked."""
    texts = Texts.of(case)
    yield replace(case, tags=frozenset(), clauses=(), source=None, torch=None, timeout_s=None)
    yield replace(case, twin="", checks={name: one for name, one in case.checks.items() if name != "metamorphic"})
    yield texts.without_unused().put_into(case)
    reducing = (_chunks, _returned, _unwrapped, _inlined, _hoisted, _dropped, _forgotten)
    made = [texts.edited(edit) for edits in reducing for edit in edits(texts)]
    for one in sorted(made, key=lambda one: len(one.nodes)):
        yield one.put_into(case)
    yield from _fewer_calls(case)
    yield from _fewer_inputs(case, texts)
    for edit in chain(_without_modules(texts), _simpler(texts), _pairs(texts)):
        yield texts.edited(edit).without_unused().put_into(case)
    yield from _plainer_calls(case)
    yield from _plainer_inputs(case, texts)
    yield from _plainer_axes(case)
    yield from _fewer_declarations(case)


# Steps on the trees.


def _put(node: ast.AST, new: Sequence[ast.AST]) -> Edit:
    return {node: new}


def _drop(*nodes: ast.AST) -> Edit:
    return dict.fromkeys(nodes, ())


def _chunks(texts: Texts) -> Iterator[Edit]:
    """Statements that follow each other dropped: all of a block, halves of it, ... one."""
    for block in texts.blocks:
        count = len(block)
        while count:
            yield from (_drop(*block[start : start + count]) for start in range(0, len(block), count))
            count //= 2


def _pairs(texts: Texts) -> Iterator[Edit]:
    """Two statements dropped that have a name in common."""
    used = {
        statement: {part.id for part in ast.walk(statement) if isinstance(part, ast.Name)} - ROOTS
        for statement in texts.simple
    }
    for first, last in combinations(texts.simple, 2):
        if not used[first].isdisjoint(used[last]):
            yield _drop(first, last)


def _returned(texts: Texts) -> Iterator[Edit]:
    """A statement replaced by a return of its value, without what follows in its block and the last return."""
    last = [statement for statement in texts.program.body[-1:] if isinstance(statement, ast.Return)]
    for block in texts.blocks:
        for place, statement in enumerate(block):
            if isinstance(statement, ast.Assign | ast.Expr):
                yield {**_drop(*last, *block[place + 1 :]), statement: [ast.Return(value=statement.value)]}


def _unwrapped(texts: Texts) -> Iterator[Edit]:
    """A statement with blocks replaced by one of them."""
    for node in texts.nodes:
        if isinstance(node, ast.With | ast.If | ast.For | ast.While | ast.Try | ast.FunctionDef):
            named = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
            named += [handler.body for handler in getattr(node, "handlers", [])]
            yield from (_put(node, block) for block in named if block)


def _inlined(texts: Texts) -> Iterator[Edit]:
    """A function that is called once put where it is called, in blocks of its decorators or without."""
    for function in [node for node in texts.nodes if isinstance(node, ast.FunctionDef)]:
        calls = texts.calls(function.name)
        places = [one for one in texts.simple if len(calls) == 1 and calls[0] in set(ast.walk(one))]
        for statement, call in zip(places, calls, strict=False):
            body = plain = _inline(function, call, statement)
            for decorator in reversed(function.decorator_list):
                body = [ast.With(items=[ast.withitem(context_expr=decorator)], body=body)]
            yield {function: [], statement: body}
            yield {function: [], statement: plain}


def _inline(function: ast.FunctionDef, call: ast.Call, statement: ast.stmt) -> list[ast.stmt]:
    arguments = zip([argument.arg for argument in function.args.args], call.args, strict=False)
    bound: list[ast.stmt] = [
        ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value)
        for name, value in arguments
        if not (isinstance(value, ast.Name) and value.id == name)
    ]
    *body, last = function.body
    value = last.value if isinstance(last, ast.Return) else None
    body += [] if isinstance(last, ast.Return) else [last]
    placed = edited(statement, {call: [value or ast.Constant(value=None)]})
    return [*bound, *body, *(one for one in placed if isinstance(one, ast.stmt))]


def _hoisted(texts: Texts) -> Iterator[Edit]:
    """An expression replaced by one of its operands."""
    called = {node.func for node in texts.nodes if isinstance(node, ast.Call)}
    for node in [node for node in texts.nodes if node not in called]:
        yield from (_put(node, [operand]) for operand in _operands(node))


def _dropped(texts: Texts) -> Iterator[Edit]:
    """One of several taken out: contexts, decorators, elements, arguments, keys, operands, handlers."""
    for node in texts.nodes:
        for name in ("items", "decorator_list", "elts", "args", "keywords", "values", "handlers"):
            several = getattr(node, name, [])
            if not isinstance(several, list) or isinstance(getattr(node, "ctx", None), ast.Store):
                continue
            keys = node.keys if isinstance(node, ast.Dict) and several else [None] * len(several)
            for item, key in zip(several, keys, strict=True):
                yield _drop(item, key) if key else _drop(item)


def _forgotten(texts: Texts) -> Iterator[Edit]:
    """A variable of one text replaced by its value, or by a name in that."""
    for tree in (texts.setup, texts.program):
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        stored = [node.id for node in names if isinstance(node.ctx, ast.Store)]
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if stored.count(name) == 1:
                    uses = texts.loads(name)
                    parts = [one for one in ast.walk(value) if isinstance(one, ast.Name) and one.id not in ROOTS]
                    # What a setup makes once, a program would make in each call.
                    if set(uses) <= set(names):
                        yield from ({**_drop(node), **{use: [one] for use in uses}} for one in [value, *parts])


def _without_modules(texts: Texts) -> Iterator[Edit]:
    """A module replaced by a parameter to multiply with."""
    classes = {node.name for node in texts.setup.body if isinstance(node, ast.ClassDef)}
    for statement in texts.setup.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made)) if (
                isinstance(made, ast.Name) and made.id in classes
            ) or _is_module(made):
                yield (
                    {statement: parsing.parse(f"{name} = {_PARAMETER}").body}
                    | {node: [node.value] for node in texts.attributes(name)}
                    | {node: [_product(*node.args[:1], node.func)] for node in texts.calls(name)}
                )


def _simpler(texts: Texts) -> Iterator[Edit]:
    """An operation replaced by a product, a sine or a copy."""
    for node in texts.nodes:
        operands = [one for one in _operands(node) if not isinstance(one, ast.Constant)]
        if not isinstance(node, ast.Call | ast.BinOp | ast.UnaryOp) or not operands:
            continue
        if len(operands) > 1:
            yield {node: [_product(*operands[:2])]}
        for name in ("sin", "clone"):
            function = ast.Attribute(value=operands[0], attr=name, ctx=ast.Load())
            yield {node: [ast.Call(func=function, args=[], keywords=[])]}


def _product(*factors: ast.expr) -> ast.expr:
    return ast.BinOp(left=factors[0], op=ast.Mult(), right=factors[1]) if len(factors) > 1 else factors[0]


def _operands(node: ast.AST) -> list[ast.expr]:
    """The expressions directly below an expression that may replace it."""
    if not isinstance(node, ast.expr) or isinstance(getattr(node, "ctx", None), ast.Store):
        return []
    parts = [part.value if isinstance(part, ast.keyword) else part for part in ast.iter_child_nodes(node)]
    if isinstance(node, ast.Call):
        parts[0] = node.func.value if isinstance(node.func, ast.Attribute) else node.func
    return [part for part in parts if isinstance(part, ast.expr) and _is_operand(part)]


def _is_operand(part: ast.expr) -> bool:
    words = isinstance(part, ast.Constant) and isinstance(part.value, str | None)
    return not words and not isinstance(part, ast.Slice | ast.Starred) and _root(part) not in ROOTS


def _root(node: ast.AST) -> str:
    """The name that a chain of attributes starts at."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_module(node: ast.AST) -> bool:
    """Whether it names a module of `torch.nn`, or defines a class."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="torch"), attr="nn"), attr=name):
            return name[0].isupper() and name not in _NO_MODULES
    return isinstance(node, ast.ClassDef)


def _rank(node: ast.AST) -> int:
    match node:
        case ast.Attribute(attr=name):
            return _RANKS.get(name, _UNRANKED)
        case ast.BinOp(op=operator):
            return int(not isinstance(operator, ast.Mult))
        case ast.Constant(value=value) if type(value) in {int, float}:
            return int(value not in {0, 1})
    return 0


# Steps on the other fields.


def _fewer_calls(case: Case) -> Iterator[Case]:
    alone = [(Call(),), *((call,) for call in case.calls)]
    others = [case.calls[:place] + case.calls[place + 1 :] for place in range(len(case.calls))]
    yield from (replace(case, calls=calls) for calls in [*alone, *others] if calls)


def _plainer_calls(case: Case) -> Iterator[Case]:
    for place, call in enumerate(case.calls):
        for plainer in _plainer(call, Call()):
            yield replace(case, calls=(*case.calls[:place], plainer, *case.calls[place + 1 :]))


def _fewer_inputs(case: Case, texts: Texts) -> Iterator[Case]:
    """Inputs dropped: those that nothing reads, and each that another, or its value, may replace."""
    yield _without(case, case.inputs.keys() - texts.loaded)
    for name, spec in case.inputs.items():
        uses = texts.loads(name)
        instead = [ast.Name(id=another, ctx=ast.Load()) for another in case.inputs if another != name]
        for replacement in [ast.Constant(value=spec.scalar)] if spec.scalar is not None else instead:
            yield texts.edited({use: [replacement] for use in uses}).put_into(_without(case, {name}))


def _plainer(part: Part, plain: Part) -> Iterator[Part]:
    """With each field that is not as in the plainest made so."""
    for name in [field.name for field in fields(part)]:
        if getattr(part, name) != getattr(plain, name):
            yield replace(part, **{name: getattr(plain, name)})


def _without(case: Case, names: Collection[str]) -> Case:
    def kept(given: Mapping[str, V]) -> dict[str, V]:
        return {name: value for name, value in given.items() if name not in names}

    calls = (
        replace(call, shapes=kept(call.shapes), requires_grad=kept(call.requires_grad), scalars=kept(call.scalars))
        for call in case.calls
    )
    left = {name: _apart(case, name) if spec.base in names else spec for name, spec in kept(case.inputs).items()}
    return replace(case, inputs=left, calls=tuple(calls))


def _plainer_inputs(case: Case, texts: Texts) -> Iterator[Case]:
    bases = {spec.base for spec in case.inputs.values()}
    apart = {name: _apart(case, name) for name, spec in case.inputs.items() if spec.base}
    yield from (replace(case, inputs={**case.inputs, name: spec}) for name, spec in apart.items())
    tensors = [
        name
        for name, spec in case.inputs.items()
        if spec.scalar is None and not spec.maker and not spec.base and name not in bases
    ]
    sizes = sorted({size for name in tensors for size in case.inputs[name].shape if isinstance(size, int)} - {0, 1})
    numbers = [node for node in texts.nodes if isinstance(node, ast.Constant) and type(node.value) is int]
    for size in sizes:
        edit: Edit = {node: [ast.Constant(value=1)] for node in numbers if node.value == size}
        yield texts.edited(edit).put_into(_reshaped(case, tensors, _as_one(size)))
    for change in (lambda _: (), lambda shape: shape[1:], lambda shape: shape[:-1], *map(_as_one, sizes)):
        yield from (_reshaped(case, names, change) for names in [tensors, *([name] for name in tensors)])
    plain = {"distribution": "normal", "low": None, "high": None}
    for name in tensors:
        spec = case.inputs[name]
        # What is drawn without a distribution depends on the dtype.
        alone = {"leaf": True, "inference": False}
        others = (
            {"stride": None},
            {"values": None},
            plain,
            {"dtype": None, **plain},
            {"requires_grad": False, **alone},
        )
        for changes in (alone, *others):
            yield replace(case, inputs={**case.inputs, name: replace(spec, **changes)})


def _apart(case: Case, name: str) -> InputSpec:
    """An input that shares memory with another one, as one of its own."""
    spec = case.inputs[name]
    base = case.inputs[spec.base or ""]
    return base if spec.alias_of else replace(base, shape=spec.shape, stride=None, values=None)


def _as_one(size: int) -> Callable[[_Shape], _Shape]:
    return lambda shape: tuple(1 if one == size else one for one in shape)


def _reshaped(case: Case, names: Collection[str], change: Callable[[_Shape], _Shape]) -> Case:
    calls = (
        replace(call, shapes={name: change(old) if name in names else old for name, old in call.shapes.items()})
        for call in case.calls
    )
    specs = {name: _of_shape(spec, change(spec.shape)) if name in names else spec for name, spec in case.inputs.items()}
    return replace(case, inputs=specs, calls=tuple(calls))


def _of_shape(spec: InputSpec, shape: _Shape) -> InputSpec:
    values = spec.values and spec.values[: math.prod(shape)]
    return spec if shape == spec.shape else replace(spec, shape=shape, stride=None, values=values)


def _plainer_axes(case: Case) -> Iterator[Case]:
    first = case.variants[0]
    alone = (replace(first, moves=name) for name in first.moves.split(SEPARATOR) if first.moves != name)
    yield from (replace(case, variants=(one,)) for one in chain(_plainer(first, Variant()), alone))


def _fewer_declarations(case: Case) -> Iterator[Case]:
    yield from (replace(case, **{name: getattr(_PLAIN, name)}) for name in _DECLARED)
    for check in case.checks:
        yield replace(case, checks={name: level for name, level in case.checks.items() if name != check})

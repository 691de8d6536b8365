"""Requests that a failing one is held against: the same without modes, without backward, without operations.

Each takes something out of the program and of what its caller does; inputs keep their numbers. Nothing here runs a
program, and the texts are not held against the subset again.
"""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from textwrap import indent
from typing import TYPE_CHECKING

from conformance.catalogue.writer import edited, pinned
from conformance.model.device import DEVICE
from conformance.model.moves import MOVES, NO_MOVES, SEPARATOR
from conformance.program import parsing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.request import Request

__all__ = ["goes_backward", "has_modes", "identity", "without_backward", "without_modes", "without_operations"]

_WRAPPERS = frozenset({"no_grad", "enable_grad"})
_GRADS = frozenset({*_WRAPPERS, "set_grad_enabled", "inference_mode"})
_AUTOCASTS = frozenset({"autocast"})
_DECORATORS = frozenset({"custom_fwd", "custom_bwd"})
_SETTERS = frozenset(
    {
        *("set_autocast_enabled", "set_autocast_dtype", "set_autocast_cache_enabled", "clear_autocast_cache"),
        *("set_autocast_cpu_enabled", "set_autocast_cpu_dtype"),
    }
)
_MODES = _GRADS | _AUTOCASTS | _DECORATORS | _SETTERS
_NEUTRAL_GRAD = "torch.enable_grad"
_NEUTRAL_AUTOCAST = f'torch.autocast("{DEVICE}", enabled=False)'

_DECLARED = frozenset(
    {
        *("id", "title", "topic", "clauses", "source", "tags", "torch"),
        *("location", "program_location", "setup_location"),
    }
)
"""Fields of a case that do not change how it runs."""

_UNCOMPILED = """\
@torch.compiler.disable
def uncompiled({arguments}):
{program}
"""
_COPIES = """\
return torch.utils._pytree.tree_map(
    lambda value: value.clone() if isinstance(value, torch.Tensor) else value, uncompiled({arguments})
)
"""


def has_modes(request: Request) -> bool:
    """Whether the program or its caller sets a mode, the moves apart; those in a user's function are not seen."""
    plain, without = _plain(request), without_modes(request)
    return (_moded(plain.case), plain.variant.grad, plain.variant.autocast) != (
        *(_moded(without.case), without.variant.grad, without.variant.autocast),
    )


def _moded(case: Case) -> tuple[object, ...]:
    """What of a case may set a mode."""
    return case.setup, case.program, case.twin, case.calls, case.inputs


def without_modes(request: Request) -> Request:
    """Return the request without contexts, decorators and calls that set a mode, and without those of the caller.

    Where a mode is a value, such as a context that is kept in a variable, the value is the mode that is on anyway.
    """
    plain = _off(_plain(request))
    case = plain.case
    calls = tuple(replace(call, grad=None, autocast=None) for call in case.calls)
    inputs = {name: replace(spec, inference=False) for name, spec in case.inputs.items()}
    # What raises because of a mode, such as an inference tensor that is saved, need not raise without.
    may_raise = case.may_raise or case.raises is not None
    changed = replace(case, calls=calls, inputs=inputs, raises=None, may_raise=may_raise)
    return replace(plain, case=_rewritten(changed, _without_modes))


def goes_backward(request: Request) -> bool:
    """Whether the caller goes backward; what the program itself does is not seen."""
    return any(call.backward for call in request.case.calls)


def without_backward(request: Request) -> Request:
    """Return the request of a caller who does not go backward, in moves neither."""
    calls = tuple(replace(call, backward=False) for call in request.case.calls)
    return replace(request, case=replace(request.case, calls=calls))


def without_operations(request: Request) -> Request:
    """Return the request in which the backend is given no operation of the program, but only copies of its results.

    The program runs in a function that is disabled for the compiler. Single operations cannot be taken out in this way:
    a disabled function breaks the graph, and with it what goes wrong between operations; one that is allowed in the
    graph is opaque to Dynamo alone, and reaches the backend as the operations that it is made of.
    """
    case = _plain(request).case
    arguments = ", ".join(case.inputs)
    helper = _UNCOMPILED.format(arguments=arguments, program=indent(case.program, " " * 4))
    setup = f"{case.setup.rstrip()}\n\n\n{helper}" if case.setup else helper
    checks = {name: level for name, level in case.checks.items() if name != "metamorphic"}
    control = replace(case, setup=setup, program=_COPIES.format(arguments=arguments), twin="", checks=checks)
    return replace(request, case=control, variant=control.variants[0])


def identity(request: Request) -> str:
    """Return what two requests that run alike have in common; their cases may have different names."""
    plain = _plain(request)
    facts = [getattr(plain.case, each.name) for each in fields(plain.case) if each.name not in _DECLARED]
    return repr((plain.backend.ref, facts, plain.seed))


def _plain(request: Request) -> Request:
    """The request with params put into its texts, as they are written back, and with its moves by name."""
    moves = SEPARATOR.join(request.moves) or NO_MOVES
    case = pinned(request.case, replace(request.variant, moves=moves))
    case = _rewritten(case, lambda tree: tree) if case.function is None else case
    return replace(request, case=case, variant=case.variants[0])


def _off(request: Request) -> Request:
    """The request with the modes of its variant off, and without the moves that set one."""
    moves = [name for name in request.moves if not MOVES[name].sets_mode]
    variant = replace(request.variant, grad="enabled", autocast="off", moves=SEPARATOR.join(moves) or NO_MOVES)
    return replace(request, variant=variant, case=replace(request.case, variants=(variant,)))


def _rewritten(case: Case, change: Callable[[ast.Module], ast.AST]) -> Case:
    """The case with the trees of its texts changed."""
    setup, program, twin = (
        f"{ast.unparse(ast.fix_missing_locations(change(parsing.parse(text))))}\n" if text else ""
        for text in (case.setup, case.program, case.twin)
    )
    return replace(case, setup=setup, program=program, twin=twin)


def _without_modes(tree: ast.Module) -> ast.AST:
    (made,) = edited(tree, dict(_edits(tree)))
    return made


def _edits(tree: ast.AST) -> Iterator[tuple[ast.AST, Sequence[ast.AST]]]:
    """What is put in place of each node that sets a mode; nothing for most."""
    nodes = list(ast.walk(tree))
    parts: set[ast.AST] = {
        node.func for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    parts |= {each for node in nodes if isinstance(node, ast.FunctionDef) for each in node.decorator_list}
    for node in nodes:
        match node:
            case ast.With(items=items, body=body):
                modes = [item for item in items if _is_mode(item.context_expr)]
                yield from [(node, body)] if len(modes) == len(items) else [(item, ()) for item in modes]
            case ast.FunctionDef(decorator_list=decorators):
                yield from ((each, ()) for each in decorators if _is_mode(each))
            case ast.Expr(value=ast.Call() as value) if _is_mode(value):
                yield node, ()
            case ast.Call() | ast.Attribute() if node not in parts and _is_mode(node):
                yield node, [_neutral(node)]


def _is_mode(node: ast.expr) -> bool:
    return bool(_name(node))


def _name(node: ast.expr) -> str:
    """The name of the mode that an expression is, called or not; empty for any other."""
    chain = node.func if isinstance(node, ast.Call) else node
    name = chain.attr if isinstance(chain, ast.Attribute) else ""
    while isinstance(chain, ast.Attribute):
        chain = chain.value
    return name if name in _MODES and isinstance(chain, ast.Name) and chain.id == "torch" else ""


def _neutral(node: ast.expr) -> ast.AST:
    """The value in place of a mode that is a value."""
    name = _name(node)
    arguments = node.args if isinstance(node, ast.Call) else []
    if name in _SETTERS:
        return ast.Constant(value=None)
    if arguments and name in _DECORATORS | _WRAPPERS:
        return arguments[0]  # a function that is wrapped
    if name in _AUTOCASTS:
        return _expression(_NEUTRAL_AUTOCAST)
    return _expression(f"{_NEUTRAL_GRAD}()" if isinstance(node, ast.Call) else _NEUTRAL_GRAD)


def _expression(text: str) -> ast.expr:
    (statement,) = parsing.parse(text).body
    assert isinstance(statement, ast.Expr)  # noqa: S101 - the texts are above
    return statement.value

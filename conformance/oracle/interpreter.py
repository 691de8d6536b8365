"""Interpret the text of a program over modes and abstract tensors, without numbers, shapes or PyTorch.

The interpreter does not guess. A value it does not model is `UNKNOWN` and is not compared; a construct that could
change modes in a way it does not model, or a branch on an unknown value, ends the interpretation with
`NotModelledError`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from conformance.model.device import DEVICE
from conformance.oracle.modes import Autocast, Context, Grad, Inference, Modes
from conformance.oracle.values import ELEMENTWISE, FLOAT32, LOWER, UNKNOWN, Tensor, Unknown, operate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Interpreter", "NotModelledError"]


class NotModelledError(Exception):
    """The program does something that the oracle does not model; the message names it."""


def _give_up(what: str) -> NoReturn:
    raise NotModelledError(what)


@dataclass(frozen=True, kw_only=True)
class _Function:
    """A function of the program: its parameters, its body, where it was defined, and its decorators."""

    node: ast.FunctionDef
    scope: _Scope
    contexts: tuple[Context, ...]


@dataclass(kw_only=True)
class _Scope:
    """Names and their values; names of outer scopes are read, not set."""

    names: dict[str, object] = field(default_factory=dict)
    outside: _Scope | None = None

    def find(self, name: str) -> object:
        if name in self.names:
            return self.names[name]
        return self.outside.find(name) if self.outside else UNKNOWN


@dataclass(frozen=True, kw_only=True)
class _Return:
    value: object


# Queries of a mode, the arguments for which the result is known, and the result; autocast is queried per device.
_QUERIES: dict[str, tuple[list[object], Callable[[Modes], object]]] = {
    "torch.is_grad_enabled": ([], lambda modes: modes.grad),
    "torch.is_inference_mode_enabled": ([], lambda modes: modes.inference),
    "torch.is_autocast_enabled": ([DEVICE], lambda modes: modes.autocast),
    "torch.get_autocast_dtype": ([DEVICE], lambda modes: modes.dtype),
}
_DTYPES = frozenset({"bfloat16", "float16", "float32", "float64"})
_OPERATORS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "matmul"}
_MODULE = Unknown()  # a module of torch.nn: its result is unknown, and it does not change modes
# Methods of tensors that no class of a case's program redefines, and that do not change modes or flags.
_PURE = frozenset({"any", "argmax", "argmin", "detach", "expand", "float", "half", "item", "max", "mean", "min"}) | {
    *("norm", "permute", "prod", "reshape", "softmax", "sum", "t", "transpose", "view")
}
_GRAD = {"torch.no_grad": False, "torch.enable_grad": True}
_ROOTS = {"F", "math", "torch"}
# Functions that call their arguments, or change modes or flags other than by a context.
_CALLERS = (
    "checkpoint",
    "func.",
    "vmap",
    "autograd.grad",
    "autograd.backward",
    "set_autocast",
    "set_default",
    "compiler",
)


class Interpreter:
    """One call of a program.

    Args:
        modes: those of the caller; after `call`, those that the program leaves.
    """

    def __init__(self, modes: Modes) -> None:
        self.modes = modes

    def call(self, setup: ast.Module, program: ast.Module, inputs: Mapping[str, object]) -> object:
        """Interpret the setup's definitions, then the program's body, and return its result.

        Raises:
            NotModelledError: it does something that the oracle does not model.
        """
        scope, caller = _Scope(), self.modes
        self._body(setup.body, scope)
        self.modes = caller
        done = self._body(program.body, _Scope(names=dict(inputs), outside=scope))
        return done.value if done else None

    def _body(self, statements: Sequence[ast.stmt], scope: _Scope) -> _Return | None:
        for statement in statements:
            done = self._statement(statement, scope)
            if done:
                return done
        return None

    def _statement(self, node: ast.stmt, scope: _Scope) -> _Return | None:
        match node:
            case ast.Return(value=value):
                return _Return(value=self._value(value, scope) if value else None)
            case ast.Assign(targets=[target], value=value):
                self._bind(target, self._value(value, scope), scope)
            case ast.Expr(value=value):
                self._value(value, scope)
            case ast.With():
                return self._with(node.items, node.body, scope)
            case ast.FunctionDef(name=name):
                scope.names[name] = self._define(node, scope)
            case ast.If(test=test):
                chosen = node.body if self._known(test, scope) else node.orelse
                return self._body(chosen, scope)
            case ast.For() if not node.orelse:
                return self._for(node, scope)
            case ast.Pass() | ast.Assert():
                pass
            case _:
                _give_up(type(node).__name__.lower())
        return None

    def _for(self, node: ast.For, scope: _Scope) -> _Return | None:
        for item in self._known(node.iter, scope):
            self._bind(node.target, item, scope)
            done = self._body(node.body, scope)
            if done:
                return done
        return None

    def _known(self, node: ast.expr, scope: _Scope) -> Any:  # noqa: ANN401 - any value of Python
        """A value that control flow depends on."""
        value = self._value(node, scope)
        if isinstance(value, Unknown | Tensor):
            _give_up("a branch or loop on an unknown value")
        return value

    def _with(self, items: Sequence[ast.withitem], body: Sequence[ast.stmt], scope: _Scope) -> _Return | None:
        if not items:
            return self._body(body, scope)
        before = self.modes
        context = self._context(items[0].context_expr, scope)
        if items[0].optional_vars:
            _give_up("with ... as")
        self.modes = context.enter(self.modes)
        done = self._with(items[1:], body, scope)
        self.modes = context.leave(before, self.modes)
        return done

    def _context(self, node: ast.expr, scope: _Scope) -> Context:
        """The context that a `with` item creates; one created earlier is not modelled."""
        if not isinstance(node, ast.Call):
            _give_up("a context object made before it is entered")
        name = _dotted(node.func) or ""
        keywords = {keyword.arg: self._value(keyword.value, scope) for keyword in node.keywords}
        values = [self._value(argument, scope) for argument in node.args]
        if name in _GRAD and not values:
            return Grad(enabled=_GRAD[name])
        if name == "torch.set_grad_enabled" and len(values) == 1 and isinstance(values[0], bool):
            return Grad(enabled=values[0])
        if name == "torch.inference_mode":
            mode = values[0] if values else keywords.get("mode", True)
            if isinstance(mode, bool):
                return Inference(mode=mode)
        if name in {"torch.autocast", "torch.amp.autocast"} and values[:1] == [DEVICE] and len(values) == 1:
            dtype, enabled = keywords.get("dtype"), keywords.get("enabled", True)
            if isinstance(enabled, bool) and (dtype is None or isinstance(dtype, str)):
                return Autocast(enabled=enabled, dtype=dtype)
        _give_up(f"the context {name or 'of the program'}")

    def _define(self, node: ast.FunctionDef, scope: _Scope) -> _Function:
        if any(isinstance(inner, ast.Yield | ast.YieldFrom | ast.Nonlocal) for inner in ast.walk(node)):
            _give_up("a generator or nonlocal name")
        contexts = tuple(self._context(decorator, scope) for decorator in node.decorator_list)
        return _Function(node=node, scope=scope, contexts=contexts)

    def _apply(self, function: _Function, values: Sequence[object]) -> object:
        parameters = function.node.args
        names = [argument.arg for argument in parameters.args]
        if len(names) != len(values) or parameters.vararg or parameters.kwarg or parameters.kwonlyargs:
            _give_up("an unusual signature")
        inside = _Scope(names=dict(zip(names, values, strict=True)), outside=function.scope)
        entered = []
        for context in function.contexts:
            entered.append((context, self.modes))
            self.modes = context.enter(self.modes)
        done = self._body(function.node.body, inside)
        for context, before in reversed(entered):
            self.modes = context.leave(before, self.modes)
        return done.value if done else None

    def _bind(self, target: ast.expr, value: object, scope: _Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.names[name] = value
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                known = isinstance(value, list | tuple) and len(value) == len(targets)
                parts = value if known and isinstance(value, list | tuple) else [UNKNOWN] * len(targets)
                for part, item in zip(targets, parts, strict=True):
                    self._bind(part, item, scope)
            case _:
                _give_up("assignment to a part of something")

    def _value(self, node: ast.expr, scope: _Scope) -> object:
        value: object = UNKNOWN
        match node:
            case ast.Constant():
                value = node.value
            case ast.Name():
                value = scope.find(node.id)
            case ast.Tuple() | ast.List() | ast.Dict():
                value = self._container(node, scope)
            case ast.BinOp(left=left, op=op, right=right):
                value = self._binary(type(op), self._value(left, scope), self._value(right, scope))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                value = not self._known(operand, scope)
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                value = _same(self._value(left, scope), self._value(right, scope))
            case ast.Attribute():
                value = self._attribute(node, scope)
            case ast.Call():
                value = self._call(node, scope)
            case _:
                self._children(node, scope)
        return value

    def _container(self, node: ast.Tuple | ast.List | ast.Dict, scope: _Scope) -> object:
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if len(keys) < len(node.keys):
                _give_up("keys that are not constants")
            return dict(zip(keys, (self._value(value, scope) for value in node.values), strict=True))
        parts = [self._value(part, scope) for part in node.elts]
        return tuple(parts) if isinstance(node, ast.Tuple) else parts

    def _children(self, node: ast.expr, scope: _Scope) -> None:
        """Interpret the parts of an expression whose value is unknown: a call among them may set a mode."""
        if isinstance(node, ast.Lambda | ast.Starred | ast.NamedExpr | ast.ListComp | ast.GeneratorExp):
            _give_up(type(node).__name__.lower())
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._value(child, scope)
            elif not isinstance(child, ast.expr_context | ast.operator | ast.unaryop | ast.cmpop | ast.boolop):
                _give_up(type(child).__name__.lower())

    def _attribute(self, node: ast.Attribute, scope: _Scope) -> object:
        name = _dotted(node)
        if name:
            last = name.rpartition(".")[2]
            return last if last in _DTYPES else UNKNOWN
        owner = self._value(node.value, scope)
        return getattr(owner, node.attr) if isinstance(owner, Tensor) and node.attr == "requires_grad" else UNKNOWN

    def _binary(self, operator: type[ast.operator], left: object, right: object) -> object:
        operands = (left, right)
        if not any(isinstance(each, Tensor | Unknown) for each in operands):
            return UNKNOWN  # arithmetic on Python values never decides a flag
        if any(isinstance(each, complex) for each in operands):
            return UNKNOWN
        return operate(_OPERATORS[operator], operands, self.modes) if operator in _OPERATORS else UNKNOWN

    def _call(self, node: ast.Call, scope: _Scope) -> object:
        name = _dotted(node.func)
        if name == "torch.set_grad_enabled":
            context = self._context(node, scope)
            self.modes = context.enter(self.modes)
            return UNKNOWN
        values = [self._value(argument, scope) for argument in node.args]
        keywords = [self._value(keyword.value, scope) for keyword in node.keywords]
        if name in _QUERIES:
            arguments, answer = _QUERIES[name]
            return answer(self.modes) if values == arguments and not keywords else UNKNOWN
        if any(isinstance(value, _Function) for value in (*values, *keywords)):
            _give_up("a function passed to another")
        if name:
            return self._of_torch(name, values)
        if isinstance(node.func, ast.Attribute):
            return self._method(node.func, self._value(node.func.value, scope), values)
        called = self._value(node.func, scope)
        if called is _MODULE:
            return UNKNOWN
        if isinstance(called, _Function) and not keywords:
            return self._apply(called, values)
        _give_up("a call of something unknown")

    def _of_torch(self, name: str, values: Sequence[object]) -> object:
        last = name.rpartition(".")[2]
        if any(word in name for word in _CALLERS) or last.endswith("_") or last in {"no_grad", "enable_grad"}:
            _give_up(f"a call of {name}")
        if name.startswith("torch.nn.") and last[0].isupper():
            return _MODULE
        return operate(last, values, self.modes) if last in LOWER | FLOAT32 | ELEMENTWISE else UNKNOWN

    def _method(self, function: ast.Attribute, owner: object, values: Sequence[object]) -> object:
        name = function.attr
        if name == "append" and isinstance(owner, list) and len(values) == 1:
            owner.append(values[0])
            return None
        if name in _PURE:
            return UNKNOWN
        if not isinstance(owner, Tensor) or name.endswith("_") or name == "backward":
            _give_up(f"a call of the method {name}")
        return operate(name, [owner, *values], self.modes) if name in LOWER | ELEMENTWISE else UNKNOWN


def _same(left: object, right: object) -> object:
    """Whether two dtypes are the same; any other comparison is unknown."""
    dtypes = all(isinstance(each, str) and each in _DTYPES for each in (left, right))
    return left == right if dtypes else UNKNOWN


def _dotted(node: ast.expr) -> str | None:
    """The dotted name of an attribute chain from a module, e.g. `torch.amp.autocast`; `F` stays `F`."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in _ROOTS and names:
        return ".".join([node.id, *reversed(names)])
    return None

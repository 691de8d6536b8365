"""A caller's move in a reproduction script: the function of the move, the caller it takes, and what is compared."""

from __future__ import annotations

import ast
from importlib.resources import files
from typing import TYPE_CHECKING

from conformance.model.moves import number_before
from conformance.triage.repro.observable import FACTS, STATE, numbers_differ
from conformance.triage.repro.program_text import arguments, local, modes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.moves import MoveSpec
    from conformance.model.request import Request
    from conformance.model.result import Difference
    from conformance.triage.repro.program_text import ProgramText

__all__ = ["MoveText"]

_NUMBER = 987_654_321  # of a call, in the text of arguments, until it is replaced

_CALLER = '''
class DoesNotApply(Exception):
    """The move cannot be made of these results."""


class Caller:
    """Makes calls on inputs of their own; `seen` is what it looks at, by path."""

    def __init__(self, function):
        self.callee, self.number, self.stage = function, FIRST, "at the call"
        self.seen, self.handed = {}, []
        for weight in weights().values():
            weight.grad = None
        self.renew()

    def renew(self):
        self.number += 1
        self.inputs = arguments(self.number)
        self.handed.append(self.inputs)
        return self.inputs

    def tensors(self):
        return {name: value for name, value in self.inputs.items() if isinstance(value, torch.Tensor)}

    def weights(self):
        return weights()

    def modules(self):
        return modules()

    def leaves(self):
        return {name: value for name, value in {**self.tensors(), **weights()}.items() if value.requires_grad}

    def function(self, *given):
        SEEDED
        return self.callee(*given)

    def call(self, *holding, through=None):
        self.stage = "at the call"
        with contextlib.ExitStack() as stack:
            for each in [MODES*holding]:
                stack.enter_context(each)
            result = (through or self.function)(*self.inputs.values())
        leaves, _ = pytree.tree_flatten_with_path(result, is_leaf=lambda node: node is None)
        return {"output" + pytree.keystr(path): leaf for path, leaf in leaves}

    def cotangent(self, path, value):
        return COTANGENT(value, f"SEED/{self.number}/first/{path}")

    def roots(self, results, *, at_least=1):
        tensors = {path: value for path, value in results.items() if isinstance(value, torch.Tensor)}
        found = {path: value for path, value in tensors.items() if value.requires_grad and value.grad_fn is not None}
        self.require(len(found) >= at_least)
        return found

    def backward(self, results, *, retain_graph=False):
        self.stage = "in backward"
        roots = self.roots(results)
        cotangents = [self.cotangent(path, value) for path, value in roots.items()]
        self.backward_with(list(roots.values()), cotangents, retain_graph=retain_graph)

    def backward_if_recorded(self, results):
        if any(isinstance(value, torch.Tensor) and value.grad_fn is not None for value in results.values()):
            self.backward(results)

    def backward_with(self, roots, cotangents, *, retain_graph=False):
        WITHOUT
        self.stage = "in backward"
        torch.autograd.backward(roots, cotangents, retain_graph=retain_graph)

    def grad(self, roots, targets, **options):
        cotangents = [self.cotangent(path, value) for path, value in roots.items()]
        return self.grad_with(list(roots.values()), targets, cotangents, **options)

    def grad_with(self, roots, targets, cotangents, **options):
        self.stage = "in backward"
        found = torch.autograd.grad(roots, list(targets.values()), cotangents, allow_unused=True, **options)
        return dict(zip(targets, found))

    def see(self, values, within=""):
        self.seen |= {within + path: read(value) for path, value in values.items()}

    def see_gradients(self, within="", of=None):
        every = {**self.tensors(), **weights()} if of is None else of
        held = {name: value.grad for name, value in every.items() if value.is_leaf or value.retains_grad}
        self.see({f"grad({name})": value for name, value in held.items()}, within)

    def see_all(self, results, within=""):
        self.see(results, within)
        self.see_gradients(within)

    def look_back(self):
        for place, handed in enumerate(self.handed):
            self.see({k: v for k, v in handed.items() if isinstance(v, torch.Tensor)}, f"after.call[{place}].")
        self.see(weights(), "after.")

    def require(self, holds):
        if not holds:
            raise DoesNotApply
'''
_COMPILED_AUTOGRAD = """
    def compiled_autograd(self):
        if self.callee is program:
            return contextlib.nullcontext()
        return torch._dynamo.compiled_autograd._enable(lambda graph: torch.compile(graph, backend=BACKEND))
"""
_COMPILED = """
    def compiled(self, function):
        return function if self.callee is program else torch.compile(function, backend=BACKEND)
"""
_HOLDERS = '''
def modules():
    """The modules of the setup."""
    return {name: globals()[name] for name in NAMES if isinstance(globals()[name], torch.nn.Module)}


def weights():
    """Parameters, buffers and tensors of the setup by name."""
    found = {}
    for name in NAMES:
        value = globals()[name]
        if isinstance(value, torch.nn.Module):
            found |= {f"{name}.{each}": tensor for each, tensor in value.named_parameters()}
            found |= {f"{name}.{each}": tensor for each, tensor in value.named_buffers()}
        elif isinstance(value, torch.Tensor):
            found[name] = value
    return found
'''


class MoveText:
    """The parts of a script that makes a move.

    Args:
        move: the move.
        first: what differs.
        request: the request of the record.
        program: its program.
    """

    def __init__(self, move: MoveSpec, first: Difference, request: Request, program: ProgramText) -> None:
        self._move, self._first, self._request, self._program = move, first, request, program
        self._call = request.case.calls[0]

    @property
    def differs(self) -> str:
        """The Python that says whether the two sides differ."""
        is_of_numbers = self._first.kind in {"values", "nonfinite"}
        return numbers_differ(self._first) if is_of_numbers else "compiled != uncompiled"

    def helpers(self) -> str:
        """The caller, its inputs and weights, and the move."""
        parts = (self._arguments(), self._weights(), self._read(), self._caller(), self._source())
        return "\n\n".join(part.strip("\n") + "\n" for part in parts)

    def run(self, plain: str) -> str:
        """The body of the function that makes the move.

        Args:
            plain: lines of the call that comes before it.
        """
        lines = ["kept = {name: weight.detach().clone() for name, weight in weights().items()}"]
        lines += [*plain.splitlines(), "for name, weight in weights().items():", "    weight.data.copy_(kept[name])"]
        lines += ["caller = Caller(function)", "try:", f"    {self._move.name}(caller)"]
        lines += ["except Exception as error:"]
        return "\n".join([*lines, *self._end()])

    def _end(self) -> Iterator[str]:
        if self._first.kind == "exception":
            yield '    return f"{kind(error)} {caller.stage}"'
            yield 'return "no exception"'
            return
        yield '    print("raised:", type(error).__name__, error)'
        if self._first.kind == "state":
            yield f"return {STATE[self._first.path.rpartition('.')[2]]}"
            return
        yield "caller.look_back()"
        yield f'return caller.seen.get({self._first.path!r}, "absent")'

    def _arguments(self) -> str:
        lines = ["def arguments(number):", '    """The inputs of a call."""']
        if any(spec.maker for spec in self._request.case.inputs.values()):
            lines += [f'    given = made(f"{self._request.seed}/{{number}}")']
        numbered = f'"{self._request.seed}/{_NUMBER}/', f'f"{self._request.seed}/{{number}}/'
        lines += [f"    {line.replace(*numbered)}" for line in arguments(self._request, self._call, _NUMBER)]
        returned = ", ".join(f'"{name}": {local(name)}' for name in self._request.case.inputs)
        return "\n".join([*lines, f"    return {{{returned}}}\n"])

    def _weights(self) -> str:
        return f"NAMES = {self._program.names!r}\n\n{_HOLDERS}"

    def _read(self) -> str:
        kind = self._first.kind
        shown = FACTS[kind].format("value") if kind in FACTS else "value.detach().clone()"
        shown = '"a tensor"' if kind in {"value", "presence"} else shown
        return f"def read(value):\n    return {shown} if isinstance(value, torch.Tensor) else value\n"

    def _caller(self) -> str:
        held = "".join(f"{each}, " for each in modes(self._request, self._call, self._program.text))
        seed = self._request.seed
        seeded = f"torch.manual_seed({seed} + self.number)" if self._program.draws else ""
        text = _CALLER.replace("MODES", held).replace("COTANGENT", self._program.cotangent)
        without = "" if self._call.backward else "return  # as the call of the case does"
        for place, line in {"SEEDED": seeded, "WITHOUT": without}.items():
            text = text.replace(f"        {place}\n", f"        {line}\n" if line else "")
        text += _COMPILED_AUTOGRAD * (self._move.name == "compiled_autograd")
        text += _COMPILED * (self._move.name == "compiled_within")
        return f"FIRST = {number_before(self._move.name)}\n\n{text.replace('SEED/', f'{seed}/')}"

    def _source(self) -> str:
        """The move, and what it needs of its module."""
        text = (files("conformance.observation.moves") / f"{self._move.home}.py").read_text(encoding="utf-8")
        own = {name: node for node in ast.parse(text).body for name in _names(node)}
        needed, pending = [], [self._move.name]
        while pending:
            name = pending.pop()
            if name in own and own[name] not in needed:
                needed.append(own[name])
                pending += [each.id for each in ast.walk(own[name]) if isinstance(each, ast.Name)]
        ordered = sorted(needed, key=lambda node: (not isinstance(node, ast.Import | ast.ImportFrom), node.lineno))
        return "\n\n".join(ast.unparse(_Plain().visit(node)) for node in ordered)


def _names(node: ast.stmt) -> list[str]:
    """What a statement of a module binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


class _Plain(ast.NodeTransformer):
    """Drops annotations, which only this project's own modules can name."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

"""The parts of a reproduction script: its program, its arguments, and the functions it needs."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from textwrap import indent
from typing import TYPE_CHECKING

from conformance.catalogue.specification import clauses
from conformance.model.case import CONTINUOUS, contiguous, requires_grad, whole_bounds
from conformance.model.device import DEVICE
from conformance.model.enums import Capability
from conformance.model.errors import UsageError
from conformance.program import build, parsing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.case import Call, InputSpec, Scalar
    from conformance.model.request import Request

__all__ = ["HELPERS", "ProgramText", "arguments", "clause", "helpers", "local", "modes"]

HELPERS: Mapping[str, str] = {
    "stream": '''
def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))
''',
    "special": '''
def special(numbers, generator):
    """Put infinite numbers, NaN and zeros in place of a third of the numbers, at least one."""
    count = -(-numbers.numel() // 3)
    places = torch.randperm(numbers.numel(), generator=generator)[:count]
    values = [math.nan, math.inf, -math.inf, 0.0, -0.0]
    numbers.view(-1)[places] = torch.tensor(values, dtype=numbers.dtype).repeat(count)[:count]
    return numbers
''',
    "uniform": """
def uniform(shape, start, end, generator, is_complex=False):
    real = torch.rand(shape, generator=generator, dtype=torch.float64) * (end - start) + start
    return real + 1j * uniform(shape, start, end, generator) if is_complex else real
""",
    "cotangent": """
def cotangent(result, name):
    generator = stream(name)
    signs = torch.randint(0, 2, result.shape, generator=generator) * 2 - 1
    return (torch.randint(1, 33, result.shape, generator=generator) * signs / 16).to(result.dtype)
""",
    "complex_cotangent": """
def complex_cotangent(result, name):
    def sixteenths():
        signs = torch.randint(0, 2, result.shape, generator=generator) * 2 - 1
        return (torch.randint(1, 33, result.shape, generator=generator) * signs).double() / 16

    generator = stream(name)
    return (sixteenths() + 1j * sixteenths() if result.is_complex() else sixteenths()).to(result.dtype)
""",
    "differentiable": '''
def differentiable(output):
    """The results that have a history, by path."""
    leaves, _ = pytree.tree_flatten_with_path(output)
    tensors = {"output" + pytree.keystr(path): leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)}
    return {path: leaf for path, leaf in tensors.items() if leaf.requires_grad and leaf.grad_fn is not None}
''',
    "backward": '''
def backward(output, call):
    """Go backward from all results at once, with random cotangents, which are returned."""
    results = differentiable(output)
    cotangents = {path: COTANGENT(leaf, f"{call}/first/{path}") for path, leaf in results.items()}
    if results:
        torch.autograd.backward(list(results.values()), list(cotangents.values()))
    return cotangents
''',
    "backward_twice": '''
def backward_twice(output, call, leaves):
    """Gradients, and gradients of them, by name of the leaf, for random cotangents."""
    results = differentiable(output)
    kept = {name: leaf for name, leaf in leaves.items() if leaf.is_leaf or leaf.retains_grad}
    leaves = {name: leaf for name, leaf in kept.items() if leaf.requires_grad}
    if not results:
        return {}, {}
    targets = list(leaves.values())
    cotangents = [COTANGENT(leaf, f"{call}/first/{path}") for path, leaf in results.items()]
    first = torch.autograd.grad(list(results.values()), targets, cotangents, create_graph=True, allow_unused=True)
    again = {name: value for name, value in zip(leaves, first) if value is not None and value.requires_grad}
    if not again:
        return dict(zip(leaves, first)), {}
    cotangents = [COTANGENT(value, f"{call}/second/grad({name})") for name, value in again.items()]
    second = torch.autograd.grad(list(again.values()), targets, cotangents, allow_unused=True)
    return dict(zip(leaves, first)), dict(zip(leaves, second))
''',
    "perturb": '''
def perturb(name, *parameters):
    """Double or halve every weight, at random; make 1/16 of zero."""
    generator = stream(name)
    with torch.no_grad():
        for parameter in parameters:
            factor = (torch.randint(0, 2, parameter.shape, generator=generator) * 1.5 + 0.5).to(parameter.dtype)
            parameter.copy_(torch.where(parameter == 0, 0.0625, parameter * factor))
''',
    "weights_of": """
def weights_of(value):
    if isinstance(value, torch.nn.Module):
        return list(value.parameters())
    return [value] if isinstance(value, torch.nn.Parameter) else []
""",
    "double_in_place": '''
def double_in_place(output):
    """Scale results in place, as a caller may."""
    for value in pytree.tree_leaves(output):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value.mul_(2)
''',
    "kind": '''
def kind(error):
    """The nearest built-in class of an exception."""
    return next(each.__name__ for each in type(error).__mro__ if each.__module__ == "builtins")
''',
    "relation": """
def relation(first, second):
    if first is second:
        return "same object"
    start = first.untyped_storage().data_ptr()
    return "same storage" if start and start == second.untyped_storage().data_ptr() else "unrelated"
""",
    "nonfinite": '''
def nonfinite(numbers):
    """Where they are NaN, infinite, and minus infinite."""
    parts = torch.view_as_real(numbers) if numbers.is_complex() else numbers
    return torch.stack([parts.isnan(), parts == math.inf, parts == -math.inf])
''',
    "count_breaks": '''
def count_breaks():
    """How many places Dynamo broke a graph at, with the functions that it gave up on for another reason."""
    stacks = [reason.user_stack for reason in torch._dynamo.utils.graph_break_reasons]
    places = {tuple((frame.filename, frame.lineno, frame.colno) for frame in stack[-1:]) for stack in stacks}
    broken = {(frame.filename, frame.name) for stack in stacks for frame in stack}
    frames = torch._dynamo.utils.get_compilation_metrics()
    return len(places) + len({(f.co_filename, f.co_name) for f in frames if f.fail_type == "Unsupported"} - broken)
''',
    "watched": '''
graphs = calls = returned_unchanged = 0


def watched(graph, inputs):
    """The backend, which counts the graphs it is given and the calls of what it makes of them."""
    global graphs, returned_unchanged

    def nodes():
        inner = [module.graph for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
        return [(node.op, node.target, node.args, node.kwargs) for each in inner for node in each.nodes]

    captured = nodes()
    compiled = torch._dynamo.lookup_backend(BACKEND)(graph, inputs)
    graphs += 1
    is_itself = compiled is graph or getattr(compiled, "__self__", None) is graph
    returned_unchanged += is_itself and nodes() == captured

    def counted(*arguments):
        global calls
        calls += 1
        return compiled(*arguments)

    return counted
''',
}
"""Functions of a script by name, in an order in which each needs only those before it."""

_OTHERS = """
    F arguments caller compiled concurrent contextlib earlier error function handed importlib io kept logging math
    module modules number os output printed program pytree given load loaded made random reached read run setup sizes
    spec sys threading torch twin uncompiled user version warnings weights zlib
"""
_RESERVED = frozenset({*HELPERS, *_OTHERS.split(), "graphs", "calls", "returned_unchanged"})
_DRAWS = re.compile(
    r"rand|drop|bernoulli|multinomial|normal|uniform|poisson|exponential|rrelu|rng|seed|\.nn\.[A-Z]|checkpoint|attention"
)
_COMPLEX = re.compile(r"complex|fft|stft|polar|\dj\b")
_LASTS = re.compile(r"set_grad_enabled\(|__enter__|= .*torch\.(no_grad|enable_grad|inference_mode)\(|__exit__")
_CASTS_LAST = re.compile(r"set_autocast_|(?s:autocast.*__enter__)")
_DIFFERENTIATES = re.compile(r"\.grad\b|backward|hook|optim|Function")


def helpers(text: str, cotangent: str = "cotangent") -> str:
    """The source of every helper that a text calls, and of those that these call.

    Args:
        text: what calls them.
        cotangent: the helper that makes cotangents.
    """
    needed: dict[str, str] = {}
    for name, source in reversed(list(HELPERS.items())):
        if re.search(rf"\b{name}\b", "".join([text, *needed.values()])):
            needed[name] = source.replace("COTANGENT", cotangent)
    return "\n".join(reversed(needed.values()))


@dataclass(frozen=True, kw_only=True)
class ProgramText:
    """The module of a program in three parts.

    Args:
        fixed: functions and classes of the setup before anything is computed.
        state: what the setup computes, with what follows it; it has to be run anew for each role.
        function: the definition of `program`.
        holders: modules and weights, as Python, besides those in the text of the state.
        is_opaque: whether the program calls what is not in these texts.
        requires: the capabilities that a backend needs for it.
    """

    fixed: str
    state: str
    function: str
    holders: tuple[str, ...] = ()
    is_opaque: bool = False
    requires: frozenset[Capability] = frozenset()

    @classmethod
    def of(cls, request: Request) -> ProgramText:
        """Take the module of a request apart.

        Raises:
            UsageError: its setup has a name that the script needs.
        """
        source = build.generate(request.case, request.variant).source
        lines, body = source.split("\n"), parsing.parse(source).body
        *setup, function = [node for node in body if not isinstance(node, ast.Import)]
        first = next((node for node in setup if not _is_fixed(node)), function)
        head = body[len(body) - len(setup) - 2].end_lineno or 0
        start, end = _start(first) - 1, _start(function) - 1
        parts = ["\n".join(part).strip("\n") for part in (lines[head:start], lines[start:end], lines[end:])]
        requires = request.case.requires | request.variant.requires
        return cls(fixed=parts[0], state=parts[1], function=parts[2], requires=requires).checked()

    def checked(self) -> ProgramText:
        """Itself.

        Raises:
            UsageError: a name of the setup is one that the script needs.
        """
        body = parsing.parse(self.fixed).body
        taken = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        if clash := sorted(_RESERVED.intersection([*taken, *self.names])):
            message = f"the script has its own {clash[0]}; give that of the setup another name"
            raise UsageError(message)
        return self

    @cached_property
    def text(self) -> str:
        """All of it, to search in."""
        return f"{self.fixed}\n{self.state}\n{self.function}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names that the changing part of the setup binds."""
        found = [name for node in parsing.parse(self.state).body for name in _bound(node)]
        return tuple(dict.fromkeys(found))

    @property
    def draws(self) -> bool:
        """Whether it may draw random numbers."""
        return self.is_opaque or Capability.RNG in self.requires or bool(_DRAWS.search(self.text))

    @property
    def cotangent(self) -> str:
        """The helper that makes cotangents for its results."""
        is_complex = self.is_opaque or Capability.COMPLEX in self.requires or _COMPLEX.search(self.text)
        return "complex_cotangent" if is_complex else "cotangent"

    @property
    def differentiates(self) -> bool:
        """Whether what an earlier backward did may change what a later call does."""
        return self.is_opaque or bool(_DIFFERENTIATES.search(self.text))

    def setup(self, seed: int) -> str:
        """The function that makes the state anew; empty where there is none."""
        if not self.state:
            return ""
        seeded = f"    torch.manual_seed({seed})\n" if self.draws else ""
        return f"def setup():\n    global {', '.join(self.names)}\n{seeded}{indent(self.state, ' ' * 4)}\n"

    def parameters(self) -> tuple[str, ...]:
        """Expressions for the weights among the state: `*net.parameters()`, `w`."""
        if self.is_opaque:
            return tuple(f"*weights_of({each})" for each in self.holders)
        values = dict(pair for node in parsing.parse(self.state).body for pair in _assigned(node))
        found = ((name, self._sort(values[name])) for name in self.names if name in values)
        forms = {"module": "*{}.parameters()", "parameter": "{}", "unknown": "*weights_of({})"}
        return tuple(forms[sort].format(name) for name, sort in found if sort in forms)

    def _sort(self, value: ast.expr) -> str:
        if not isinstance(value, ast.Call):
            return "plain" if isinstance(value, (ast.Constant, ast.List, ast.Dict)) else "unknown"
        called = ast.unparse(value.func)
        if called == "torch.nn.Parameter":
            return "parameter"
        own = re.search(rf"class {re.escape(called)}\(.*Module", self.text)
        if own or re.fullmatch(r"torch\.nn\.[A-Z]\w*", called):
            return "module"
        return "plain" if called.startswith(("torch.", "F.")) else "unknown"


def _argument(name: str, request: Request, call: Call, index: int) -> str:
    """The Python that makes one argument of a call, with the numbers that every role of the request gets."""
    spec, variant = request.case.inputs[name], request.variant
    if spec.maker:
        return f'given["{name}"]'
    if spec.scalar is not None:
        return repr(call.scalars.get(name, spec.scalar))
    if spec.alias_of:
        return local(spec.alias_of)
    if spec.view_of:
        return f"{local(spec.view_of)}.{_view(spec)}"
    sizes = call.shapes.get(name, spec.shape)
    shape = tuple(int(variant.params[size]) if isinstance(size, str) else size for size in sizes)
    dtype = spec.dtype or call.dtype or variant.dtype
    numbers = _numbers(name, shape, dtype, request, f'stream("{request.seed}/{index}/{name}")')
    if spec.stride is not None and shape == spec.shape:
        numbers = f"torch.empty_strided({shape}, {spec.stride}, dtype=torch.{dtype}).copy_({numbers})"
    recorded = _requires_grad(name, request, call)
    if spec.inference:
        return f"torch.inference_mode()(torch.clone)({numbers})"
    return numbers + ".requires_grad_()" * recorded + " * 1" * (recorded and not spec.leaf)


def _requires_grad(name: str, request: Request, call: Call) -> bool:
    spec = request.case.inputs[name]
    return requires_grad(name, spec, call, spec.dtype or call.dtype or request.variant.dtype)


def _view(spec: InputSpec) -> str:
    sizes = [int(size) for size in spec.shape]
    stride = spec.stride or contiguous(sizes)
    return f"as_strided({tuple(sizes)}, {tuple(stride)}, {spec.offset})"


def arguments(request: Request, call: Call, index: int) -> Iterator[str]:
    """The lines that make the arguments of a call, those that share memory with another one after it."""
    inputs = request.case.inputs
    for name in sorted(inputs, key=lambda name: inputs[name].base is not None):
        yield f"{local(name)} = {_argument(name, request, call, index)}"
        own = inputs[name].view_of or name
        if (inputs[name].view_of or not inputs[name].leaf) and _requires_grad(own, request, call):
            yield f"{local(name)}.retain_grad()"


def _numbers(name: str, shape: tuple[int, ...], dtype: str, request: Request, stream: str) -> str:
    spec = request.case.inputs[name]
    sizes = ", ".join(map(str, shape)) or "()"
    whole = not dtype.startswith(CONTINUOUS)
    if spec.values is not None:
        shaped = "" if shape == (len(spec.values),) else f".reshape({sizes})"
        numbers = ", ".join(map(_literal, spec.values))
        return f"torch.tensor([{numbers}], dtype=torch.float64){shaped}{_cast(dtype)}"
    if spec.distribution == "integers" or whole:
        low, high = whole_bounds(spec, is_bool=dtype == "bool")
        return f"torch.randint({low}, {high}, {shape}, generator={stream}).to(torch.{dtype})"
    if spec.distribution in {"uniform", "special"}:
        return _bounded(spec, shape, dtype, stream)
    wide = "complex128" if dtype.startswith("complex") else "float64"
    made = f"torch.randn({sizes}, generator={stream}, dtype=torch.{wide})"
    return made if dtype == wide else made + _cast(dtype)


def _literal(value: Scalar) -> str:
    return f'float("{value}")' if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _bounded(spec: InputSpec, shape: tuple[int, ...], dtype: str, stream: str) -> str:
    """Numbers of the distributions `uniform` and `special`."""
    start, end = 0.0 if spec.low is None else spec.low, 1.0 if spec.high is None else spec.high
    is_special, is_complex = spec.distribution == "special", dtype.startswith("complex")
    generator = "generator" if is_special else stream
    if is_special or is_complex:
        made = f"uniform({shape}, {start}, {end}, {generator}{', is_complex=True' * is_complex})"
        made = f"special({made}, {generator})".replace("generator", f"generator := {stream}", 1) if is_special else made
        return made + _cast(dtype)
    made = f"torch.rand({', '.join(map(str, shape)) or '()'}, generator={stream}, dtype=torch.float64)"
    return f"({made} * {end - start} + {start}){_cast(dtype)}"


def _cast(dtype: str) -> str:
    return "" if dtype == "float64" else {"float32": ".float()"}.get(dtype, f".to(torch.{dtype})")


def modes(request: Request, call: Call, text: str) -> list[str]:
    """The context managers in which the caller makes a call; `text` is the program's."""
    grad, autocast = call.grad or request.variant.grad, call.autocast or request.variant.autocast
    # Where the program itself may set a mode for good, the caller's region is what ends it.
    regions = {"disabled": ["torch.no_grad()"], "inference": ["torch.inference_mode()"]}
    default = ["torch.enable_grad()"] if _LASTS.search(text) else []
    uncast = [f'torch.autocast("{DEVICE}", enabled=False)'] if _CASTS_LAST.search(text) else []
    cast = uncast if autocast == "off" else [f'torch.autocast("{DEVICE}", dtype=torch.{autocast})']
    return regions.get(grad, default) + cast


def local(name: str) -> str:
    """The variable that holds an input."""
    return f"{name}_" if name in _RESERVED else name


def clause(name: str) -> str:
    """The text of a clause of the specification, on one line; empty where there is none of that name."""
    place = clauses().get(name)
    if place is None:
        return ""
    lines = (files("conformance.cases") / "SPEC.md").read_text(encoding="utf-8").split("\n")[place.line - 1 :]
    rest = _while_indented(lines[1:])
    text = " ".join([lines[0].partition("** ")[2], *(line.strip() for line in rest)])
    return text.partition(" *")[0]


def _while_indented(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("  "):
            return
        yield line


def _is_fixed(node: ast.stmt) -> bool:
    """Whether a statement of the setup means the same however often it is run."""
    if isinstance(node, ast.ClassDef):
        return all(isinstance(each, (ast.FunctionDef, ast.Expr, ast.Pass)) for each in node.body)
    return isinstance(node, ast.FunctionDef)


def _start(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
    return min([node.lineno, *(each.lineno for each in decorators)])


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
        return
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield target.id, node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=False)
            yield from ((element.id, value) for element, value in pairs if isinstance(element, ast.Name))


def as_twin(request: Request) -> Request:
    """The request with the other program of its case."""
    return replace(request, case=replace(request.case, program=request.case.twin, twin=""))

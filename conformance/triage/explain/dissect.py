"""Child side: a failing request once more, its captured graphs kept and run node by node against the uncompiled one."""

# ruff: noqa: SLF001 - what Dynamo keeps of a compiled frame has no public name

from __future__ import annotations

import contextlib
import inspect
import re
import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from conformance.backend.resolution import patched, resolve
from conformance.model.device import DEVICE
from conformance.model.enums import Stage
from conformance.observation import ambient, graph_breaks, inputs, seeding, torch_names
from conformance.observation.driver import Role, perform
from conformance.observation.evidence import compile_with
from conformance.observation.tolerance import CLOSE, FACTOR
from conformance.program import build
from conformance.triage.explain.dissection import CapturedGraph, Dissection, Listing, NodeDifference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    from conformance.backend import Backend
    from conformance.model.request import Request

__all__ = ["run"]

_MOST = 400  # guards
_NO_GUARD = re.compile(
    # Names of levels, and guards that every frame has.
    r"(Root)?GuardManager|TREE_GUARD_MANAGER|DIMENSION_DYNAMIC_MARKING_GUARD|TORCH_FUNCTION_MODE_STACK|DEFAULT_DEVICE"
    r"|LAMBDA_GUARD: torch._functorch.aot_autograd|ID_MATCH: ___check_obj_id\(G\['torch'\]|NO_TENSOR_ALIASING$"
)
_STATE = re.compile(r'GLOBAL_STATE: .*"enabled":\[(\w+).*"grad_mode":(\w+).*')


@dataclass(kw_only=True)
class _Kept:
    """A graph as it was handed to the backend, and what it was first called with, under which modes."""

    graph: torch.fx.GraphModule
    arguments: list[Any] | None = None
    grad: bool = True
    inference: bool = False
    autocast: bool = False
    low: torch.dtype = torch.bfloat16

    @contextlib.contextmanager
    def modes(self) -> Iterator[None]:
        """The modes it was first called under."""
        with (
            torch.inference_mode(self.inference),
            torch.set_grad_enabled(self.grad),
            torch.autocast(DEVICE, dtype=self.low, enabled=self.autocast),
        ):
            yield


@dataclass(kw_only=True)
class _Keeper:
    """A compiler that keeps each graph and leaves the work to the backend's."""

    compiler: Callable[..., Any]
    kept: list[_Kept] = field(default_factory=list)

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: list[Any], **options: Any) -> Any:  # noqa: ANN401
        """Compile as the backend does."""
        kept = _Kept(graph=_same(graph))
        self.kept.append(kept)
        compiled = self.compiler(graph, example_inputs, **options)

        def called(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the graph takes and gives
            if kept.arguments is None:
                kept.grad, kept.inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                kept.autocast, kept.low = torch.is_autocast_enabled(DEVICE), torch.get_autocast_dtype(DEVICE)
                kept.arguments = _fresh(arguments)
            return compiled(*arguments)

        return called


def run(request: Request, report: Callable[[Stage], None]) -> Dissection:
    """Drive a request's program compiled, then look for the first node that differs in each graph.

    Args:
        request: the one that fails.
        report: called with each stage as it begins.
    """
    report(Stage.COMPILE)
    backend = resolve(request.backend.ref)
    seeding.seed_default(request.seed)
    generated = build.generate(request.case, request.variant)
    module = generated.load()
    graph_breaks.forget()
    with patched({**backend.patches, "_functorch.config.donated_buffer": False}):
        keeper = _Keeper(compiler=_compiler(backend))
        kept_by = replace(backend, factory=None, compile={**backend.compile, "backend": keeper})
        function = compile_with(kept_by, module.program, dynamic=request.variant.dynamic)
        with contextlib.suppress(Exception):  # what it leaves behind may keep the next call from being made
            perform(Role(request=request, module=module, function=function, report=report))
        report(Stage.COMPARE)
        listing = _listing(generated, module, request)
        graphs = tuple(_searched(kept, keeper.compiler, listing.file) for kept in keeper.kept)
    return Dissection(
        listing=listing,
        graphs=graphs,
        graph_breaks=graph_breaks.places(),
        guards=tuple(dict.fromkeys(_guards(module.program)))[:_MOST],
    )


def _listing(generated: build.Program, module: ModuleType, request: Request) -> Listing:
    """The function of a user, where the program calls one that has a source."""
    if user := request.case.function:
        called = getattr(module, user.callee)
        with contextlib.suppress(OSError, TypeError):
            code = inspect.unwrap(type(called) if isinstance(called, torch.nn.Module) else called)
            lines, start = inspect.getsourcelines(code)
            return Listing(file=inspect.getsourcefile(code) or "", text=textwrap.dedent("".join(lines)), line=start)
    return Listing(file=generated.filename, text=generated.source)


def _compiler(backend: Backend) -> Callable[..., Any]:
    named = backend.compile.get("backend", backend.name)
    return torch._dynamo.lookup_backend(named) if isinstance(named, str) else named  # type: ignore[return-value]


def _same(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A copy of the nodes; modules and weights are shared."""
    copied = torch.fx.Graph()
    copied.output(copied.graph_copy(graph.graph, {}))
    return torch.fx.GraphModule(graph, copied)


def _fresh(arguments: Sequence[Any]) -> list[Any]:
    """Copies of arguments as they are now: new leaves with the same `requires_grad`."""
    with torch.inference_mode(False), torch.no_grad():
        return [
            value.detach().clone().requires_grad_(value.requires_grad and not value.is_inference())
            if isinstance(value, torch.Tensor)
            else value
            for value in arguments
        ]


def _searched(kept: _Kept, compiler: Callable[..., Any], filename: str) -> CapturedGraph:
    text = kept.graph.print_readable(print_output=False)
    if kept.arguments is None:
        return CapturedGraph(text=text, searched="the graph was never run")
    base = ambient.capture()
    try:
        found = _first(kept, compiler, filename)
    except Exception as error:  # noqa: BLE001 - what cannot be taken apart is reported
        message = str(error).strip().partition("\n")[0]
        return CapturedGraph(
            text=text, searched=f"with each value returned, it raised {type(error).__name__}: {message}"
        )
    finally:
        ambient.restore(base)
    why = "" if found else "with each value returned, all are as uncompiled: the difference needs the graph as it was"
    return CapturedGraph(text=text, difference=found, searched=why)


def _first(kept: _Kept, compiler: Callable[..., Any], filename: str) -> NodeDifference | None:
    """The first node whose value differs, else the first whose gradient does."""
    graph, nodes = _returning_all(kept.graph)
    assert kept.arguments is not None  # noqa: S101 - the caller has looked
    expected_arguments, actual_arguments = _fresh(kept.arguments), _fresh(kept.arguments)
    with kept.modes():
        expected = graph(*expected_arguments)
    with kept.modes():
        actual = compiler(_same(graph), actual_arguments)(*actual_arguments)
    values = list(zip(nodes, pytree.tree_leaves(list(actual)), pytree.tree_leaves(list(expected)), strict=True))
    for node, value, expected_value in values:
        for kind, actual_text, expected_text in _facts(value, expected_value):
            return _difference(node, "forward", kind, actual_text, expected_text, filename)
    for place, (node, value, expected_value) in enumerate(values):
        for kind, actual_text, expected_text in _gradients(
            value, expected_value, actual_arguments, expected_arguments, place
        ):
            return _difference(node, "backward", kind, actual_text, expected_text, filename)
    return None


def _returning_all(graph: torch.fx.GraphModule) -> tuple[torch.fx.GraphModule, list[torch.fx.Node]]:
    """The graph with every tensor that a node computes among its results."""
    copied = _same(graph)
    nodes = [node for node in copied.graph.nodes if _is_tensor(node)]
    output = next(node for node in copied.graph.nodes if node.op == "output")
    output.args = (tuple(nodes),)
    copied.recompile()
    return copied, nodes


def _is_tensor(node: torch.fx.Node) -> bool:
    return node.op not in {"placeholder", "output"} and isinstance(node.meta.get("example_value"), torch.Tensor)


def _facts(actual: torch.Tensor, expected: torch.Tensor) -> Iterator[tuple[str, str, str]]:
    """The differences between two values: the kind, and both as text."""
    readers: Mapping[str, Callable[[torch.Tensor], object]] = {
        "shape": lambda value: tuple(value.shape),
        "dtype": lambda value: value.dtype,
        "is_inference": lambda value: value.is_inference(),
        "requires_grad": lambda value: value.requires_grad,
    }
    for kind, read in readers.items():
        if read(actual) != read(expected):
            yield kind, str(read(actual)), str(read(expected))
            return
    if not _near(actual.detach(), expected.detach()):
        yield "values", _words(actual), _words(expected)


def _near(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether numbers agree within the tolerance of their dtype."""
    if expected.dtype not in CLOSE:
        return torch.equal(actual, expected)
    relative, absolute = (FACTOR * bound for bound in CLOSE[expected.dtype])
    return torch.allclose(actual, expected, rtol=relative, atol=absolute, equal_nan=True)


def _gradients(
    actual: torch.Tensor,
    expected: torch.Tensor,
    actual_arguments: Sequence[Any],
    expected_arguments: Sequence[Any],
    place: int,
) -> Iterator[tuple[str, str, str]]:
    if actual.grad_fn is None or expected.grad_fn is None:
        return  # a view of a leaf that no_grad has made requires gradients and has none
    cotangent = inputs.cotangent(expected.detach(), seeding.stream(0, place))
    for gradient, expected_gradient in zip(
        _backward(actual, cotangent, actual_arguments), _backward(expected, cotangent, expected_arguments), strict=True
    ):
        if not _near(gradient, expected_gradient):
            yield "gradient", _words(gradient), _words(expected_gradient)


def _backward(value: torch.Tensor, cotangent: torch.Tensor, arguments: Sequence[Any]) -> Sequence[torch.Tensor]:
    """Gradients; zeros where there is none, since a graph with further results may give either."""
    leaves = [leaf for leaf in arguments if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if not leaves:
        return ()
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        value, leaves, cotangent, retain_graph=True, allow_unused=True
    )
    return [
        torch.zeros_like(leaf) if gradient is None else gradient for leaf, gradient in zip(leaves, found, strict=True)
    ]


def _words(value: torch.Tensor) -> str:
    numbers = value.detach().flatten()[:4].tolist()
    more = ", ..." if value.numel() > len(numbers) else ""
    return f"[{', '.join(f'{number:.6g}' for number in numbers)}{more}]"


def _difference(  # noqa: PLR0917
    node: torch.fx.Node, stage: str, kind: str, actual: str, expected: str, filename: str
) -> NodeDifference:
    lines = re.findall(rf'File "{re.escape(filename)}", line (\d+)', str(node.meta.get("stack_trace", "")))
    return NodeDifference(
        node=node.name,
        target=getattr(node.target, "__name__", str(node.target)),
        stage=stage,
        kind=kind,
        actual=actual,
        expected=expected,
        line=int(lines[-1]) if lines else 0,
    )


def _guards(function: Callable[..., Any]) -> Iterator[str]:
    """The guards of the compiled code of a function, a line each."""
    entries: Any = torch_names.find("torch._dynamo.eval_frame._debug_get_cache_entry_list")
    for entry in entries(function.__code__) if entries else ():
        for line in str(entry.guard_manager).split("\n"):
            guard = re.sub(r"^[| ]*\+- ", "", line).partition("  # ")[0].strip()
            if guard and not _NO_GUARD.match(guard):
                yield _STATE.sub(r"GLOBAL_STATE: grad_mode \2, autocast of the CPU \1", guard)

"""Proof that a backend compiled something: its compiler is watched, and Dynamo's own counters are read."""

# ruff: noqa: SLF001 - compile ids and Inductor's wrapper have no public name

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.utils import counters

from conformance.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.backend import Backend

__all__ = ["Watched", "compile_with", "has_compiled_backward"]


_MODES = (
    torch._C._set_grad_enabled,
    torch.autograd.grad_mode._enter_inference_mode,
    torch.amp.autocast_mode._enter_autocast,
)
"""What a captured graph calls to set a mode."""


class Watched:
    """A backend's compiler that counts the graphs it is given and the calls of what it returns."""

    def __init__(self, compiler: Callable[..., Any], name: str) -> None:
        self.__name__ = name
        self._compiler = compiler
        self.graphs = 0
        self.handed_back = 0
        self.mode_nodes = 0
        self.calls = 0
        self.recompiled: set[object] = set()
        if hasattr(compiler, "get_compiler_config"):
            self.get_compiler_config = compiler.get_compiler_config
        counters.clear()

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: list[torch.Tensor], **options: Any) -> Any:  # noqa: ANN401
        """Compile as the backend does, and count."""
        self.graphs += 1
        self.mode_nodes += _mode_nodes(graph)
        compile_id = torch._guards.CompileContext.current_compile_id()
        if compile_id is not None and compile_id.frame_compile_id:
            self.recompiled.add(compile_id)
        captured = _written(graph)
        compiled = self._compiler(graph, example_inputs, **options)
        self.handed_back += _runs(compiled, graph) and _written(graph) == captured
        return self._counted(compiled) if callable(compiled) else compiled

    def _counted(self, compiled: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:  # noqa: ANN401 - whatever the graph takes and gives
            self.calls += 1
            return compiled(*args)

        return counted

    def evidence(self, *, compiled_backward: bool) -> Evidence:
        """What has been seen since this watch began."""
        frames = counters["frames"]
        return Evidence(
            graphs=self.graphs,
            backend_calls=self.calls,
            graph_breaks=sum(counters["graph_break"].values()),
            recompiles=len(self.recompiled),
            frames_skipped=frames["total"] - frames["ok"],
            compiled_backward=compiled_backward,
            mode_nodes=self.mode_nodes,
            handed_back=self.handed_back,
        )


def _runs(compiled: object, graph: torch.fx.GraphModule) -> bool:
    """Whether what a backend made is the graph itself, or a method of it."""
    return compiled is graph or getattr(compiled, "__self__", None) is graph


def _written(graph: torch.fx.GraphModule) -> list[tuple[object, ...]]:
    """What a graph computes; its text would say so too, but is made anew each time."""
    return [(node.op, node.target, node.args, node.kwargs) for node in graph.graph.nodes]


def _mode_nodes(graph: torch.fx.GraphModule) -> int:
    """How many nodes of a graph, and of the graphs inside it, set a mode."""
    inner = [module for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
    return sum(node.target in _MODES for module in inner for node in module.graph.nodes)


def compile_with(
    backend: Backend, function: Callable[..., Any], *, dynamic: bool | None
) -> tuple[Callable[..., Any], Watched]:
    """`torch.compile` a function as the backend declares, under watch.

    Raises:
        torch._dynamo.exc.InvalidBackend: torch does not know the backend.
    """
    settings: dict[str, Any] = {"backend": backend.name, **backend.compile}
    compiler = settings.pop("backend")
    if compiler == "inductor":
        # torch.compile treats this one name apart: options and mode become configuration of Inductor.
        mode, options = settings.pop("mode", None), settings.pop("options", None)
        compiler = torch._TorchCompileInductorWrapper(mode, options, dynamic)  # type: ignore[no-untyped-call]
    elif isinstance(compiler, str):
        compiler = torch._dynamo.lookup_backend(compiler)
    watched = Watched(compiler, backend.name)
    return torch.compile(function, backend=watched, dynamic=dynamic, **settings), watched


def has_compiled_backward(results: Iterable[object]) -> bool:
    """Whether the autograd graph behind results holds a node that AOTAutograd compiled."""
    pending = [value.grad_fn for value in results if isinstance(value, torch.Tensor) and value.grad_fn is not None]
    seen: set[object] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        if type(node).__name__ == "CompiledFunctionBackward":
            return True
        seen.add(node)
        pending += [parent for parent, _ in node.next_functions if parent is not None]
    return False

"""Proof that a backend compiled something, counted from outside: Dynamo is given what a user gives it.

What Dynamo hands to backends, and what code calls that it generates, is looked at in two methods of its own
(`torch_names.py` lists them); its counters are read. Neither the backend, its wrapper nor what it returns is replaced.
"""

# ruff: noqa: SLF001 - what Dynamo does between a frame and its backend has no public name

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import torch
from torch._dynamo.decorators import skip
from torch._dynamo.output_graph import OutputGraph
from torch._dynamo.utils import (
    clear_compilation_metrics,
    counters,
    get_compilation_metrics,
    graph_break_reasons,
)

from conformance.model.result import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.backend import Backend

__all__ = ["GraphWatch", "Watch", "compile_with", "has_compiled_backward"]


_MODES = (
    torch._C._set_grad_enabled,
    torch.autograd.grad_mode._enter_inference_mode,
    torch.amp.autocast_mode._enter_autocast,
)
"""What a captured graph calls to set a mode."""


class GraphWatch:
    """Counts the graphs that Dynamo hands to backends within it; a context manager that can be entered again.

    What is compiled within it runs afterwards as it would have without.
    """

    def __init__(self) -> None:
        self.graphs = 0
        self.returned_unchanged = 0
        self.mode_nodes = 0
        self._recompiled: set[object] = set()
        for kept in (counters.clear, graph_break_reasons.clear, clear_compilation_metrics):
            kept()

    def __enter__(self) -> Self:
        compile_graph = OutputGraph.call_user_compiler

        def watched(graph: OutputGraph, module: torch.fx.GraphModule, example_inputs: list[torch.Tensor]) -> Any:  # noqa: ANN401 - what a backend returns
            self._see(module)
            captured = _written(module)
            compiled = compile_graph(graph, module, example_inputs)
            self.returned_unchanged += _runs(compiled, module) and _written(module) == captured
            return compiled

        self._patch = mock.patch.object(OutputGraph, "call_user_compiler", watched)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    @property
    def recompiles(self) -> int:
        """How many of the graphs are of code that had been compiled before."""
        return len(self._recompiled)

    @property
    def graph_breaks(self) -> int:
        """How many places Dynamo broke a graph at, with the functions that it gave up for another.

        It meets a break in a function that it inlines once more in each of its callers, and counts it there too.
        """
        stacks = [reason.user_stack for reason in graph_break_reasons]
        places = {tuple((frame.filename, frame.lineno, frame.colno) for frame in stack[-1:]) for stack in stacks}
        broken = {(frame.filename, frame.name) for stack in stacks for frame in stack}
        return len(places) + len(_given_up() - broken)

    def _see(self, module: torch.fx.GraphModule) -> None:
        self.graphs += 1
        self.mode_nodes += _mode_nodes(module)
        compile_id = torch._guards.CompileContext.current_compile_id()
        if compile_id is not None and compile_id.frame_compile_id:
            self._recompiled.add(compile_id)


class Watch(GraphWatch):
    """Counts too how often what backends returned is called; the count goes on after it is left."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        super().__enter__()
        install = OutputGraph.install_global_unsafe

        def watched(graph: OutputGraph, name: str, value: Any) -> None:  # noqa: ANN401 - any global of a program
            install(graph, name, self._counted(value) if name in self._names else value)

        self._installs = mock.patch.object(OutputGraph, "install_global_unsafe", watched)
        self._installs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._installs.stop()
        super().__exit__()

    def _see(self, module: torch.fx.GraphModule) -> None:
        super()._see(module)
        self._names.add(module.meta["backend_id"])  # what the generated code calls it

    def _counted(self, compiled: Callable[..., Any]) -> Callable[..., Any]:
        """What generated code calls in place of the function that Dynamo made of what a backend returned."""

        @skip  # it is called from compiled code, and Dynamo would look into it
        def counted(*args: Any) -> Any:  # noqa: ANN401 - whatever the graph takes and gives
            self.calls += 1
            return compiled(*args)

        return counted

    def evidence(self, *, compiled_backward: bool) -> Evidence:
        """What has been seen since this watch was made."""
        frames = counters["frames"]
        return Evidence(
            graphs=self.graphs,
            backend_calls=self.calls,
            graph_breaks=self.graph_breaks,
            recompiles=self.recompiles,
            frames_skipped=frames["total"] - frames["ok"],
            compiled_backward=compiled_backward,
            mode_nodes=self.mode_nodes,
            returned_unchanged=self.returned_unchanged,
        )


def _given_up() -> set[tuple[str | None, str | None]]:
    """File and name of each function that Dynamo leaves to Python for a break in it, as one in a loop."""
    frames = get_compilation_metrics()
    return {(frame.co_filename, frame.co_name) for frame in frames if frame.fail_type == "Unsupported"}


def _runs(compiled: object, graph: torch.fx.GraphModule) -> bool:
    """Whether what a backend made is the graph itself, or a method of it."""
    return compiled is graph or getattr(compiled, "__self__", None) is graph


def _written(graph: torch.fx.GraphModule) -> list[object]:
    """What a graph and the modules in it run, equal where nothing was changed.

    Their nodes and what was put in place of their own `forward`; the text of it takes 70 times as long to make.
    """
    modules = dict(graph.named_modules(remove_duplicate=False))
    return [(name, module, vars(module).get("forward"), _nodes(module)) for name, module in modules.items()]


def _nodes(module: torch.nn.Module) -> list[object]:
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    return [(node.op, node.target, node.args, node.kwargs) for node in nodes]


def _mode_nodes(graph: torch.fx.GraphModule) -> int:
    """How many nodes of a graph, and of the graphs inside it, set a mode."""
    inner = [module for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
    return sum(node.target in _MODES for module in inner for node in module.graph.nodes)


def compile_with(backend: Backend, function: Callable[..., Any], *, dynamic: bool | None) -> Callable[..., Any]:
    """`torch.compile` a function as the backend declares.

    Raises:
        torch._dynamo.exc.InvalidBackend: torch does not know the backend.
    """
    settings: dict[str, Any] = {"backend": backend.name, **backend.compile}
    if isinstance(options := settings.get("options"), dict):
        settings["options"] = dict(options)  # torch.compile takes some of them out
    return torch.compile(function, dynamic=dynamic, **settings)


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

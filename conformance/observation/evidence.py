"""Evidence that a backend compiled something, counted from outside: torch.compile is called as a user calls it.

What Dynamo passes to backends, and what its generated code calls, is observed in two of its methods (listed in
`torch_names.py`); its counters are read. Neither the backend, its wrapper nor what it returns is replaced.
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
from conformance.observation import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.backend import Backend

__all__ = ["GraphWatch", "Watch", "compile_with", "has_compiled_backward"]


_MODES = (
    torch._C._set_grad_enabled,
    torch.autograd.grad_mode._enter_inference_mode,
    torch.amp.autocast_mode._enter_autocast,
)
"""Functions that a captured graph calls to set a mode."""


class GraphWatch:
    """Counts the graphs that Dynamo passes to backends within it; a reusable context manager.

    Code compiled within it runs afterwards as if compiled without it. `reached` names the kinds of guards and graphs.
    """

    def __init__(self) -> None:
        self.graphs = 0
        self.returned_unchanged = 0
        self.mode_nodes = 0
        self.reached: set[str] = set()
        self._recompiled: set[object] = set()
        for clear in (counters.clear, graph_break_reasons.clear, clear_compilation_metrics):
            clear()

    def __enter__(self) -> Self:
        compile_graph = OutputGraph.call_user_compiler

        def watched(graph: OutputGraph, module: torch.fx.GraphModule, example_inputs: list[torch.Tensor]) -> Any:  # noqa: ANN401 - what a backend returns
            self._record(module)
            self.reached.update(reached.of_guards(graph.guards), reached.of_graph(module))
            captured = _content(module)
            compiled = compile_graph(graph, module, example_inputs)
            self.returned_unchanged += _runs(compiled, module) and _content(module) == captured
            return compiled

        self._patch = mock.patch.object(OutputGraph, "call_user_compiler", watched)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    @property
    def recompiles(self) -> int:
        """The number of graphs of code that had been compiled before."""
        return len(self._recompiled)

    @property
    def graph_breaks(self) -> int:
        """The number of places at which Dynamo broke a graph, plus functions that it skipped for another reason.

        A break in an inlined function counts once more in each of its callers, as Dynamo counts it.
        """
        stacks = [reason.user_stack for reason in graph_break_reasons]
        places = {tuple((frame.filename, frame.lineno, frame.colno) for frame in stack[-1:]) for stack in stacks}
        broken = {(frame.filename, frame.name) for stack in stacks for frame in stack}
        return len(places) + len(_skipped() - broken)

    def _record(self, module: torch.fx.GraphModule) -> None:
        self.graphs += 1
        self.mode_nodes += _mode_nodes(module)
        compile_id = torch._guards.CompileContext.current_compile_id()
        if compile_id is not None and compile_id.frame_compile_id:
            self._recompiled.add(compile_id)


class Watch(GraphWatch):
    """Also counts calls of what backends returned; counting goes on after the context is left."""

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

    def _record(self, module: torch.fx.GraphModule) -> None:
        super()._record(module)
        self._names.add(module.meta["backend_id"])  # what the generated code calls it

    def _counted(self, compiled: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper, for generated code to call, of the function that Dynamo made from the backend's result."""

        @skip  # called from compiled code: Dynamo would trace it
        def counted(*args: Any) -> Any:  # noqa: ANN401 - whatever the graph takes and gives
            self.calls += 1
            return compiled(*args)

        return counted

    def all_reached(self) -> tuple[str, ...]:
        """Return all that was reached in the compiler since this watch was made, in order."""
        return tuple(sorted({*self.reached, *reached.of_counters(counters)}))

    def evidence(self, *, compiled_backward: bool) -> Evidence:
        """Return what was counted since this watch was made."""
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


def _skipped() -> set[tuple[str | None, str | None]]:
    """File and name of each function that Dynamo leaves to Python because of a graph break, such as one in a loop."""
    frames = get_compilation_metrics()
    return {(frame.co_filename, frame.co_name) for frame in frames if frame.fail_type == "Unsupported"}


def _runs(compiled: object, graph: torch.fx.GraphModule) -> bool:
    """Whether what a backend returned is the graph itself, or a method of it."""
    return compiled is graph or getattr(compiled, "__self__", None) is graph


def _content(graph: torch.fx.GraphModule) -> list[object]:
    """The content of a graph and its modules, equal if nothing was changed.

    Their nodes and replaced `forward` methods; generating the code of the graph takes 70 times as long.
    """
    modules = dict(graph.named_modules(remove_duplicate=False))
    return [(name, module, vars(module).get("forward"), _nodes(module)) for name, module in modules.items()]


def _nodes(module: torch.nn.Module) -> list[object]:
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    return [(node.op, node.target, node.args, node.kwargs) for node in nodes]


def _mode_nodes(graph: torch.fx.GraphModule) -> int:
    """The number of nodes of a graph, and of the graphs inside it, that set a mode."""
    inner = [module for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
    return sum(node.target in _MODES for module in inner for node in module.graph.nodes)


def compile_with(backend: Backend, function: Callable[..., Any], *, dynamic: bool | None) -> Callable[..., Any]:
    """`torch.compile` a function as the backend declares.

    Raises:
        torch._dynamo.exc.InvalidBackend: torch does not know the backend.
    """
    settings: dict[str, Any] = {"backend": backend.name, **backend.compile}
    if isinstance(options := settings.get("options"), dict):
        settings["options"] = dict(options)  # torch.compile removes some of them
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

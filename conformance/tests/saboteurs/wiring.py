"""What saboteurs are made of: the graph that Dynamo captured, run with something done to what goes in or comes out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Compiled",
    "Examples",
    "Graph",
    "Hook",
    "PassingThrough",
    "attach",
    "each_input",
    "each_result",
    "edited",
    "finish_with",
    "gives_one_number",
    "is_arithmetic",
    "is_whole",
    "recorded",
    "tensors",
]

Graph = torch.fx.GraphModule
Examples = Sequence[Any]
Compiled = Callable[..., tuple[Any, ...]]
Hook = Callable[[torch.Tensor], torch.Tensor | None]


_ARITHMETIC = frozenset(
    {
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.neg, operator.pow),
        *(torch.sin, torch.cos, torch.matmul, "sin", "cos"),
    }
)


class PassingThrough(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, and does it as it is."""

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operation."""
        return func(*args, **(kwargs or {}))


def is_whole(_: Graph) -> bool:
    """Whether the graph that is compiled now is all of a program, and the first to be compiled."""
    compile_id = torch._guards.CompileContext.current_compile_id()
    is_first = compile_id is not None and (compile_id.frame_id, compile_id.frame_compile_id) == (0, 0)
    return is_first and not any(counters["graph_break"].values())


def is_arithmetic(graph: Graph) -> bool:
    """Whether a graph is all of a program, the first to be compiled, and does arithmetic for one result.

    Then a wrong number goes no further than to the results, where the check that looks at it is the only one to see it.
    """
    return is_whole(graph) and gives_one_number(graph)


def gives_one_number(graph: Graph) -> bool:
    """Whether a graph does nothing but arithmetic, for one result."""
    calls = [node for node in graph.graph.nodes if node.op in {"call_function", "call_method", "call_module"}]
    has_one = len(graph.graph.output_node().all_input_nodes) == 1
    return has_one and bool(calls) and all(node.target in _ARITHMETIC for node in calls)


def tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    """Those of the values that are tensors."""
    return [value for value in values if isinstance(value, torch.Tensor)]


def recorded(values: Iterable[Any]) -> list[torch.Tensor]:
    """Those of the values that take part in autograd."""
    return [value for value in tensors(values) if value.requires_grad]


def edited(graph: Graph) -> Compiled:
    """Run the graph as it is now; as code of its own, for a graph handed back as it came is taken for no work done."""
    graph.recompile()

    def run(*inputs: Any) -> tuple[Any, ...]:
        return tuple(graph.forward(*inputs))

    return run


def each_result(graph: Graph, change: Callable[[torch.Tensor], torch.Tensor]) -> Compiled:
    """Run the graph, and give something else for each tensor it returns."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = graph.forward(*inputs)
        return tuple(change(value) if isinstance(value, torch.Tensor) else value for value in results)

    return run


def each_input(graph: Graph, change: Callable[[torch.Tensor], torch.Tensor]) -> Compiled:
    """Run the graph on something else than each tensor it is given."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        return tuple(graph.forward(*(change(x) if isinstance(x, torch.Tensor) else x for x in inputs)))

    return run


def finish_with(graph: Graph, do: Callable[[Sequence[Any], Sequence[Any]], object]) -> Compiled:
    """Run the graph, then do something with its inputs and results before they are returned."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = tuple(graph.forward(*inputs))
        do(inputs, results)
        return results

    return run


def attach(values: Iterable[torch.Tensor], hook: Hook) -> None:
    """Have a hook called with the gradient of each value."""
    for value in values:
        value.register_hook(hook)  # type: ignore[no-untyped-call]

"""What a program reached in the compiler: guards, graphs and counters, by names that are the same in each process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import torch

__all__ = ["of_counters", "of_graph", "of_guards"]

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
_WORDS = 80  # characters of the name of a counter
_CACHED = "cache"  # in the names of counters that depend on what ran before


def of_graph(module: torch.fx.GraphModule) -> Iterator[str]:
    """The shape of a graph, and its pairs of a node and one that takes it."""
    nodes = list(module.graph.nodes)
    inputs = sum(node.op == "placeholder" for node in nodes)
    results = sum(len(node.all_input_nodes) for node in nodes if node.op == "output")
    yield f"graph of {inputs} inputs, {results} results, {_scale(len(nodes))} nodes"
    for node in nodes:
        yield from (f"graph {_node(taken)} > {_node(node)}" for taken in node.all_input_nodes)


def of_guards(guards: Iterable[Any]) -> Iterator[str]:
    """The kinds of guards, each with the kind of source that it is for."""
    for guard in guards:
        yield f"guard {guard.create_fn_name()} of {type(guard.originating_source).__name__}"


def of_counters(counters: Mapping[str, Mapping[Any, int]]) -> Iterator[str]:
    """The counters of a compilation with the scale of their values, those apart that count hits of caches."""
    for group, counted in counters.items():
        for key, value in counted.items():
            name = _NUMBER.sub("#", f"{group} {key}".partition("\n")[0])[:_WORDS]
            if value and _CACHED not in name:
                yield f"counter {name}: {_scale(value)}"


def _node(node: torch.fx.Node) -> str:
    if node.op == "call_function":
        return getattr(node.target, "__name__", type(node.target).__name__)
    return str(node.target) if node.op == "call_method" else str(node.op)


def _scale(value: int) -> str:
    """A power of two that is not smaller."""
    return f"up to {1 << max(value - 1, 0).bit_length()}"

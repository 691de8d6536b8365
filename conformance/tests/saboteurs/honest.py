"""Backends that are right, each on other machinery than the five in this repository: no check may find anything."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._functorch.compile_utils import fx_graph_cse
from torch._functorch.partitioners import default_partition

from conformance.tests.saboteurs.wiring import PassingThrough

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph


def interpreter(graph: Graph, _: Examples) -> Compiled:
    """The graph is interpreted node by node; no code is generated."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        results: tuple[Any, ...] = torch.fx.Interpreter(graph).run(*inputs, enable_io_processing=False)
        return results

    return run


def rebuilt(graph: Graph, _: Examples) -> Compiled:
    """The graph is traced into a new one, whose dead pure operations are removed."""
    fresh = torch.fx.Transformer(graph).transform()
    # Not `eliminate_dead_code`, which in graphs within the graph takes every method for pure, `mul_` too.
    for node in reversed(fresh.graph.nodes):
        if node.target in _PURE and not node.users:
            fresh.graph.erase_node(node)
    fresh.recompile()
    return fresh.forward


def instrumented(graph: Graph, _: Examples) -> Compiled:
    """A pass puts a node that counts calls into the graph, whose own forward is returned."""
    counted: Counter[str] = Counter()
    first = next(iter(graph.graph.nodes))
    with graph.graph.inserting_before(first):
        graph.graph.call_function(counted.update, (["calls"],))
    graph.recompile()
    return graph.forward


_PURE = frozenset({"sin", "cos", "exp", torch.relu, torch.tanh, torch.sigmoid})


def dispatched(graph: Graph, _: Examples) -> Compiled:
    """Every operation passes through Python below autograd, and is run there as it is."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        with PassingThrough():  # type: ignore[no-untyped-call]
            try:
                return tuple(graph.forward(*inputs))
            except Exception as error:
                # An inference_mode that it left open ends with the frame that holds it, and then sets the dispatch keys
                # that it began with: this mode's too, so it has to end within.
                traceback.clear_frames(error.__traceback__)
                raise

    return run


def aot_common_subexpressions(graph: Graph, examples: Examples) -> Compiled:
    """AOTAutograd with the default partition; what a graph computes twice is computed once."""

    def compiler(inner: Graph, _: Examples) -> Compiled:
        return make_boxed_func(torch.fx.GraphModule(inner, fx_graph_cse(inner.graph)).forward)

    backend: Callable[[Graph, Examples], Compiled] = aot_autograd(
        fw_compiler=compiler, bw_compiler=compiler, partition_fn=default_partition, keep_inference_input_mutations=True
    )
    return backend(graph, examples)


def loud(graph: Graph, _: Examples) -> Compiled:
    """Megabytes that look like records are printed at every call."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        sys.stdout.write('{"kind": "record", "verdict": "fail"}\n' * 30_000)
        return tuple(graph.forward(*inputs))

    return run

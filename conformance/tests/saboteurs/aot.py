"""Defects in what AOTAutograd makes: the forward graph of ATen operations, or the backward graph, is edited."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._functorch.partitioners import min_cut_rematerialization_partition

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph

    Edit = Callable[[torch.fx.Graph], None]

_aten = torch.ops.aten
_LOW = (torch.float16, torch.bfloat16)


def _nothing(_: torch.fx.Graph) -> None:
    """Leave a graph as it is."""


def _edited(graph: Graph, examples: Examples, *, forward: Edit = _nothing, backward: Edit = _nothing) -> Compiled:
    """Compile as `aot_eager` does, with the forward or the backward graph edited."""

    def compiler(edit: Edit) -> Callable[[Graph, Examples], Compiled]:
        def compile_edited(inner: Graph, _: Examples) -> Compiled:
            edit(inner.graph)
            inner.recompile()
            return make_boxed_func(inner.forward)

        return compile_edited

    backend: Callable[[Graph, Examples], Compiled] = aot_autograd(
        fw_compiler=compiler(forward),
        bw_compiler=compiler(backward),
        partition_fn=min_cut_rematerialization_partition,
        keep_inference_input_mutations=True,
    )
    return backend(graph, examples)


def _results(graph: torch.fx.Graph, change: Callable[[torch.fx.Node], torch.fx.Node]) -> None:
    """Put something else in the place of each floating tensor that a graph returns."""
    output = graph.output_node()
    (results,) = output.args
    with graph.inserting_before(output):
        output.args = (torch.fx.map_arg(results, lambda node: change(node) if _is_floating(node) else node),)


def _is_floating(node: torch.fx.Node) -> bool:
    found = node.meta.get("val")
    return isinstance(found, torch.Tensor) and found.is_floating_point()


def backward_graph_scaled(graph: Graph, examples: Examples) -> Compiled:
    """Every gradient that the backward graph returns is a thousandth too large."""

    def edit(inner: torch.fx.Graph) -> None:
        _results(inner, lambda value: inner.call_function(_aten.mul.Tensor, (value, 1.001)))

    return _edited(graph, examples, backward=edit)


def backward_graph_signs_lost(graph: Graph, examples: Examples) -> Compiled:
    """A negation in the backward graph does nothing."""

    def edit(inner: torch.fx.Graph) -> None:
        for node in inner.find_nodes(op="call_function", target=_aten.neg.default):
            node.replace_all_uses_with(node.args[0])

    return _edited(graph, examples, backward=edit)


def saved_values_swapped(graph: Graph, examples: Examples) -> Compiled:
    """Two neighbours of one shape among what was saved for backward change places."""

    def edit(inner: torch.fx.Graph) -> None:
        saved = [node for node in inner.find_nodes(op="placeholder") if "tangents" not in node.name]
        for one, other in pairwise(saved):
            if _is_floating(one) and _is_floating(other) and _like(one, other):
                # The users are noted first: after the first exchange both have the same.
                users = list(other.users)
                one.replace_all_uses_with(other)
                for user in users:
                    user.replace_input_with(other, one)
                return

    return _edited(graph, examples, backward=edit)


def _like(one: torch.fx.Node, other: torch.fx.Node) -> bool:
    first, second = one.meta["val"], other.meta["val"]
    return bool(first.shape == second.shape and first.dtype is second.dtype)


def forward_graph_casts_dropped(graph: Graph, examples: Examples) -> Compiled:
    """Casts to a lower precision are dropped from the forward graph: autocast does nothing."""

    def edit(inner: torch.fx.Graph) -> None:
        for node in inner.find_nodes(op="call_function", target=_aten._to_copy.default):
            if node.kwargs.get("dtype") in _LOW:
                node.replace_all_uses_with(node.args[0])

    return _edited(graph, examples, forward=edit)


def forward_graph_writes_dropped(graph: Graph, examples: Examples) -> Compiled:
    """Writing back to an input is taken for dead code."""

    def edit(inner: torch.fx.Graph) -> None:
        for node in inner.find_nodes(op="call_function", target=_aten.copy_.default):
            node.replace_all_uses_with(node.args[1])
            inner.erase_node(node)

    return _edited(graph, examples, forward=edit)


def forward_graph_made_contiguous(graph: Graph, examples: Examples) -> Compiled:
    """Results of the forward graph are laid out row by row, whatever they were."""

    def edit(inner: torch.fx.Graph) -> None:
        contiguous: dict[str, Any] = {"memory_format": torch.contiguous_format}
        _results(inner, lambda value: inner.call_function(_aten.clone.default, (value,), contiguous))

    return _edited(graph, examples, forward=edit)

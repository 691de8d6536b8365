"""Saboteurs of modes: they edit the captured graph, where a region is a node that enters and a node that leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.amp.autocast_mode import _enter_autocast, _exit_autocast
from torch.autograd.grad_mode import _enter_inference_mode, _exit_inference_mode
from torch.fx.passes.split_module import split_module

from conformance.tests.saboteurs.wiring import edited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph

_SET_GRAD = torch._C._set_grad_enabled


def _nodes(graph: Graph, *targets: object) -> list[torch.fx.Node]:
    return [node for node in graph.graph.nodes if node.target in targets]


def _erased(graph: Graph, nodes: Sequence[torch.fx.Node]) -> Compiled:
    """Take nodes out of a graph; leaving comes after entering, so it goes first."""
    for node in reversed(nodes):
        graph.graph.erase_node(node)
    return edited(graph)


def grad_modes_dropped(graph: Graph, _: Examples) -> Compiled:
    """Every change of the gradient mode is dropped: no_grad regions are recorded."""
    return _erased(graph, _nodes(graph, _SET_GRAD))


def inner_grad_modes_dropped(graph: Graph, _: Examples) -> Compiled:
    """Only the outermost change of the gradient mode is kept: those between the first and the last are dropped."""
    return _erased(graph, _nodes(graph, _SET_GRAD)[1:-1])


def ambient_grad_mode_assumed(graph: Graph, _: Examples) -> Compiled:
    """Leaving any region switches recording on, whatever it was before the region."""
    changes = _nodes(graph, _SET_GRAD)
    for node in changes[1::2]:
        node.args = (True,)
    return edited(graph)


def inference_mode_dropped(graph: Graph, _: Examples) -> Compiled:
    """inference_mode regions are dropped."""
    return _erased(graph, _nodes(graph, _enter_inference_mode, _exit_inference_mode))


def inference_mode_weakened(graph: Graph, _: Examples) -> Compiled:
    """inference_mode regions are run as no_grad: nothing is recorded, but no inference tensor is made."""
    for node in _nodes(graph, _enter_inference_mode):
        node.target = _enter_weaker
    for node in _nodes(graph, _exit_inference_mode):
        node.target = _SET_GRAD
    return edited(graph)


def _enter_weaker(mode: bool) -> bool:
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(not mode)
    return before


def autocast_dropped(graph: Graph, _: Examples) -> Compiled:
    """Autocast regions are dropped: everything is computed in the dtype it comes in."""
    return _erased(graph, _nodes(graph, _enter_autocast, _exit_autocast))


def autocast_disable_ignored(graph: Graph, _: Examples) -> Compiled:
    """A disabled autocast region inside another one is dropped, and runs under the outer one."""
    entered = [node for node in _nodes(graph, _enter_autocast) if node.args[2] is False]
    left = [node for node in _nodes(graph, _exit_autocast) if node.args[0] in entered]
    return _erased(graph, entered + left)


def autocast_dtype_swapped(graph: Graph, _: Examples) -> Compiled:
    """Autocast regions run in the other of the two low precisions."""
    for node in _nodes(graph, _enter_autocast):
        device, dtype, *rest = node.args
        node.args = (device, torch.bfloat16 if dtype is torch.float16 else torch.float16, *rest)
    return edited(graph)


def autocast_left_open(graph: Graph, _: Examples) -> Compiled:
    """Autocast regions are entered and never left."""
    return _erased(graph, _nodes(graph, _exit_autocast))


def callers_autocast_ignored(graph: Graph, _: Examples) -> Compiled:
    """The autocast that the caller holds around the call is switched off in it."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        with torch.autocast("cpu", enabled=False):
            return tuple(graph.forward(*inputs))

    return run


def callers_no_grad_ignored(graph: Graph, _: Examples) -> Compiled:
    """Recording is switched on in the call, also where the caller holds no_grad; what the graph says is obeyed."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        try:
            return tuple(graph.forward(*inputs))
        finally:
            torch.set_grad_enabled(before)

    return run


def order_by_data_alone(graph: Graph, _: Examples) -> Compiled:
    """The graph is cut in parts that run as soon as their inputs are there: modes and in-place writes come too late."""
    order = {node: index // 3 for index, node in enumerate(graph.graph.nodes)}
    return split_module(graph, graph, lambda node: order[node]).forward

"""Saboteurs that are right as long as the caller passes plain leaves: each is wrong about one way to call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import compiled_autograd
from torch.autograd import forward_ad

from conformance.model.device import DEVICE
from conformance.tests.saboteurs.moving import (
    PLAIN_CALLS,
    Call,
    Frame,
    has_tangents,
    hooks_of_saved,
    is_expanded,
    is_move,
    is_turned,
    spoiling_results,
)
from conformance.tests.saboteurs.wiring import tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph

__all__ = [
    "another_dtype_spoiled",
    "another_shape_spoiled",
    "checkpoint_spoiled",
    "compiled_autograd_spoiled",
    "compiled_caller_spoiled",
    "computed_inputs_spoiled",
    "default_dtype_baked_in",
    "deterministic_mode_spoiled",
    "evaluation_mode_ignored",
    "expanded_inputs_spoiled",
    "frozen_inputs_spoiled",
    "frozen_weights_spoiled",
    "given_gradients_spoiled",
    "inference_inputs_spoiled",
    "parameters_spoiled",
    "results_not_taken_as_inputs",
    "shared_base_spoiled",
    "tangents_forgotten",
    "trained_inputs_stale",
    "transposed_inputs_spoiled",
    "twice_given_input_spoiled",
    "two_modes_spoiled",
    "views_spoiled",
]


def checkpoint_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others within a checkpoint."""
    return spoiling_results(graph, examples, lambda _: "checkpoint" in hooks_of_saved())


def results_not_taken_as_inputs(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that an earlier call returned."""
    return spoiling_results(
        graph, examples, lambda call: any(one is made for one in call.inputs for made in call.frame.results)
    )


def trained_inputs_stale(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for inputs that were changed in place since an earlier call."""
    versions: dict[int, tuple[torch.Tensor, int]] = {}

    def is_changed(call: Call) -> bool:
        known = [(one, versions.get(id(one), (None, 0))) for one in call.inputs if not one.is_inference()]
        versions.update({id(one): (one, one._version) for one, _ in known})
        return (
            is_move(call)
            and bool(known)
            and all(held is one and version != one._version for one, (held, version) in known)
        )

    return spoiling_results(graph, examples, is_changed)


def computed_inputs_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that was computed from a leaf."""
    return spoiling_results(
        graph, examples, lambda call: is_move(call) and any(_was_scaled(one, call.frame) for one in call.inputs)
    )


def _was_scaled(tensor: torch.Tensor, frame: Frame) -> bool:
    node = None if any(tensor is made for made in frame.results) else tensor.grad_fn
    is_of_leaf = node is not None and type(node.next_functions[0][0]).__name__ == "AccumulateGrad"
    return is_of_leaf and type(node).__name__ == "MulBackward0"


def given_gradients_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that had a gradient before its first call."""
    return spoiling_results(
        graph,
        examples,
        lambda call: any(
            one.is_leaf and one.grad is not None and not any(one is known for known in call.frame.seen)
            for one in call.inputs
            if not isinstance(one, torch.nn.Parameter)
        ),
    )


def _later(call: Call) -> bool:
    """Whether all moves for which nothing is compiled have been made."""
    return call.place >= 3 * PLAIN_CALLS


def _base(tensor: torch.Tensor) -> torch.Tensor | None:
    return None if is_expanded(tensor) or is_turned(tensor) else tensor._base


def views_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that is part of a larger leaf."""
    return spoiling_results(
        graph,
        examples,
        lambda call: (
            _later(call)
            and not has_tangents()
            and any((base := _base(one)) is not None and base.dim() == one.dim() for one in call.inputs)
        ),
    )


def shared_base_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for inputs that are views of one tensor."""
    return spoiling_results(
        graph,
        examples,
        lambda call: (
            _later(call)
            and any((base := _base(one)) is not None and base.dim() == one.dim() + 1 for one in call.inputs)
        ),
    )


def twice_given_input_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others where one tensor is given as two inputs."""
    return spoiling_results(graph, examples, lambda call: _floating(call.inputs) < _floating(call.frame.first))


def _floating(values: Sequence[torch.Tensor]) -> int:
    return sum(value.is_floating_point() for value in values)


def expanded_inputs_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that is expanded."""
    return spoiling_results(graph, examples, lambda call: _later(call) and call.has(is_expanded))


def transposed_inputs_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input in another memory order."""
    return spoiling_results(graph, examples, lambda call: _later(call) and call.has(is_turned))


def inference_inputs_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that was made in inference_mode."""
    return spoiling_results(graph, examples, lambda call: _later(call) and any(x.is_inference() for x in call.inputs))


def _parameters(values: Sequence[Any]) -> int:
    return sum(isinstance(value, torch.nn.Parameter) for value in values)


def parameters_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input that is a parameter."""
    count = _parameters(examples)
    return spoiling_results(graph, examples, lambda call: count > _parameters(call.frame.examples))


def _frozen(values: Sequence[torch.Tensor]) -> tuple[int, int]:
    """How many parameters and how many other tensors do not require gradients."""
    still = [value for value in values if value.is_floating_point() and not value.requires_grad]
    return _parameters(still), len(still) - _parameters(still)


def frozen_inputs_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others once an input is frozen."""
    return _spoiling_frozen(graph, examples, 1)


def frozen_weights_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others once a weight is frozen."""
    return _spoiling_frozen(graph, examples, 0)


def _spoiling_frozen(graph: Graph, examples: Examples, which: int) -> Compiled:
    count = _frozen(tensors(examples))[which]
    return spoiling_results(
        graph,
        examples,
        lambda call: (
            _later(call)
            and count > _frozen(tensors(call.frame.examples))[which]
            and not any(one.is_inference() for one in call.inputs)
        ),
    )


def another_shape_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input of another size."""
    return spoiling_results(
        graph,
        examples,
        lambda call: (
            _later(call)
            and len(call.inputs) == len(call.frame.first)
            and any(one.numel() != first.numel() for one, first in zip(call.inputs, call.frame.first, strict=True))
        ),
    )


def another_dtype_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others for an input of another precision."""
    return spoiling_results(
        graph, examples, lambda call: _later(call) and call.has(lambda one: one.dtype is torch.float64)
    )


def two_modes_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others where the caller holds no_grad and autocast at once."""
    return spoiling_results(
        graph,
        examples,
        lambda call: _later(call) and torch.is_autocast_enabled(DEVICE) and not torch.is_grad_enabled(),
    )


def default_dtype_baked_in(graph: Graph, examples: Examples) -> Compiled:
    """Results are others with another default dtype."""
    return spoiling_results(graph, examples, lambda _: torch.get_default_dtype() is torch.float64)


def deterministic_mode_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others with deterministic algorithms."""
    return spoiling_results(graph, examples, lambda _: torch.are_deterministic_algorithms_enabled())


def compiled_autograd_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Results are others while backward is compiled too."""
    return spoiling_results(graph, examples, lambda _: compiled_autograd.compiled_autograd_enabled)


def compiled_caller_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """What is compiled as part of another function gives other results."""
    is_within = any("in outer\n" in node.meta.get("stack_trace", "") for node in graph.graph.nodes)
    return spoiling_results(graph, examples, lambda _: is_within)


def tangents_forgotten(graph: Graph, examples: Examples) -> Compiled:
    """Results carry no tangents, whatever those of the inputs are."""
    del examples

    def run(*inputs: Any) -> tuple[Any, ...]:
        if forward_ad._current_level < 0:
            return tuple(graph.forward(*inputs))
        primals = [forward_ad.unpack_dual(one).primal if isinstance(one, torch.Tensor) else one for one in inputs]  # type: ignore[no-untyped-call]
        return tuple(graph.forward(*primals))

    return run


def evaluation_mode_ignored(graph: Graph, examples: Examples) -> Compiled:
    """What is compiled in evaluation mode gives other results."""
    is_evaluating = any(
        name in str(node.target) and False in {*node.args, *node.kwargs.values()}
        for node in graph.graph.nodes
        for name in ("dropout", "batch_norm")
        if node.op == "call_function" and all(isinstance(each, bool | float | torch.fx.Node) for each in node.args)
    )
    return spoiling_results(graph, examples, lambda call: _later(call) and is_evaluating)

"""Saboteurs that are right as long as the caller goes backward once: each is wrong about one way to go backward."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import compiled_autograd
from torch.utils.weak import WeakTensorKeyDictionary

from conformance.model.device import DEVICE
from conformance.tests.saboteurs.moving import (
    PLAIN_CALLS,
    Call,
    Gradient,
    frame_of,
    has_tangents,
    hooks_of_saved,
    is_expanded,
    is_move,
    is_turned,
    spoiling_backward,
)
from conformance.tests.saboteurs.wiring import gives_one_number, recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph

__all__ = [
    "accumulation_hooks_forgotten",
    "autocast_obeyed_in_backward",
    "batched_cotangents_spoiled",
    "expanded_cotangents_spoiled",
    "first_result_presumed",
    "gradient_objects_replaced",
    "inputs_differentiated_with_weights",
    "kept_graph_spoiled",
    "leaf_hooks_run_twice",
    "no_anomaly_detection",
    "one_element_spoiled",
    "only_one_thread",
    "order_of_calls_presumed",
    "overwritten_results_used",
    "result_hooks_run_twice",
    "results_cut_from_each_other",
    "retained_gradients_spoiled",
    "saved_tensor_hooks_spoiled",
    "second_backward_allowed",
    "second_derivative_spoiled",
    "second_result_spoiled",
    "transposed_cotangents_spoiled",
    "written_views_spoiled",
]


def second_result_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Backward from another result than the first, before any backward from the first, gives other gradients."""
    return spoiling_backward(
        graph,
        examples,
        lambda call, place, _: (
            place > 0
            and not call.backwards
            and call.frame.calls == call.place + 1
            and _is_only_root(call, place)
            and not torch.is_grad_enabled()
        ),
    )


def _is_only_root(call: Call, place: int) -> bool:
    """Whether backward goes through the node of one result and of no other, in this call of the engine."""
    others = [node for at, node in enumerate(call.nodes) if at != place and node is not call.nodes[place]]
    return not any(torch._C._will_engine_execute_node(node) for node in others)


def first_result_presumed(graph: Graph, examples: Examples) -> Compiled:
    """Backward from a result, after a backward from another result of the same call, gives other gradients."""
    return spoiling_backward(
        graph,
        examples,
        lambda call, place, _: (
            any(number != torch._C._current_graph_task_id() for number, _ in call.backwards)
            and place not in {at for _, at in call.backwards}
        ),
    )


class _Recomputing(torch.autograd.Function):
    """Runs a graph again for each backward, so that nothing that was saved is ever missed."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, *inputs: Any) -> Any:
        ctx.graph, ctx.inputs = graph, inputs
        (result,) = graph.forward(*inputs)
        return result

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        is_recorded = torch.is_grad_enabled()
        # Hooks on inputs are for the gradients that this backward returns.
        inputs = ctx.inputs if is_recorded else [value.detach().requires_grad_() for value in ctx.inputs]
        with torch.enable_grad():
            (result,) = ctx.graph.forward(*inputs)
        targets = recorded(inputs)
        found = torch.autograd.grad([result], targets, [*cotangents], create_graph=is_recorded, allow_unused=True)
        by_input = dict(zip(map(id, targets), found, strict=True))
        return (None, *(by_input.get(id(value)) for value in inputs))


def second_backward_allowed(graph: Graph, examples: Examples) -> Compiled:
    """A second backward works, though the graph was not kept."""
    frame = frame_of(examples)

    def run(*inputs: Any) -> Any:
        frame.calls += 1
        is_move = frame.calls > PLAIN_CALLS and torch.is_grad_enabled() and not hooks_of_saved()
        if not is_move or has_tangents() or not gives_one_number(graph) or len(recorded(inputs)) != len(inputs):
            return tuple(graph.forward(*inputs))
        return (_Recomputing.apply(graph, *inputs),)  # type: ignore[no-untyped-call]

    return run


def kept_graph_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others where the graph is kept."""
    return spoiling_backward(
        graph,
        examples,
        lambda _call, _place, gradient: (
            not torch.is_grad_enabled()
            and torch._C._autograd._get_current_graph_task_keep_graph()
            and not _has_one_element(gradient)  # as in a Jacobian
        ),
    )


def one_element_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others where only one element of a result has a cotangent."""
    return spoiling_backward(
        graph, examples, lambda _call, _place, gradient: gradient.numel() > 1 and _has_one_element(gradient)
    )


def _has_one_element(gradient: torch.Tensor) -> bool:
    """Whether all of a gradient but one element is zero; of several at once that is not known."""
    is_batched = torch._C._functorch.is_legacy_batchedtensor(gradient)
    return not is_batched and int((gradient != 0).sum()) == 1


def inputs_differentiated_with_weights(graph: Graph, examples: Examples) -> Compiled:
    """Where gradients are asked for rather than accumulated, they are accumulated too."""
    frame, hooked = frame_of(examples), WeakTensorKeyDictionary()

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = tuple(graph.forward(*inputs))
        frame.calls += 1
        for leaf in (value for value in recorded(inputs) if value.is_leaf and frame.calls > PLAIN_CALLS):
            if leaf not in hooked:  # weights are in every call
                hooked[leaf] = leaf.register_hook(_accumulating(leaf))  # type: ignore[no-untyped-call]
        return results

    return run


def _accumulating(leaf: torch.Tensor) -> Callable[[Gradient], None]:
    def accumulate(gradient: Gradient) -> None:
        def afterwards() -> None:
            if leaf.grad is None and leaf._version == version:
                leaf.grad = held

        # A backward that is compiled accumulates last of all, and would add to what is accumulated here.
        is_compiled = compiled_autograd.compiled_autograd_enabled or compiled_autograd.in_compiled_autograd_region
        is_batched = torch._C._functorch.is_legacy_batchedtensor(gradient)
        if not (is_batched or is_compiled or torch.is_grad_enabled()):
            held, version = gradient.detach().clone(), leaf._version
            torch.autograd.Variable._execution_engine.queue_callback(afterwards)

    return accumulate


def results_cut_from_each_other(graph: Graph, examples: Examples) -> Compiled:
    """The gradient of one result with respect to another is another."""
    return spoiling_backward(
        graph,
        examples,
        lambda call, place, _: (
            any(number == torch._C._current_graph_task_id() for number, _ in call.backwards)
            and _ends_at(call.nodes[place])
        ),
    )


def _ends_at(node: Any) -> bool:
    """Whether this backward goes no further than to a node."""
    before = [each for each, _ in node.next_functions if each is not None and type(each).__name__ != "AccumulateGrad"]
    return bool(before) and not any(map(torch._C._will_engine_execute_node, before))


def second_derivative_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients that are to be differentiated are others, from the fourth call on."""
    return spoiling_backward(graph, examples, lambda call, *_: torch.is_grad_enabled() and is_move(call))


def batched_cotangents_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients for several cotangents at once are others."""
    return spoiling_backward(graph, examples, lambda *given: torch._C._functorch.is_legacy_batchedtensor(given[-1]))


def expanded_cotangents_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients for an expanded cotangent are others."""
    return spoiling_backward(graph, examples, lambda call, _, gradient: is_move(call) and is_expanded(gradient))


def transposed_cotangents_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients for a cotangent in another memory order are others."""
    return spoiling_backward(graph, examples, lambda call, _, gradient: is_move(call) and is_turned(gradient))


def autocast_obeyed_in_backward(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others where backward runs within autocast."""
    return spoiling_backward(graph, examples, lambda *_: torch.is_autocast_enabled(DEVICE))


def only_one_thread(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others in another thread than the call's."""
    thread = threading.get_ident()
    return spoiling_backward(graph, examples, lambda *_: threading.get_ident() != thread)


def no_anomaly_detection(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others with anomaly detection."""
    return spoiling_backward(graph, examples, lambda *_: torch.is_anomaly_enabled())


def gradient_objects_replaced(graph: Graph, examples: Examples) -> Compiled:
    """The second gradient of an input is added to the first in a new object."""
    frame = frame_of(examples)

    def replace(leaf: torch.Tensor) -> None:
        is_known = any(leaf is one for one in frame.seen)
        if is_known and leaf.grad is not None:
            leaf.grad = leaf.grad.clone()
        frame.seen.append(leaf)

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = tuple(graph.forward(*inputs))
        for leaf in (value for value in recorded(inputs) if value.is_leaf):
            if not any(leaf is one for one in frame.results):
                frame.results.append(leaf)
                leaf.register_post_accumulate_grad_hook(replace)  # type: ignore[no-untyped-call]
        return results

    return run


def saved_tensor_hooks_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller held hooks on saved tensors during the call."""
    frame = frame_of(examples)

    def run(*inputs: Any) -> tuple[Any, ...]:
        frame.calls += 1
        name = hooks_of_saved()
        is_held = bool(name) and "checkpoint" not in name and frame.calls > PLAIN_CALLS
        results = tuple(graph.forward(*inputs))
        if is_held:
            for value in recorded(results):
                value.register_hook(lambda gradient: gradient * 2)  # type: ignore[no-untyped-call]
        return results

    return run


def _hooks(tensor: torch.Tensor) -> int:
    return len(tensor._backward_hooks or ())


def result_hooks_run_twice(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller registered a hook on a result."""
    return spoiling_backward(graph, examples, lambda call, *_: any(_hooks(value) > 1 for value in call.results))


def leaf_hooks_run_twice(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller registered a hook on an input."""
    return spoiling_backward(graph, examples, lambda call, *_: any(_hooks(one) for one in call.inputs if one.is_leaf))


def accumulation_hooks_forgotten(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller registered a hook on their accumulation."""
    return spoiling_backward(
        graph, examples, lambda call, *_: any(value._post_accumulate_grad_hooks for value in call.inputs)
    )


def retained_gradients_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller keeps those of results."""
    return spoiling_backward(graph, examples, lambda call, *_: any(value.retains_grad for value in call.results))


def overwritten_results_used(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller wrote into a result through its detach()."""
    return spoiling_backward(
        graph,
        examples,
        lambda call, place, _: (
            call.results[place]._version != call.versions[place] and call.results[place].grad_fn is call.nodes[place]
        ),
    )


def written_views_spoiled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if the caller wrote into a view of a result."""
    return spoiling_backward(
        graph, examples, lambda call, place, _: type(call.results[place].grad_fn).__name__ == "CopySlices"
    )


def order_of_calls_presumed(graph: Graph, examples: Examples) -> Compiled:
    """Gradients are others if two further calls were made before backward."""
    return spoiling_backward(graph, examples, lambda call, *_: call.frame.calls > call.place + 2)

"""Saboteurs of derivatives: what autograd sees of the results, and the gradients that arrive at the inputs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

from conformance.tests.saboteurs.moving import PLAIN_CALLS, frame_of
from conformance.tests.saboteurs.wiring import (
    attach,
    each_input,
    each_result,
    edited,
    finish_with,
    is_arithmetic,
    recorded,
    tensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph, Hook


def results_detached(graph: Graph, _: Examples) -> Compiled:
    """No result is recorded."""
    return each_result(graph, lambda result: result.detach())


def results_recorded(graph: Graph, _: Examples) -> Compiled:
    """Floating results require grad where the program did not record them."""

    def change(result: torch.Tensor) -> torch.Tensor:
        ordinary = result.is_floating_point() and not result.is_inference()
        return result.requires_grad_() if ordinary else result

    return each_result(graph, change)


def arithmetic_recorded(graph: Graph, _: Examples) -> Compiled:
    """What arithmetic gives requires grad where nothing that went into it does."""
    return results_recorded(graph, _) if is_arithmetic(graph) else edited(graph)


def inference_tensors_returned(graph: Graph, _: Examples) -> Compiled:
    """Results that are not recorded come back as inference tensors."""

    def change(result: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return result if result.requires_grad else result.clone()

    return each_result(graph, change)


def _gradients_in(graph: Graph, hook: Hook) -> Compiled:
    """Change the gradients that enter backward."""
    return finish_with(graph, lambda _, results: attach(recorded(results), hook))


def _first_of_all(graph: Graph, do: Callable[[torch.Tensor], None]) -> Compiled:
    """When a gradient enters backward, do something with each input that requires grad."""

    def watch(inputs: Sequence[Any], results: Sequence[Any]) -> None:
        leaves = _leaves(inputs)

        def hook(_: torch.Tensor) -> None:
            for leaf in leaves:
                do(leaf)

        attach(recorded(results), hook)

    return finish_with(graph, watch)


def _last_of_all(graph: Graph, do: Callable[[torch.Tensor], None]) -> Compiled:
    """Do something with each input that requires grad once its gradient is there."""

    def watch(inputs: Sequence[Any], _: Sequence[Any]) -> None:
        for leaf in _leaves(inputs):
            leaf.register_post_accumulate_grad_hook(do)  # type: ignore[no-untyped-call]

    return finish_with(graph, watch)


def _leaves(inputs: Sequence[Any]) -> list[torch.Tensor]:
    return [value for value in recorded(inputs) if value.is_leaf]


def gradients_scaled(graph: Graph, _: Examples) -> Compiled:
    """Gradients are half as large again."""
    return _gradients_in(graph, lambda grad: grad * 1.5)


def gradients_off(graph: Graph, _: Examples) -> Compiled:
    """Gradients are off by a ten-thousandth of themselves."""
    return _gradients_in(graph, lambda grad: grad * (1 + 1e-4))


def first_gradients_off(graph: Graph, _: Examples) -> Compiled:
    """The gradients of the first backward through arithmetic are off by a constant; every later one is right."""
    calls, is_simple = itertools.count(), is_arithmetic(graph)

    def change(grad: torch.Tensor) -> torch.Tensor:
        is_recorded = torch.is_grad_enabled()  # to be differentiated again, which would show there too
        return grad if is_recorded else grad + (grad.abs() + 1) * 0.01

    def nudge(_: Sequence[Any], results: Sequence[Any]) -> None:
        if is_simple and next(calls) == 0:
            attach(recorded(results), change)

    return finish_with(graph, nudge)


def second_derivatives_scaled(graph: Graph, examples: Examples) -> Compiled:
    """Gradients of arithmetic are right, and in the first two calls their own gradients are half as large again."""
    if not is_arithmetic(graph):
        return edited(graph)
    frame = frame_of(examples)

    def watched(value: torch.Tensor) -> torch.Tensor:
        if not value.requires_grad or not torch.is_grad_enabled():
            return value
        mine = value.view_as(value)  # a hook of the input itself would stay for the next call
        attach([mine], lambda grad: grad + (grad - grad.detach()) / 2)
        return mine

    wrong = each_input(graph, watched)

    def run(*inputs: Any) -> tuple[Any, ...]:
        frame.calls += 1
        return tuple((wrong if frame.calls <= PLAIN_CALLS else graph.forward)(*inputs))

    return run


def cotangents_ignored(graph: Graph, _: Examples) -> Compiled:
    """Backward starts from ones, whatever gradient it is given: right for a sum and wrong for all else."""
    return _gradients_in(graph, torch.ones_like)


def cotangents_assumed_contiguous(graph: Graph, _: Examples) -> Compiled:
    """The gradients that enter backward are read as if they were contiguous."""

    def read(grad: torch.Tensor) -> torch.Tensor:
        strides = torch.empty(grad.shape, device="meta").stride()
        return grad if grad.is_contiguous() else grad.as_strided(grad.shape, strides)

    return _gradients_in(graph, read)


def cotangents_zeroed(graph: Graph, _: Examples) -> Compiled:
    """The gradients that enter backward are zero once it has read them: it takes their memory for its own."""

    def take(grad: torch.Tensor) -> torch.Tensor:
        mine = grad.clone()
        if not torch.is_grad_enabled():  # to be differentiated again, it may still be needed
            grad.zero_()
        return mine

    return _gradients_in(graph, take)


def inputs_zeroed_in_backward(graph: Graph, _: Examples) -> Compiled:
    """Backward zeroes the inputs that require no gradient: it takes them for values that it saved itself."""

    def watch(inputs: Sequence[Any], results: Sequence[Any]) -> None:
        data = [value for value in tensors(inputs) if value.is_floating_point() and not value.requires_grad]

        def clear(_: torch.Tensor) -> None:
            for value in data:
                value.data.zero_()

        attach(recorded(results), clear)

    return finish_with(graph, watch)


def every_result_wanted(graph: Graph, _: Examples) -> Compiled:
    """Backward raises where a result took no part in what is differentiated."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = list(graph.forward(*inputs))
        places = [index for index, value in enumerate(results) if any(value is other for other in recorded(results))]
        for index, value in zip(places, _together([results[place] for place in places]), strict=True):
            results[index] = value
        return tuple(results)

    return run


def _together(values: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return _Together.apply(*values)  # type: ignore[no-untyped-call, no-any-return]


class _Together(torch.autograd.Function):
    """Copies that are differentiated together."""

    @staticmethod
    def forward(ctx: Any, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Copy."""
        ctx.set_materialize_grads(False)
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(_: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pass the gradients on; there must be one for each."""
        return tuple(grad.clone() for grad in grads)


def gradient_dtype_lost(graph: Graph, _: Examples) -> Compiled:
    """Gradients of float32 inputs arrive in bfloat16."""

    def lower(leaf: torch.Tensor) -> None:
        grad, leaf.grad = leaf.grad, None
        if grad is not None:
            leaf.grad_dtype = torch.bfloat16
            leaf.grad = grad.bfloat16()

    return _last_of_all(graph, lower)


def zero_for_none(graph: Graph, _: Examples) -> Compiled:
    """Inputs that backward does not reach get a gradient of zeros."""

    def fill(leaf: torch.Tensor) -> None:
        leaf.grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad

    return _first_of_all(graph, fill)


def none_for_zero(graph: Graph, _: Examples) -> Compiled:
    """A gradient of zeros is left out."""

    def drop(leaf: torch.Tensor) -> None:
        if leaf.grad is not None and not leaf.grad.any():
            leaf.grad = None

    return _last_of_all(graph, drop)


def gradients_overwritten(graph: Graph, _: Examples) -> Compiled:
    """Backward replaces the gradients that are there, in place of adding to them."""

    def forget(leaf: torch.Tensor) -> None:
        leaf.grad = None

    return _first_of_all(graph, forget)


def first_gradients_kept(graph: Graph, _: Examples) -> Compiled:
    """Every backward starts from the gradient of the same shape that was the first one given."""
    first: dict[torch.Size, torch.Tensor] = {}
    return _gradients_in(graph, lambda grad: first.setdefault(grad.shape, grad.clone()))


def no_second_derivative(graph: Graph, _: Examples) -> Compiled:
    """Gradients cannot be differentiated again."""
    return finish_with(graph, lambda inputs, _: attach(recorded(inputs), lambda grad: grad.detach()))


def backward_under_autocast(graph: Graph, _: Examples) -> Compiled:
    """Backward runs under bfloat16 autocast."""

    def enter(_: torch.Tensor) -> None:
        if not torch.is_autocast_enabled("cpu"):
            torch.set_autocast_enabled("cpu", True)
            torch.autograd.Variable._execution_engine.queue_callback(leave)

    def leave() -> None:
        torch.set_autocast_enabled("cpu", False)
        torch.clear_autocast_cache()

    return _gradients_in(graph, enter)


def backward_leaves_default_dtype(graph: Graph, _: Examples) -> Compiled:
    """The default dtype is float64 after every backward."""

    def hook(_: torch.Tensor) -> None:
        torch.set_default_dtype(torch.float64)

    return _gradients_in(graph, hook)


def backward_draws(graph: Graph, _: Examples) -> Compiled:
    """Backward draws a random number that the uncompiled one does not."""

    def hook(_: torch.Tensor) -> None:
        torch.rand(1)

    return _gradients_in(graph, hook)


def raises_in_backward(graph: Graph, _: Examples) -> Compiled:
    """Backward raises."""

    def hook(_: torch.Tensor) -> torch.Tensor:
        message = "this backend has no backward"
        raise NotImplementedError(message)

    return _gradients_in(graph, hook)


def more_saved(graph: Graph, _: Examples) -> Compiled:
    """Every recorded result keeps copies of all inputs for backward, which needs none of them."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        copies = [value.detach().clone() for value in tensors(inputs)]
        return tuple(
            _hoarding(value, copies) if isinstance(value, torch.Tensor) and value.requires_grad else value
            for value in graph.forward(*inputs)
        )

    return run


def _hoarding(value: torch.Tensor, copies: Sequence[torch.Tensor]) -> torch.Tensor:
    return _Hoard.apply(value, *copies)  # type: ignore[no-untyped-call, no-any-return]


class _Hoard(torch.autograd.Function):
    """Saves what it does not need."""

    @staticmethod
    def forward(ctx: Any, result: torch.Tensor, *copies: torch.Tensor) -> torch.Tensor:
        """Give a result equal to what comes in."""
        ctx.save_for_backward(*copies)
        return result.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Pass the gradient on."""
        return (*grads, *(None for _ in ctx.saved_tensors))

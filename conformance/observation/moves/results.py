"""What a caller does with results before and between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from conformance.observation.caller import Caller

__all__ = [
    "doubled_through_detach",
    "doubled_through_view",
    "optimizer_steps",
    "results_as_inputs",
    "results_out_of_order",
]

_STEPS = 3


def doubled_through_detach(caller: Caller) -> None:
    """Double each result in place through its detach(), which autograd notices if it saved the result."""
    results = caller.call()
    for root in caller.roots(results).values():
        root.detach().mul_(2)
    caller.backward(results)
    caller.see_all(results)


def doubled_through_view(caller: Caller) -> None:
    """Double a view of each result in place, which is recorded."""
    results = caller.call()
    for root in caller.roots(results).values():
        root[...].mul_(2)
    caller.backward(results)
    caller.see_all(results)


def results_as_inputs(caller: Caller) -> None:
    """Pass results in again as the inputs that they fit, and go backward through both calls."""
    first = caller.inputs
    results = caller.call()
    free = list(caller.roots(results).values())
    second, fed = dict(caller.renew()), 0
    for name, value in second.items():
        fits = [
            each
            for each in free
            if isinstance(value, torch.Tensor)
            and value.requires_grad
            and (each.shape, each.dtype) == (value.shape, value.dtype)
        ]
        if fits:
            second[name], fed = fits[0], fed + 1
            free = [each for each in free if each is not fits[0]]
    caller.require(fed > 0)
    caller.inputs = second
    again = caller.call()
    caller.see(again)
    caller.backward(again)
    caller.see_gradients()
    caller.inputs = first
    caller.see_gradients("call[0].")


def results_out_of_order(caller: Caller) -> None:
    """Call three times, then go backward from the last call to the first."""
    made = []
    for _ in range(_STEPS):
        made.append((caller.inputs, caller.call()))
        caller.renew()
    for place, (inputs, results) in reversed(list(enumerate(made))):
        caller.inputs = inputs
        caller.backward(results)
        caller.see_gradients(f"call[{place}].")


def optimizer_steps(caller: Caller) -> None:
    """Train inputs and weights for three steps."""
    leaves = [leaf for leaf in caller.leaves().values() if leaf.is_leaf]
    caller.require(bool(leaves))
    optimizer = torch.optim.SGD(leaves, lr=0.03125, momentum=0.5)
    before = [leaf.detach().clone() for leaf in leaves]
    try:
        for _ in range(_STEPS):
            optimizer.zero_grad()
            caller.backward(caller.call())
            optimizer.step()
        caller.see(caller.leaves(), "trained.")
        caller.see({f"momentum[{at}]": optimizer.state[leaf].get("momentum_buffer") for at, leaf in enumerate(leaves)})
    finally:
        with torch.no_grad():
            for leaf, old in zip(leaves, before, strict=True):
                leaf.copy_(old)

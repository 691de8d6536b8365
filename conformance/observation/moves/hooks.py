"""Hooks that a caller registers after the call, and on what is saved during it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from conformance.observation.caller import Caller

__all__ = ["accumulation_hooks", "leaf_hooks", "result_hooks", "retained_gradients", "saved_tensor_hooks"]


def _doubled(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * 2


def result_hooks(caller: Caller) -> None:
    """Double the gradient of each result by a hook on it."""
    results = caller.call()
    for root in caller.roots(results).values():
        root.register_hook(_doubled)  # type: ignore[no-untyped-call]
    caller.backward(results)
    caller.see_gradients()


def leaf_hooks(caller: Caller) -> None:
    """Double the gradient of each leaf by a hook that is registered after the call."""
    results = caller.call()
    caller.roots(results)
    with ExitStack() as stack:
        for leaf in caller.leaves().values():
            stack.enter_context(leaf.register_hook(_doubled))  # type: ignore[no-untyped-call]
        caller.backward(results)
    caller.see_gradients()


def accumulation_hooks(caller: Caller) -> None:
    """Read each gradient, and halve it in place, when it has been accumulated."""
    results = caller.call()
    caller.roots(results)
    leaves = {path: leaf for path, leaf in caller.leaves().items() if leaf.is_leaf}
    caller.require(bool(leaves))
    counts = dict.fromkeys(leaves, 0)

    def halve(path: str, leaf: torch.Tensor) -> None:
        counts[path] += 1
        if leaf.grad is not None:
            leaf.grad.mul_(0.5)

    with ExitStack() as stack:
        for path, leaf in leaves.items():
            hook = partial(halve, path)
            stack.enter_context(leaf.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]
        caller.backward(results)
    caller.see_gradients()
    caller.see({f"runs for {path}": count for path, count in counts.items()})


def retained_gradients(caller: Caller) -> None:
    """Keep the gradient of each result."""
    results = caller.call()
    roots = caller.roots(results)
    for root in roots.values():
        root.retain_grad()
    caller.backward(results)
    caller.see({f"grad({path})": root.grad for path, root in roots.items()})
    caller.see_gradients()


def saved_tensor_hooks(caller: Caller) -> None:
    """Copy what is saved for backward; what is unpacked is the copy."""
    packed, unpacked = [], []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        packed.append(tensor)
        return tensor.detach().clone()

    def unpack(kept: torch.Tensor) -> torch.Tensor:
        unpacked.append(kept)
        return kept

    results = caller.call(torch.autograd.graph.saved_tensors_hooks(pack, unpack))
    caller.backward(results)
    caller.see({"anything unpacked that was packed": bool(packed) == bool(unpacked)})
    caller.see_gradients()

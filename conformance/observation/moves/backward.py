"""Ways to go backward, other than once from all results."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from conformance.model.device import DEVICE

if TYPE_CHECKING:
    from conformance.observation.caller import Caller

__all__ = [
    "accumulated_gradients",
    "anomaly_mode",
    "backward_in_autocast",
    "backward_in_thread",
    "backward_twice",
    "batched_cotangents",
    "between_results",
    "checkpointed",
    "create_graph",
    "each_result",
    "expanded_cotangents",
    "inputs_only",
    "one_after_another",
    "retain_graph",
    "transposed_cotangents",
]

_FEW = 3  # results of which each has a call of its own


def each_result(caller: Caller) -> None:
    """Backward from each result alone, in a call of its own."""
    paths = list(caller.roots(caller.call(), at_least=2))[:_FEW]
    for place, path in enumerate(paths):
        caller.renew()
        results = caller.call()
        caller.backward({path: results[path]})
        caller.see_gradients(f"call[{place}].")


def one_after_another(caller: Caller) -> None:
    """Backward from one result after the other, without keeping the graph."""
    results = caller.call()
    for place, (path, root) in enumerate(caller.roots(results, at_least=2).items()):
        caller.backward({path: root})
        caller.see_gradients(f"call[{place}].")


def backward_twice(caller: Caller) -> None:
    """Backward twice through a graph that is not kept; uncompiled this raises if anything was saved."""
    results = caller.call()
    caller.backward(results)
    caller.see_gradients("call[0].")
    caller.backward(results)
    caller.see_gradients("call[1].")


def retain_graph(caller: Caller) -> None:
    """Backward twice through a graph that is kept."""
    results = caller.call()
    caller.backward(results, retain_graph=True)
    caller.see_gradients("call[0].")
    caller.backward(results)
    caller.see_gradients("call[1].")


def inputs_only(caller: Caller) -> None:
    """Differentiate with respect to the inputs: nothing accumulates, in weights neither."""
    results = caller.call()
    inputs = {path: tensor for path, tensor in caller.tensors().items() if tensor.requires_grad}
    caller.require(bool(inputs))
    found = caller.grad(caller.roots(results), inputs)
    caller.see({f"grad({path})": gradient for path, gradient in found.items()})
    caller.see_gradients("accumulated.")


def between_results(caller: Caller) -> None:
    """Differentiate each result with respect to the others."""
    paths = list(caller.roots(caller.call(), at_least=2))[:_FEW]
    for of in paths:
        caller.renew()
        roots = caller.roots(caller.call())
        others = {path: roots[path] for path in paths if path != of}
        found = caller.grad({of: roots[of]}, others)
        caller.see({f"grad({of}, {path})": gradient for path, gradient in found.items()})


def create_graph(caller: Caller) -> None:
    """Differentiate the gradients again."""
    results = caller.call()
    leaves = caller.leaves()
    caller.require(bool(leaves))
    first = caller.grad(caller.roots(results), leaves, create_graph=True)
    # Whether a gradient requires gradients itself is not compared: if it does for nothing, the second is None.
    caller.see({f"grad({path})": value if value is None else value.detach() for path, value in first.items()})
    again = {f"grad({path})": value for path, value in first.items() if value is not None and value.requires_grad}
    second = caller.grad(again, leaves) if again else dict.fromkeys(leaves)
    caller.see({f"grad(grad({path}))": value for path, value in second.items()})


def batched_cotangents(caller: Caller) -> None:
    """Differentiate for two cotangents at once."""
    results = caller.call()
    leaves = caller.leaves()
    caller.require(bool(leaves))
    path, root = next(iter(caller.roots(results).items()))
    pair = torch.stack([caller.cotangent(path, root), caller.cotangent(f"{path} again", root)])
    found = caller.grad_with([root], leaves, [pair], is_grads_batched=True)
    caller.see({f"grad({name})": gradient for name, gradient in found.items()})


def expanded_cotangents(caller: Caller) -> None:
    """Go backward with cotangents that are one number, expanded."""
    results = caller.call()
    roots = caller.roots(results)
    ones = [torch.full((), 0.75, dtype=root.dtype).expand(root.shape) for root in roots.values()]
    caller.backward_with(list(roots.values()), ones)
    caller.see_gradients()


def transposed_cotangents(caller: Caller) -> None:
    """Go backward with cotangents whose dimensions lie in memory the other way round."""
    results = caller.call()
    roots = caller.roots(results)
    caller.require(any(root.dim() > 1 for root in roots.values()))
    cotangents = [caller.cotangent(path, root) for path, root in roots.items()]
    order = [list(reversed(range(root.dim()))) for root in roots.values()]
    turned = [each.permute(dims).contiguous().permute(dims) for each, dims in zip(cotangents, order, strict=True)]
    caller.backward_with(list(roots.values()), turned)
    caller.see_gradients()


def backward_in_autocast(caller: Caller) -> None:
    """Go backward within autocast, whatever the call was made in."""
    results = caller.call()
    roots = caller.roots(results)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        caller.backward(roots)
    caller.see_gradients()


def backward_in_thread(caller: Caller) -> None:
    """Go backward in another thread."""
    results = caller.call()
    roots = caller.roots(results)
    raised = []

    def go() -> None:
        try:
            caller.backward(roots)
        except Exception as error:  # noqa: BLE001 - it is raised again by the thread that made the call
            raised.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    caller.see_gradients()


def anomaly_mode(caller: Caller) -> None:
    """Call and go backward with anomaly detection."""
    with torch.autograd.set_detect_anomaly(True):
        results = caller.call()
        caller.see(results)
        caller.backward(results)
    caller.see_gradients()


def accumulated_gradients(caller: Caller) -> None:
    """Call twice, sum the gradients, and keep the objects that hold them."""
    results = caller.call()
    caller.backward(results)
    kept = {path: leaf.grad for path, leaf in caller.leaves().items() if leaf.grad is not None}
    caller.backward(caller.call())
    caller.see_gradients()
    caller.see({f"same .grad of {path}": caller.leaves()[path].grad is grad for path, grad in kept.items()})


def checkpointed(caller: Caller) -> None:
    """Call within a checkpoint, which makes the call again in backward."""
    results = caller.call(through=partial(checkpoint, caller.function, use_reentrant=False))
    caller.see(results)
    caller.backward(results)
    caller.see_gradients()

"""Inputs as users have them: views, results of other operations, twice the same, parameters, frozen ones."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.observation.caller import Caller

__all__ = [
    "computed_inputs",
    "expanded_inputs",
    "frozen_inputs",
    "frozen_weights",
    "inference_inputs",
    "inputs_with_gradients",
    "other_dtype",
    "other_shape",
    "parameters_as_inputs",
    "same_input_twice",
    "transposed_inputs",
    "views_of_leaves",
    "views_of_one_base",
]


def _floating(caller: Caller) -> dict[str, torch.Tensor]:
    """The inputs that are strided tensors of floating numbers, by name."""
    found = {
        name: value
        for name, value in caller.inputs.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.layout is torch.strided
    }
    caller.require(bool(found))
    return found


def _called(caller: Caller, leaves: Mapping[str, torch.Tensor]) -> None:
    """Call, go backward where that can be done, and look at results and at gradients of the leaves."""
    results = caller.call()
    caller.see(results)
    caller.backward_if_recorded(results)
    caller.see_gradients(of=leaves)
    caller.see_gradients(of=caller.weights())
    caller.see(leaves, "base.")


def computed_inputs(caller: Caller) -> None:
    """Pass in what was computed from leaves."""
    leaves = _floating(caller)
    caller.require(any(leaf.requires_grad for leaf in leaves.values()))
    caller.inputs = {**caller.inputs, **{name: leaf * 1 for name, leaf in leaves.items()}}
    _called(caller, leaves)


def inputs_with_gradients(caller: Caller) -> None:
    """Pass in leaves that have a gradient, to which the new one is added in place."""
    leaves = {name: leaf for name, leaf in _floating(caller).items() if leaf.requires_grad and leaf.is_leaf}
    caller.require(bool(leaves))
    for leaf in leaves.values():
        leaf.grad = torch.full_like(leaf, 0.5)
    held = {name: leaf.grad for name, leaf in leaves.items()}
    _called(caller, leaves)
    caller.see({f"same .grad of {name}": leaf.grad is held[name] for name, leaf in leaves.items()})


def views_of_leaves(caller: Caller) -> None:
    """Pass in views of larger leaves."""
    given = {name: value for name, value in _floating(caller).items() if value.dim()}
    caller.require(bool(given))
    bases = {
        name: torch.cat([value.detach()[:1], value.detach()]).requires_grad_(value.requires_grad)
        for name, value in given.items()
    }
    caller.inputs = {**caller.inputs, **{name: base[1:] for name, base in bases.items()}}
    _called(caller, bases)


def _alike(caller: Caller) -> tuple[str, str]:
    """The names of two inputs with the same shape, dtype and need of gradients."""
    facts = {name: (value.shape, value.dtype, value.requires_grad) for name, value in _floating(caller).items()}
    pairs = [(first, second) for first, second in combinations(facts, 2) if facts[first] == facts[second]]
    caller.require(bool(pairs))
    return pairs[0]


def views_of_one_base(caller: Caller) -> None:
    """Pass in two views of one tensor, without overlap."""
    first, second = _alike(caller)
    tensors = _floating(caller)
    base = torch.stack([tensors[first].detach(), tensors[second].detach()])
    base.requires_grad_(tensors[first].requires_grad)
    caller.inputs = {**caller.inputs, first: base[0], second: base[1]}
    _called(caller, {"base": base})


def same_input_twice(caller: Caller) -> None:
    """Pass in one tensor twice."""
    first, second = _alike(caller)
    shared = _floating(caller)[first]
    caller.inputs = {**caller.inputs, second: shared}
    _called(caller, {first: shared})


def expanded_inputs(caller: Caller) -> None:
    """Pass in tensors whose rows are one row, expanded."""
    given = {name: value for name, value in _floating(caller).items() if value.dim() and value.shape[0] > 1}
    caller.require(bool(given))
    rows = {name: value.detach()[:1].clone().requires_grad_(value.requires_grad) for name, value in given.items()}
    caller.inputs = {**caller.inputs, **{name: row.expand(given[name].shape) for name, row in rows.items()}}
    _called(caller, rows)


def transposed_inputs(caller: Caller) -> None:
    """Pass in leaves whose dimensions lie in memory the other way round."""
    given = {name: value for name, value in _floating(caller).items() if value.dim() > 1}
    caller.require(bool(given))
    turned = {}
    for name, value in given.items():
        dims = list(reversed(range(value.dim())))
        memory = value.detach().permute(dims).contiguous()
        turned[name] = memory.permute(dims).requires_grad_(value.requires_grad)
    caller.inputs = {**caller.inputs, **turned}
    _called(caller, turned)


def inference_inputs(caller: Caller) -> None:
    """Pass in tensors that were made in inference_mode; weights that require gradients then refuse them."""
    given = _floating(caller)
    with torch.inference_mode():
        made = {name: value.detach().clone() for name, value in given.items()}
    caller.inputs = {**caller.inputs, **made}
    _called(caller, {})


def parameters_as_inputs(caller: Caller) -> None:
    """Pass in parameters."""
    given = {name: value for name, value in _floating(caller).items() if value.requires_grad}
    caller.require(bool(given))
    parameters = {name: torch.nn.Parameter(value.detach().clone()) for name, value in given.items()}
    caller.inputs = {**caller.inputs, **parameters}
    _called(caller, parameters)


def frozen_inputs(caller: Caller) -> None:
    """Pass in tensors that do not require gradients, then tensors that do."""
    given = {name: value for name, value in _floating(caller).items() if value.requires_grad}
    caller.require(bool(given))
    trained = caller.inputs
    caller.inputs = {**trained, **{name: value.detach() for name, value in given.items()}}
    caller.see(caller.call(), "frozen.")
    caller.inputs = trained
    _called(caller, given)


def frozen_weights(caller: Caller) -> None:
    """Freeze the weights for one call."""
    weights = [weight for weight in caller.weights().values() if weight.requires_grad and weight.is_leaf]
    caller.require(bool(weights))
    try:
        for weight in weights:
            weight.requires_grad_(False)
        results = caller.call()
        caller.see(results, "frozen.")
        caller.backward_if_recorded(results)
        caller.see_gradients("frozen.")
    finally:
        for weight in weights:
            weight.requires_grad_(True)
    caller.renew()
    _called(caller, caller.leaves())


def other_shape(caller: Caller) -> None:
    """Pass in tensors with twice as many rows."""
    given = {name: value for name, value in _floating(caller).items() if value.dim()}
    caller.require(bool(given))
    longer = {
        name: torch.cat([value.detach(), value.detach() * 2]).requires_grad_(value.requires_grad)
        for name, value in given.items()
    }
    caller.inputs = {**caller.inputs, **longer}
    _called(caller, longer)


def other_dtype(caller: Caller) -> None:
    """Pass in tensors of another precision."""
    given = _floating(caller)
    turned = {
        name: value.detach().to(torch.float16 if value.dtype is torch.float64 else torch.float64)
        for name, value in given.items()
    }
    for name, value in turned.items():
        value.requires_grad_(given[name].requires_grad)
    caller.inputs = {**caller.inputs, **turned}
    _called(caller, turned)

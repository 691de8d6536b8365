"""Derivatives that a caller takes of a call otherwise than by going backward from its results once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.autograd import forward_ad, functional

if TYPE_CHECKING:
    from conformance.observation.caller import Caller

__all__ = ["dual_numbers", "jacobian"]

_ELEMENTS = 64  # of all inputs together: a backward is made for each element of a result


def _floating(caller: Caller) -> dict[str, torch.Tensor]:
    """The inputs that are tensors of floating numbers, by name."""
    named = {name: value for name, value in caller.inputs.items() if isinstance(value, torch.Tensor)}
    found = {name: value for name, value in named.items() if value.is_floating_point()}
    caller.require(bool(found))
    return found


def dual_numbers(caller: Caller) -> None:
    """Call with inputs that carry tangents, and look at those of the results."""
    given = _floating(caller)
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(value, caller.cotangent(name, value)) for name, value in given.items()}  # type: ignore[no-untyped-call]
        caller.inputs = {**caller.inputs, **duals}
        results = caller.call()
        tensors = {path: value for path, value in results.items() if isinstance(value, torch.Tensor)}
        parts = {path: forward_ad.unpack_dual(value) for path, value in tensors.items()}  # type: ignore[no-untyped-call]
        caller.see({f"primal({path})": part.primal for path, part in parts.items()})
        caller.see({f"tangent({path})": part.tangent for path, part in parts.items()})


def jacobian(caller: Caller) -> None:
    """Take the Jacobian of the first result with respect to the inputs, one backward for each of its elements."""
    given = _floating(caller)
    caller.require(sum(value.numel() for value in given.values()) <= _ELEMENTS)

    def first_result(*values: torch.Tensor) -> torch.Tensor:
        caller.inputs = {**caller.inputs, **dict(zip(given, values, strict=True))}
        return next(iter(caller.roots(caller.call()).values()))

    found = functional.jacobian(first_result, tuple(given.values()))  # type: ignore[no-untyped-call]
    caller.see({f"jacobian({name})": value for name, value in zip(given, found, strict=True)})

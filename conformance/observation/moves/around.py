"""What a caller has around a call: modes, and a function that is compiled as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from conformance.model.device import DEVICE

if TYPE_CHECKING:
    from conformance.observation.caller import Caller

__all__ = [
    "compiled_autograd",
    "compiled_within",
    "deterministic_mode",
    "evaluation_mode",
    "other_default_dtype",
    "two_modes",
]


def two_modes(caller: Caller) -> None:
    """Call within no_grad and autocast at once, then as before."""
    caller.see(caller.call(torch.autocast(DEVICE, dtype=torch.bfloat16), torch.no_grad()), "call[0].")
    results = caller.call()
    caller.see(results, "call[1].")
    caller.backward_if_recorded(results)
    caller.see_gradients()


def other_default_dtype(caller: Caller) -> None:
    """Call with float64 as default dtype, then as before."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        caller.see(caller.call(), "call[0].")
    finally:
        torch.set_default_dtype(before)
    caller.see(caller.call(), "call[1].")


def deterministic_mode(caller: Caller) -> None:
    """Call with deterministic algorithms."""
    torch.use_deterministic_algorithms(True)
    try:
        results = caller.call()
        caller.see(results)
        caller.backward(results)
        caller.see_gradients()
    finally:
        torch.use_deterministic_algorithms(False)


def compiled_autograd(caller: Caller) -> None:
    """Call, and go backward with compiled autograd, twice."""
    for place in range(2):
        with caller.compiled_autograd():
            results = caller.call()
            caller.see(results, f"call[{place}].")
            caller.backward(results)
        caller.see_gradients(f"call[{place}].")
        caller.renew()


def evaluation_mode(caller: Caller) -> None:
    """Call with the modules in evaluation mode, then in training mode."""
    modules = list(caller.modules().values())
    caller.require(any(module.training for module in modules))
    trained = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        caller.see(caller.call(), "call[0].")
    finally:  # the moves after it are made in training
        for module, training in zip(modules, trained, strict=True):
            module.train(training)
    caller.renew()
    caller.see(caller.call(), "call[1].")


def compiled_within(caller: Caller) -> None:
    """Call from a function that is compiled too."""
    inner = caller.callee

    def outer(*given: object) -> object:
        return inner(*given)

    caller.callee = caller.compiled(outer)
    for place in range(2):
        results = caller.call()
        caller.see(results, f"call[{place}].")
        caller.backward_if_recorded(results)
        caller.see_gradients(f"call[{place}].")
        caller.renew()

"""Programs for the tests of the checks, and functions that go wrong in one way each in place of the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from conformance.model.case import InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.tests.roles import Program

REQUIRES = InputSpec(shape=(4,), requires_grad=True)
PLAIN = InputSpec(shape=(4,))
TWO = {"a": REQUIRES, "b": PLAIN}
W = "w = torch.nn.Parameter(torch.ones(4))\n"
STATE = "state = torch.zeros(4)\n"


class Scaled(torch.autograd.Function):
    """Leaves numbers as they are and gradients scaled."""

    @staticmethod
    def forward(value: torch.Tensor, _: float) -> torch.Tensor:
        """Copy."""
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - the signature of autograd
        """Keep the factor."""
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Scale."""
        return gradient * ctx.factor, None


def scaled(value: torch.Tensor, factor: float) -> Any:
    """Scale the gradient of a value."""
    apply: Program = Scaled.apply
    return apply(value, factor)


class Cubed(torch.autograd.Function):
    """A cube whose gradient has the right numbers in another memory layout, and whose own gradient is wrong."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> Any:
        """Cube."""
        ctx.save_for_backward(value)
        return value**3

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Forget that the slope depends on the value."""
        (value,) = ctx.saved_tensors
        return (gradient * 3 * value.detach() ** 2 + 0 * value).t().contiguous().t()


def after(change: Callable[[Any], Any]) -> Any:
    """Change what the right program returns."""
    return lambda right: lambda *arguments: change(right(*arguments))


def instead(function: Program) -> Any:
    """Do another thing than the right program."""
    return lambda _: function


def honest(right: Program) -> Program:
    """Do what the uncompiled program does."""
    return right


def raising(error: Exception) -> Any:
    """Raise instead of calling."""

    def make(_: Program) -> Program:
        def call(*_: Any) -> Any:
            raise error

        return call

    return make


def stale(right: Program) -> Program:
    """Return the first call's result for ever, with a history of the right kind."""
    kept: list[torch.Tensor] = []

    def call(a: torch.Tensor) -> Any:
        result = right(a)
        kept.append(result.detach())
        return result - result.detach() + kept[0]

    return call


def reusing(right: Program) -> Program:
    """Return every result in the same memory."""
    memory = torch.zeros(4)

    def call(*arguments: Any) -> Any:
        return memory.copy_(right(*arguments)).view(4)

    return call

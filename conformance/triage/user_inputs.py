"""Child side: the inputs of a user's function, to call it or to write them in a case file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

import torch

from conformance.catalogue.documents import DTYPES
from conformance.model.case import InputSpec
from conformance.model.enums import Stage
from conformance.model.errors import UsageError
from conformance.model.user_function import typed
from conformance.observation import inputs, seeding
from conformance.observation.driver import Role, perform
from conformance.observation.user_code import blamed
from conformance.program import build
from conformance.triage.case_file import PlainInputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.request import Request
    from conformance.model.user_function import UserFunction

__all__ = ["called", "describe"]

_FEW = 64  # elements that are written down


def describe(request: Request, report: Callable[[Stage], None]) -> PlainInputs:  # noqa: ARG001 - as every task of a child
    """Make the inputs of a request as its first call has them.

    Raises:
        UsageError: one is neither an ordinary tensor nor a Python number.
    """
    case = request.case
    made = inputs.make(case, request.variant, case.calls[0], request.seed, 0)
    return PlainInputs(inputs={name: _spec(name, value) for name, value in made.items()})


def called(request: Request, report: Callable[[Stage], None]) -> UserFunction:
    """Call a user's function, uncompiled, as in its case.

    Raises:
        UsageError: it raises, or its inputs cannot be made.
    """
    report(Stage.BUILD)
    user = request.case.function
    if user is None:
        message = f"{request.case.id} is of no function of a user"
        raise UsageError(message)
    seeding.seed_default(request.seed)
    module = build.generate(request.case, request.variant).load()

    def function(*arguments: object) -> object:
        try:
            return module.program(*arguments)
        except Exception as error:
            raised.append(error)
            raise

    raised: list[Exception] = []
    report(Stage.REFERENCE)
    with blamed(f"the inputs of {typed(user.ref)} cannot be made: {{}}", user.home):
        perform(Role(request=request, module=module, function=function, stops=lambda _: True))
    if raised:
        with blamed(f"{typed(user.ref)} raises {{}} uncompiled, called with the inputs of --input", user.home):
            raise raised[0]
    return user


def _spec(name: str, value: object) -> InputSpec:
    if isinstance(value, bool | int | float | str):
        return InputSpec(scalar=value)
    if not _is_ordinary(value):
        message = f"a case file cannot describe {name}, which is a {type(value).__name__}"
        raise UsageError(message)
    spec = InputSpec(
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        requires_grad=value.requires_grad,
        stride=None if value.is_contiguous() else value.stride(),
    )
    numbers = value.detach().flatten()
    if not (value.is_floating_point() or value.is_complex()) and value.dtype is not torch.bool and value.numel():
        spec = replace(spec, distribution="integers", low=int(numbers.min()), high=int(numbers.max()) + 1)
    written = value.numel() <= _FEW and not value.is_complex()
    return replace(spec, values=tuple(numbers.tolist())) if written else spec


def _is_ordinary(value: object) -> TypeGuard[torch.Tensor]:
    """Whether it is a dense tensor of a dtype that cases have."""
    if type(value) is not torch.Tensor or value.layout is not torch.strided:
        return False
    return str(value.dtype).removeprefix("torch.") in DTYPES

"""One program compiled by one backend in this process, ready to be timed."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from conformance import ambient, inputs, program, snapshot
from conformance.errors import BackendError
from conformance.evidence import compile_with
from conformance.resolve import patched, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from conformance.model import Request

__all__ = ["Subject", "prepared"]

_WARM_CALLS = 2


@dataclass(kw_only=True)
class Subject:
    """A compiled function with the arguments of its first call.

    `leaves` are the tensors that gradients gather in. `cotangents` holds one for each result that requires
    gradients; none means that the variant has no backward.
    """

    request: Request
    call: Callable[[], object]
    leaves: list[torch.Tensor] = field(default_factory=list)
    cotangents: list[torch.Tensor] = field(default_factory=list)

    def modes(self) -> contextlib.AbstractContextManager[None]:
        """The ambient modes of the variant."""
        return ambient.applied(grad=self.request.variant.grad, autocast=self.request.variant.autocast)

    def forward(self) -> list[torch.Tensor]:
        """Call under the modes of the variant; the results that require gradients."""
        with self.modes():
            results = snapshot.flatten(self.call(), "output")
        return [value for value in results.values() if isinstance(value, torch.Tensor) and value.requires_grad]

    def forward_for_backward(self) -> tuple[tuple[list[torch.Tensor]], dict[str, object]]:
        """Forget gradients and call: positional and named arguments of `backward`."""
        self._forget()
        return (self.forward(),), {}

    def backward(self, results: list[torch.Tensor]) -> None:
        """Go backward from results with random cotangents."""
        torch.autograd.backward(results, self.cotangents)

    def step(self) -> None:
        """Forward and backward, from no gradients to all."""
        self._forget()
        self.backward(self.forward())

    def _forget(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None

    def _warm_up(self) -> None:
        """Compile everything that will be timed."""
        results = self.forward()
        streams = (inputs.stream(self.request.seed, index) for index in range(len(results)))
        self.cotangents = [inputs.cotangent(result, stream) for result, stream in zip(results, streams, strict=False)]
        for _ in range(_WARM_CALLS if results else 0):
            self.step()
        for _ in range(_WARM_CALLS):
            self.forward()


@contextlib.contextmanager
def prepared(request: Request) -> Iterator[Subject]:
    """Compile a request's program here and warm it up; Dynamo forgets it on leaving.

    Raises:
        BackendError: the backend sets environment variables that this process does not have.
    """
    backend = resolve(request.backend.ref)
    _need_environment(backend.env)
    inputs.seed_default(request.seed)
    module = program.generate(request.case, request.variant).load()
    with patched(backend.patches):
        function, _ = compile_with(backend, module.program, dynamic=request.variant.dynamic)
        subject = _subject(request, module, function)
        try:
            subject._warm_up()  # noqa: SLF001 - the other half of construction
            yield subject
        finally:
            torch.compiler.reset()


def _subject(request: Request, module: ModuleType, function: Callable[..., object]) -> Subject:
    arguments = tuple(inputs.make(request.case, request.variant, request.case.calls[0], request.seed, 0).values())
    weights = [
        value for home in vars(module).values() if isinstance(home, torch.nn.Module) for value in home.parameters()
    ]
    tensors = [value for value in (*arguments, *weights) if isinstance(value, torch.Tensor)]
    return Subject(
        request=request,
        call=lambda: function(*arguments),
        leaves=[tensor for tensor in tensors if tensor.requires_grad],
    )


def _need_environment(env: Mapping[str, str]) -> None:
    missing = [f"{name}={value}" for name, value in env.items() if os.environ.get(name) != value]
    if missing:
        message = f"torch is imported already; start pytest with {' '.join(missing)} set to time this backend"
        raise BackendError(message)

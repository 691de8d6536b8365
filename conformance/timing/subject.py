"""A program to time, with its arguments: uncompiled or compiled, warmed up and repeatable."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from conformance.backend.resolution import patched, resolve
from conformance.model.case import Variant
from conformance.model.errors import BackendError
from conformance.observation import ambient, inputs, seeding, snapshot
from conformance.observation.driver import Role, differentiable
from conformance.observation.evidence import GraphWatch, compile_with
from conformance.program import build
from conformance.timing import clock, counters
from conformance.timing.model import DISPATCH, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from conformance.model.request import Request

__all__ = ["Subject", "prepared", "subject_of", "uncompiled"]


_WARM_CALLS = 2


@dataclass(kw_only=True)
class Subject:
    """A function with the arguments of its first call, to be called repeatedly.

    `cotangents` has one for each differentiable result; if empty there is no backward. `watch` counted the graphs of
    the backend, None uncompiled. `optimizers` are those whose step the program leaves to its caller.
    """

    request: Request
    module: ModuleType
    function: Callable[..., object]
    arguments: tuple[object, ...]
    watch: GraphWatch | None = None
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    cotangents: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        tensors = [*self.arguments, *self.role.state().values()]
        self._state = [value for value in tensors if isinstance(value, torch.Tensor)]
        self._leaves = [tensor for tensor in self._state if tensor.requires_grad and tensor.is_leaf]
        self._changed: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._paths: list[str] = []

    @property
    def role(self) -> Role:
        """The program as a role, as checks run it."""
        return Role(request=self.request, module=self.module, function=self.function)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that can be timed, without compilation."""
        if DISPATCH in self.request.case.tags:
            return (Phase.DISPATCH,)
        return (Phase.FORWARD, Phase.BACKWARD, Phase.STEP) if self.cotangents else (Phase.FORWARD,)

    def side(self, phase: Phase) -> clock.Side:
        """Return the side of a phase for the clock, to be timed within `held`."""
        if phase is Phase.BACKWARD:
            return clock.Side(call=self.backward, setup=self.before_backward, rewind=self.rewind)
        call = self.step if phase is Phase.STEP else self.forward if self._casts else self.call
        return clock.Side(call=call, rewind=self.rewind)

    @property
    def _casts(self) -> bool:
        """Whether autocast is an ambient mode: it must be exited after each call, or weights are cast only once."""
        return self.request.variant.autocast != Variant.autocast

    def held(self, phase: Phase) -> contextlib.AbstractContextManager[None]:
        """Return the modes around all calls of a phase; a step enters and exits them each time."""
        inside = phase in {Phase.FORWARD, Phase.DISPATCH} and not self._casts
        return self.modes() if inside else contextlib.nullcontext()

    def modes(self) -> contextlib.AbstractContextManager[None]:
        """Return the ambient modes of the variant."""
        variant = self.request.variant
        if (variant.grad, variant.autocast) == (Variant.grad, Variant.autocast):
            return contextlib.nullcontext()  # cheaper than setting the defaults again
        return ambient.applied(grad=variant.grad, autocast=variant.autocast)

    def call(self) -> object:
        """Call under the current modes."""
        return self.function(*self.arguments)

    def forward(self) -> list[torch.Tensor]:
        """Call under the modes of the variant; return the differentiable results."""
        with self.modes():
            result = self.call()
        return self._results(result)

    def before_backward(self) -> list[torch.Tensor]:
        """Clear gradients and call; return the argument of `backward`."""
        self._clear_gradients()
        return self.forward()

    def backward(self, results: list[torch.Tensor]) -> None:
        """Run backward from results with random cotangents."""
        torch.autograd.backward(results, self.cotangents)

    def step(self) -> None:
        """Run forward, backward, and the step of the optimizer if there is one."""
        self._clear_gradients()
        self.backward(self.forward())
        for optimizer in self.optimizers:
            optimizer.step()

    def rewind(self) -> None:
        """Restore the initial numbers of weights and inputs that calls change."""
        with torch.no_grad():
            for tensor, first in self._changed:
                tensor.copy_(first)

    def _clear_gradients(self) -> None:
        for leaf in self._leaves:
            leaf.grad = None

    def _results(self, result: object) -> list[torch.Tensor]:
        if isinstance(result, torch.Tensor):  # the usual case; flattening takes microseconds, which would be timed
            return [result] if result.grad_fn is not None else []
        return list(differentiable(snapshot.flatten(result, "output")).values())

    def warm_up(self) -> None:
        """Compile everything that will be timed, and find what calls change."""
        first = [tensor.detach().clone() for tensor in self._state]
        results = self.forward()
        streams = (seeding.stream(self.request.seed, index) for index in range(len(results)))
        made = [inputs.cotangent(result, stream) for result, stream in zip(results, streams, strict=False)]
        self.cotangents = self.cotangents or made  # a baseline has those of its candidate
        del results
        for _ in range(_WARM_CALLS if self.cotangents else 0):
            self.step()
        for _ in range(_WARM_CALLS):
            self.forward()
        pairs = zip(self._state, first, strict=True)
        self._changed = [(tensor, was) for tensor, was in pairs if not torch.equal(tensor, was)]
        self.rewind()

    def uncompiled_baseline(self) -> Subject:
        """Return the same program uncompiled, warmed up, on the very same tensors.

        The addresses of tensors change times by some per cent throughout a process, which more rounds do not remove
        from a ratio; and two sets of weights would evict each other from the cache. Python state of the program, such
        as globals, is shared too.
        """
        baseline = replace(self, function=self.module.program, watch=None)
        baseline.warm_up()
        return baseline


def uncompiled(request: Request) -> Subject:
    """Return a request's program uncompiled, warmed up."""
    subject = subject_of(request, lambda function: function)
    subject.warm_up()
    return subject


@contextlib.contextmanager
def prepared(request: Request) -> Iterator[Subject]:
    """Compile a request's program in this process and warm it up; Dynamo is reset on exit.

    Raises:
        BackendError: the backend needs environment variables that this process does not have.
    """
    backend = resolve(request.backend.ref)
    _require_environment(backend.env)
    counters.begin()
    with patched(backend.patches):
        subject = subject_of(request, partial(compile_with, backend, dynamic=request.variant.dynamic))
        subject.watch = GraphWatch()
        try:
            with subject.watch:
                subject.warm_up()
            yield subject
        finally:
            torch.compiler.reset()


def subject_of(request: Request, wrap: Callable[[Callable[..., object]], Callable[..., object]]) -> Subject:
    """Return a request's program with `wrap` applied to its function, not yet called."""
    seeding.seed_default(request.seed)
    module = build.generate(request.case, request.variant).load()
    made = inputs.make(request.case, request.variant, request.case.calls[0], request.seed, 0)
    return Subject(
        request=request,
        module=module,
        function=wrap(module.program),
        arguments=tuple(inputs.related(request.case, made).values()),
        optimizers=_optimizers(request, module),
    )


def _optimizers(request: Request, module: ModuleType) -> list[torch.optim.Optimizer]:
    """The optimizers of the setup that the program does not use."""
    made = {name: value for name, value in vars(module).items() if isinstance(value, torch.optim.Optimizer)}
    return [optimizer for name, optimizer in made.items() if not re.search(rf"\b{name}\b", request.case.program)]


def _require_environment(env: Mapping[str, str]) -> None:
    missing = [f"{name}={value}" for name, value in env.items() if os.environ.get(name) != value]
    if missing:
        message = f"torch is imported already; start pytest with {' '.join(missing)} set to time this backend"
        raise BackendError(message)

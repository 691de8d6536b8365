"""The caller of a program as a move sees it: fresh inputs, the call, backward, and what the caller looks at."""

from __future__ import annotations

import sys
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import torch
from torch._dynamo import compiled_autograd

from conformance.model.enums import Stage
from conformance.observation import inputs, modules, seeding, snapshot
from conformance.observation.driver import arguments_of, differentiable, leaves_of, modes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from conformance.observation.driver import Role
    from conformance.observation.snapshot import Leaves

__all__ = ["Caller", "InapplicableError"]


class InapplicableError(Exception):
    """A program gives nothing to make a move with."""


class Caller:
    """A caller that makes one move.

    Args:
        role: whose function is called.
        number: of the call before its first one; the numbers of its inputs depend on it.

    Attributes:
        inputs: arguments of the next call by name, which a move may replace.
        callee: what is called, which a move may replace too.
        stage: how far the caller is.
        seen: what it looked at, by path.
    """

    def __init__(self, role: Role, number: int) -> None:
        self._role, self._request = role, role.request
        self._call = role.request.case.calls[0]
        self._next = number
        self.callee = role.function
        self.stage = Stage.FORWARD
        self.seen: Leaves = {}
        self.inputs: dict[str, object] = {}
        self._handed: list[Mapping[str, object]] = []
        for tensor in role.state().values():
            tensor.grad = None
        self.renew()

    def renew(self) -> dict[str, object]:
        """Make new inputs for the next call, and return them."""
        self._next += 1
        self.inputs = arguments_of(self._role, self._call, self._next)
        for value in self.tensors().values():
            if value.requires_grad and not value.is_leaf:
                value.retain_grad()
        self._handed.append(self.inputs)
        return self.inputs

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors among the inputs by path."""
        return {path: leaf for name, value in self.inputs.items() for path, leaf in leaves_of(name, value)}

    def weights(self) -> dict[str, torch.Tensor]:
        """Return parameters, buffers and tensors of the program's setup by name."""
        return self._role.state()

    def modules(self) -> dict[str, torch.nn.Module]:
        """Return the modules of the program's setup by name."""
        return {name: value for name, value in vars(self._role.module).items() if isinstance(value, torch.nn.Module)}

    def leaves(self) -> dict[str, torch.Tensor]:
        """Return the inputs and weights in which gradients accumulate."""
        every = {**self.tensors(), **self.weights()}
        return {name: value for name, value in every.items() if value.requires_grad}

    def function(self, *arguments: object) -> object:
        """Call what is called, with the random numbers of this call."""
        seeding.seed_default(self._request.seed + self._next + self._role.reseed)
        with self._within():
            return self.callee(*arguments)

    def call(
        self, *holding: AbstractContextManager[object], through: Callable[..., object] | None = None
    ) -> dict[str, object]:
        """Call the function with the inputs in the caller's modes, and return the parts of its result by path.

        Args:
            holding: contexts that the caller holds besides, outermost first.
            through: what calls `function` in turn, with the inputs.
        """
        self.stage = Stage.FORWARD
        with ExitStack() as stack:
            for each in (modes_of(self._request, self._call), *holding):
                stack.enter_context(each)
            return snapshot.flatten((through or self.function)(*self.inputs.values()), "output")

    def compiled(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return another function, compiled as the function of this role is; it may call what the role calls."""
        if self._role.compile is None:
            return function
        # Dynamo looks there for what a function of another module names.
        sys.modules[self._role.module.__name__] = self._role.module
        modules.look_up_anew()
        return self._role.compile(function)

    def compiled_autograd(self) -> AbstractContextManager[object]:
        """Return a context within which backward is compiled too, as the function was."""
        if self._role.compile is None:
            return nullcontext()
        return compiled_autograd._enable(self._role.compile)  # noqa: SLF001 - the configuration covers backward inside alone

    def cotangent(self, path: str, value: torch.Tensor) -> torch.Tensor:
        """Return a random cotangent of a result."""
        stream = seeding.stream(self._request.seed, self._next, "first", path)
        return self._role.cotangent(inputs.cotangent(value, stream))

    def backward(self, results: Mapping[str, object], *, retain_graph: bool = False) -> None:
        """Go backward from results at once, with random cotangents."""
        self.stage = Stage.BACKWARD
        roots = self.roots(results)
        cotangents = [self.cotangent(path, value) for path, value in roots.items()]
        self.backward_with(list(roots.values()), cotangents, retain_graph=retain_graph)

    def backward_if_recorded(self, results: Mapping[str, object]) -> None:
        """Go backward from results at once, if any was recorded."""
        if any(isinstance(value, torch.Tensor) and value.grad_fn is not None for value in results.values()):
            self.backward(results)

    def backward_with(
        self, roots: list[torch.Tensor], cotangents: list[torch.Tensor], *, retain_graph: bool = False
    ) -> None:
        """Go backward from tensors with given cotangents, unless the call of the case goes without."""
        if not self._call.backward:
            return
        self.stage = Stage.BACKWARD
        with self._within():
            torch.autograd.backward(roots, cotangents, retain_graph=retain_graph)

    def grad(
        self, roots: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], **options: bool
    ) -> dict[str, torch.Tensor | None]:
        """Return `torch.autograd.grad` with random cotangents and `allow_unused`, by name of the target."""
        cotangents = [self.cotangent(path, value) for path, value in roots.items()]
        return self.grad_with(list(roots.values()), targets, cotangents, **options)

    def grad_with(
        self,
        roots: list[torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        cotangents: list[torch.Tensor],
        **options: bool,
    ) -> dict[str, torch.Tensor | None]:
        """Return `torch.autograd.grad` with given cotangents and `allow_unused`, by name of the target.

        All are None if the call of the case goes without backward.
        """
        if not self._call.backward:
            return dict.fromkeys(targets)
        self.stage = Stage.BACKWARD
        with self._within():
            found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
                roots, list(targets.values()), cotangents, allow_unused=True, **options
            )
        return dict(zip(targets, found, strict=True))

    def roots(self, results: Mapping[str, object], *, at_least: int = 1) -> dict[str, torch.Tensor]:
        """Return the results that backward can start from.

        Raises:
            InapplicableError: there are fewer.
        """
        found = differentiable(results)
        self.require(len(found) >= at_least)
        return found

    def see(self, values: Mapping[str, object], within: str = "") -> None:
        """Look at values now, as they are."""
        self.seen |= snapshot.take_all({f"{within}{path}": value for path, value in values.items()})

    def see_gradients(self, within: str = "", of: Mapping[str, torch.Tensor] | None = None) -> None:
        """Look at the gradients that have accumulated in inputs and weights, or in other tensors."""
        every = {**self.tensors(), **self.weights()} if of is None else of
        held = {name: value.grad for name, value in every.items() if value.is_leaf or value.retains_grad}
        self.see({f"grad({name})": value for name, value in held.items()}, within)

    def see_all(self, results: Mapping[str, object], within: str = "") -> None:
        """Look at results and at gradients."""
        self.see(results, within)
        self.see_gradients(within)

    def look_back(self) -> None:
        """Look at everything that was passed in, and at the weights, as they are at the end."""
        for place, handed in enumerate(self._handed):
            values = {path: leaf for name, value in handed.items() for path, leaf in leaves_of(name, value)}
            self.see(values, f"after.call[{place}].")
        self.see(self.weights(), "after.")

    def require(self, holds: bool) -> None:
        """Give up a move that does not apply.

        Raises:
            InapplicableError: it does not hold.
        """
        if not holds:
            raise InapplicableError

    def _within(self) -> AbstractContextManager[object]:
        return self._role.around(len(self._request.case.calls))

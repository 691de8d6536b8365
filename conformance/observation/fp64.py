"""The fp64 reference: the same program and numbers in float64; run only when a comparison asks for it."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from conformance.model.enums import Capability
from conformance.observation.compare import NoReference, compare_leaves
from conformance.observation.distances import gaps
from conformance.observation.driver import Role, perform
from conformance.observation.random_draws import SEEDS, depends
from conformance.observation.sensitivity import nudged
from conformance.observation.tensors import Copies
from conformance.observation.tolerance import lowest
from conformance.observation.widening import WIDER, Trace, Widening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

    from conformance.model.request import Request
    from conformance.observation.driver import RoleObservation
    from conformance.observation.snapshot import Leaf, Leaves

__all__ = ["Reference"]

_CALL = re.compile(r"call\[(\d+)\]")

_APART = 1_000_003  # of seeds: calls of one run have neighbouring ones


class Reference:
    """What exact arithmetic would give, and how precise the program's own path is.

    Args:
        request: what is run.
        build: makes a fresh namespace of the program, seeded as every other role's.
    """

    def __init__(self, request: Request, build: Callable[[], ModuleType]) -> None:
        self._request = request
        self._build = build
        claimed, allowed = request.backend.tolerance, request.case.tolerance
        self._moved: dict[torch.dtype, list[RoleObservation]] = {}
        self.overrides = {name: max(claimed.get(name, 0.0), allowed.get(name, 0.0)) for name in {*claimed, *allowed}}

    def precision(self, where: str) -> torch.dtype:
        """The lowest floating dtype on the path to a set of leaves, casts by autocast included."""
        index = _index(where)
        return lowest(set[torch.dtype]().union(*self._paths) if index is None else self._paths[index])

    @cached_property
    def _paths(self) -> list[set[torch.dtype]]:
        """The dtypes it computes in uncompiled, call by call; what changed the program's state stays on the path."""
        traces, seen = self._traced
        paths: list[set[torch.dtype]] = []
        carried: set[torch.dtype] = set()
        for trace, call in zip(traces, seen.calls, strict=True):
            paths.append(trace.dtypes | carried)
            if any(change for name, change in call.versions.items() if name not in self._request.case.inputs):
                carried = paths[-1]
        return paths

    @cached_property
    def _traced(self) -> tuple[list[Trace], RoleObservation]:
        """What it computes in and draws uncompiled, call by call, and what it did under the mode that notes it."""
        traces = [Trace() for _ in self._request.case.calls]
        return traces, perform(self._role(self._build(), around=traces.__getitem__))

    def _role(self, module: ModuleType, **changes: Any) -> Role:  # noqa: ANN401 - fields of Role
        return Role(request=self._request, module=module, function=module.program, **changes)

    def leaf(self, where: str, path: str) -> torch.Tensor | None:
        """The float64 counterpart of a leaf, or None where float64 has no say.

        Args:
            where: `retained`, or `call[i].outputs`, `call[i].gradients`, `call[i].tracked`, ...
            path: the leaf's path.
        """
        return None if self._double is None else _find(self._double, where, path)

    def spread(self, where: str, path: str) -> torch.Tensor | None:
        """How far uncompiled numbers move when all that goes in does, by a unit in the last place of the path's dtype.

        Args:
            where: as for `leaf`.
            path: the leaf's path.

        Returns:
            The largest distance of each element, or None where nothing can be told.
        """
        expected = _find(self._plain, where, path)
        moved = [_find(seen, where, path) for seen in self._nudged(self.precision(where))]
        if expected is None or not expected.numel():
            return None
        if any(each is None or each.shape != expected.shape for each in moved):
            return None
        found = torch.stack([gaps(each, expected) for each in moved if each is not None])
        return found.nan_to_num(nan=0.0, posinf=0.0).amax(0)

    def other_draws(self, where: str, path: str) -> list[Leaf]:
        """A leaf for each of several further seeds, where it depends on random numbers that need not be the same.

        Args:
            where: as for `leaf`.
            path: the leaf's path.
        """
        if Capability.RNG in self._request.backend.capabilities or not any(call.draws for call in self._plain.calls):
            return []
        found = [_leaves(seen, where).get(path) for seen in (self._plain, *self._reseeded)]
        known = [leaf for leaf in found if leaf is not None]
        return known if len(known) == len(found) and depends(known) else []

    @cached_property
    def _reseeded(self) -> list[RoleObservation]:
        return [perform(self._role(self._build(), reseed=_APART * (1 + index))) for index in range(SEEDS)]

    def _nudged(self, precision: torch.dtype) -> list[RoleObservation]:
        if precision not in self._moved:
            self._moved[precision] = nudged(lambda: self._role(self._build()), torch.finfo(precision).eps)
        return self._moved[precision]

    @cached_property
    def _plain(self) -> RoleObservation:
        """The program as it is, uncompiled."""
        return perform(self._role(self._build()))

    @cached_property
    def _double(self) -> RoleObservation | None:
        """The float64 run, or None where it cannot be taken for the truth.

        Inputs of which one was computed from another must hang together in it too. And a dispatch mode is not without
        effect on every operator: where it had nothing to do, the run without it counts; where it had, it must not
        change what the uncompiled program does.
        """
        modes, copies = [Widening(trace.draws) for trace in self._traced[0]], Copies(WIDER)
        seen = self._widened(modes.__getitem__, copies)
        if copies.has_cut:
            return None
        if not any(mode.has_intervened for mode in modes):
            seen = self._widened(lambda _: nullcontext(), Copies(WIDER))
        elif not self._is_mode_without_effect:
            return None
        has_followed = all(mode.has_followed for mode in modes)
        return seen if has_followed and not any(call.raised for call in seen.calls) else None

    def _widened(self, around: Callable[[int], AbstractContextManager[object]], copies: Copies) -> RoleObservation:
        module = self._build()
        _widen(module)  # and the inputs too: autocast leaves float64 alone
        return perform(self._role(module, prepare=copies, around=lambda index: _in_float64(around(index))))

    @cached_property
    def _is_mode_without_effect(self) -> bool:
        """Whether the uncompiled program does under a dispatch mode what it does without one."""
        with_mode, without = self._traced[1], self._plain
        return all(
            not compare_leaves(getattr(one, name), getattr(other, name), reference=NoReference()).differences
            for one, other in zip(with_mode.calls, without.calls, strict=True)
            for name in ("outputs", "tracked", "gradients", "second_gradients", "handed")
        )


def _find(seen: RoleObservation, where: str, path: str) -> torch.Tensor | None:
    """The numbers of a leaf in what a role did."""
    leaves = _leaves(seen, where)
    return leaves[path].data if path in leaves else None


def _leaves(seen: RoleObservation, where: str) -> Leaves:
    index = _index(where)
    leaves: Leaves = getattr(seen if index is None else seen.calls[index], where.rpartition(".")[2])
    return leaves


def _index(where: str) -> int | None:
    """The call that a set of leaves belongs to; None for `retained`, which looks back at all of them."""
    found = _CALL.match(where)
    return int(found[1]) if found else None


@contextmanager
def _in_float64(mode: AbstractContextManager[object]) -> Iterator[None]:
    """What the program does, in float64 by default and in a mode; what the driver draws keeps its dtype."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mode:
            yield
    finally:
        torch.set_default_dtype(default)


def _widen(module: ModuleType) -> None:
    """Turn the weights of a program's setup into float64 in place, so that optimizers and closures see it."""
    for value in vars(module).values():
        if isinstance(value, torch.nn.Module):
            value.double()
        elif isinstance(value, torch.Tensor) and value.dtype in WIDER:
            value.data = value.data.to(WIDER[value.dtype])

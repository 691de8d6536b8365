"""The fp64 reference: the same program and numbers in float64, run only when a comparison needs it."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from conformance.model.enums import Capability
from conformance.observation.compare import NoReference, compare_leaves
from conformance.observation.distances import gaps
from conformance.observation.driver import Role
from conformance.observation.random_draws import SEEDS, depends
from conformance.observation.repertoire import observe
from conformance.observation.sensitivity import nudged
from conformance.observation.tensors import Copies
from conformance.observation.tolerance import lowest
from conformance.observation.widening import WIDER, Trace, Widening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from conformance.model.request import Request
    from conformance.observation.driver import RoleObservation
    from conformance.observation.snapshot import Leaf, Leaves

__all__ = ["Reference"]

_CALL = re.compile(r"call\[(\d+)\]")
_MOVE = re.compile(r"moves\[(\w+)\]")

_SEED_STEP = 1_000_003  # far apart: the calls of one run have consecutive seeds


class Reference:
    """The result of exact arithmetic, and the precision of the program's own path.

    Args:
        request: the program to run.
        build: makes a fresh namespace of the program, seeded as for every other role.
        moves: names of the moves that are compared.
    """

    def __init__(self, request: Request, build: Callable[[], ModuleType], moves: Sequence[str] = ()) -> None:
        self._request = request
        self._build = build
        self._moves = moves
        claimed, allowed = request.backend.tolerance, request.case.tolerance
        self._moved: dict[torch.dtype, list[RoleObservation]] = {}
        self.overrides = {name: max(claimed.get(name, 0.0), allowed.get(name, 0.0)) for name in {*claimed, *allowed}}

    def precision(self, where: str) -> torch.dtype:
        """Return the lowest floating dtype on the path to a set of leaves, including casts by autocast."""
        index = _index(where)
        return lowest(set[torch.dtype]().union(*self._paths) if index is None else self._paths[index])

    def demands_bits(self, where: str) -> bool:
        """Return whether a set of leaves comes of pointwise operations alone, on a backend that claims their bits."""
        if not self._request.backend.bitwise_pointwise:
            return False
        traces, index = self._traced[0], _index(where)
        return all(trace.is_pointwise for trace in (traces if index is None else traces[: index + 1]))

    @cached_property
    def _paths(self) -> list[set[torch.dtype]]:
        """The dtypes that each uncompiled call computes in; those of calls that changed program state carry over."""
        traces, observation = self._traced
        paths: list[set[torch.dtype]] = []
        carried: set[torch.dtype] = set()
        for trace, call in zip(traces, observation.calls, strict=False):
            paths.append(trace.dtypes | carried)
            if any(change for name, change in call.versions.items() if name not in self._request.case.inputs):
                carried = paths[-1]
        return [*paths, *(trace.dtypes | carried for trace in traces[len(paths) :])]

    @cached_property
    def _traced(self) -> tuple[list[Trace], RoleObservation]:
        """Dtypes and random draws of each uncompiled call, and the observation of the run that recorded them."""
        traces = [Trace() for _ in (*self._request.case.calls, self._moves)]  # all moves have one
        return traces, self._observe(around=traces.__getitem__)

    def _observe(self, **changes: Any) -> RoleObservation:  # noqa: ANN401 - fields of Role
        return observe(self._role(self._build(), **changes), self._moves)

    def _role(self, module: ModuleType, **changes: Any) -> Role:  # noqa: ANN401 - fields of Role
        return Role(request=self._request, module=module, function=module.program, **changes)

    def leaf(self, where: str, path: str) -> torch.Tensor | None:
        """Return the float64 counterpart of a leaf, or None if there is no usable one.

        Args:
            where: `retained`, or `call[i].outputs`, `call[i].gradients`, `call[i].tracked`, `moves[name]`, ...
            path: the leaf's path.
        """
        return None if self._double is None else _find(self._double, where, path)

    def spread(self, where: str, path: str) -> torch.Tensor | None:
        """Return how far uncompiled numbers move when all inputs move by a unit in the last place of the path's dtype.

        Args:
            where: as for `leaf`.
            path: the leaf's path.

        Returns:
            The largest distance of each element, or None where it is unknown.
        """
        expected = _find(self._plain, where, path)
        moved = [_find(run, where, path) for run in self._nudged(self.precision(where))]
        if expected is None or not expected.numel():
            return None
        if any(each is None or each.shape != expected.shape for each in moved):
            return None
        found = torch.stack([gaps(each, expected) for each in moved if each is not None])
        return found.nan_to_num(nan=0.0, posinf=0.0).amax(0)

    def other_draws(self, where: str, path: str) -> list[Leaf]:
        """Return a leaf for each of several further seeds, if it depends on random numbers that may differ.

        Args:
            where: as for `leaf`.
            path: the leaf's path.
        """
        if Capability.RNG in self._request.backend.capabilities or not any(call.draws for call in self._plain.calls):
            return []
        found = [_leaves(run, where).get(path) for run in (self._plain, *self._reseeded)]
        known = [leaf for leaf in found if leaf is not None]
        return known if len(known) == len(found) and depends(known) else []

    @cached_property
    def _reseeded(self) -> list[RoleObservation]:
        return [self._observe(reseed=_SEED_STEP * (1 + index)) for index in range(SEEDS)]

    def _nudged(self, precision: torch.dtype) -> list[RoleObservation]:
        if precision not in self._moved:
            unit = torch.finfo(precision).eps
            self._moved[precision] = nudged(lambda: self._role(self._build()), unit, self._moves)
        return self._moved[precision]

    @cached_property
    def _plain(self) -> RoleObservation:
        """The program as it is, uncompiled."""
        return self._observe()

    @cached_property
    def _double(self) -> RoleObservation | None:
        """The float64 run, or None where it cannot serve as the reference.

        Inputs that were computed from one another must be so in it too. A dispatch mode can itself change an operator:
        if it had nothing to widen or replay, the run without it counts; otherwise a mode must not change the results
        of the uncompiled program.
        """
        modes, copies = [Widening(trace.draws) for trace in self._traced[0]], Copies(WIDER)
        observation = self._widened(modes.__getitem__, copies)
        if copies.has_cut:
            return None
        if not any(mode.has_intervened for mode in modes):
            observation = self._widened(lambda _: nullcontext(), Copies(WIDER))
        elif not self._is_mode_without_effect:
            return None
        has_followed = all(mode.has_followed for mode in modes)
        return observation if has_followed and not any(call.raised for call in observation.calls) else None

    def _widened(self, around: Callable[[int], AbstractContextManager[object]], copies: Copies) -> RoleObservation:
        module = self._build()
        _widen(module)  # and the inputs too: autocast does not cast float64
        return observe(self._role(module, prepare=copies, around=lambda index: _in_float64(around(index))), self._moves)

    @cached_property
    def _is_mode_without_effect(self) -> bool:
        """Whether the uncompiled program gives the same results under a dispatch mode as without one."""
        with_mode, without = self._traced[1], self._plain
        return all(
            not compare_leaves(getattr(call, name), getattr(plain, name), reference=NoReference()).differences
            for call, plain in zip(with_mode.calls, without.calls, strict=True)
            for name in ("outputs", "tracked", "gradients", "second_gradients", "handed")
        )


def _find(observation: RoleObservation, where: str, path: str) -> torch.Tensor | None:
    """The numbers of a leaf in an observation."""
    leaves = _leaves(observation, where)
    return leaves[path].numbers if path in leaves else None


def _leaves(observation: RoleObservation, where: str) -> Leaves:
    if move := _MOVE.match(where):
        return observation.moves[move[1]].leaves if move[1] in observation.moves else {}
    index = _index(where)
    leaves: Leaves = getattr(observation if index is None else observation.calls[index], where.rpartition(".")[2])
    return leaves


def _index(where: str) -> int | None:
    """The call that a set of leaves belongs to; None for `retained`, which covers all calls, and for moves."""
    found = _CALL.match(where)
    return int(found[1]) if found else None


@contextmanager
def _in_float64(mode: AbstractContextManager[object]) -> Iterator[None]:
    """Run the program with float64 as default dtype and in a mode; what the driver draws keeps its dtype."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mode:
            yield
    finally:
        torch.set_default_dtype(default)


def _widen(module: ModuleType) -> None:
    """Convert the weights of a program's setup to float64 in place, so that optimizers and closures use them."""
    for value in vars(module).values():
        if isinstance(value, torch.nn.Module):
            value.double()
        elif isinstance(value, torch.Tensor) and value.dtype in WIDER:
            value.data = value.data.to(WIDER[value.dtype])

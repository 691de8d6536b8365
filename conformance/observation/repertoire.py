"""Make the moves of a request in one role: each by a caller of its own, on inputs of its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch._dynamo import config

from conformance.model.moves import MOVES, number_before
from conformance.observation import ambient
from conformance.observation.caller import Caller, InapplicableError
from conformance.observation.driver import MoveObservation, perform, saved_bytes
from conformance.observation.exceptions import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from conformance.model.moves import MoveSpec
    from conformance.observation.ambient import AmbientState
    from conformance.observation.driver import Role, RoleObservation

__all__ = ["make_moves", "observe", "weights_of"]

_RECOMPILATIONS = 64  # of one function


def observe(role: Role, moves: Sequence[str] = ()) -> RoleObservation:
    """Run a role through its calls, then make moves; those that do not apply are left out."""
    weights = weights_of(role)
    observation = perform(role)
    if observation.complete and moves:
        saved_bytes(role)  # a call more, which the compiled role makes too: a program may count its calls
        observation.moves = make_moves(role, moves, weights)
    return observation


def weights_of(role: Role) -> dict[str, torch.Tensor]:
    """Return copies of the weights, buffers and tensors of a program's setup, by name."""
    return {name: tensor.detach().clone() for name, tensor in _writable(role).items()}


def make_moves(
    role: Role, names: Sequence[str], weights: Mapping[str, torch.Tensor], applicable: Collection[str] = ()
) -> dict[str, MoveObservation]:
    """Make moves one after another, and return what the caller saw of each; those that do not apply are left out.

    They are begun all the same in every role: a program may keep what is not restored, such as an optimizer's state.

    Args:
        role: whose function is called.
        names: of the moves.
        weights: which each move starts from, whatever was done before it.
        applicable: moves that did apply uncompiled; if one does not, that is an exception like any other.
    """
    made: dict[str, MoveObservation] = {}
    # Dynamo would leave a function to Python that is compiled for the ninth time.
    with config.patch(recompile_limit=_RECOMPILATIONS):
        base = ambient.capture()
        for name in names:
            tensors = _writable(role)
            for each in tensors.keys() & weights.keys():
                tensors[each].data.copy_(weights[each])
            if (observed := _make(role, MOVES[name], base, must_apply=name in applicable)) is not None:
                made[name] = observed
    return made


def _writable(role: Role) -> dict[str, torch.Tensor]:
    plain = {torch.Tensor, torch.nn.Parameter}
    return {name: value for name, value in role.state().items() if type(value) in plain and not value.is_sparse}


def _make(role: Role, spec: MoveSpec, base: AmbientState, *, must_apply: bool) -> MoveObservation | None:
    caller, observed = Caller(role, number_before(spec.name)), MoveObservation(before=base)
    role.report(caller.stage)
    try:
        _function(spec)(caller)
    except Exception as error:  # noqa: BLE001 - what a program or a backend raises is the observation
        if isinstance(error, InapplicableError) and not must_apply:
            return None
        observed.raised = describe(error, caller.stage)
    finally:
        observed.after = ambient.capture()
        ambient.restore(base)
    caller.look_back()
    observed.leaves = caller.seen
    return observed


def _function(spec: MoveSpec) -> Callable[[Caller], None]:
    move: Callable[[Caller], None] = getattr(import_module(f"conformance.observation.moves.{spec.home}"), spec.name)
    return move

"""The catalogue of moves: what a caller does before, around and after a call, beside one backward from all results.

Each is a function of its name in a module of `conformance.observation.moves`. A move is made uncompiled first; where
it does not apply to a program, it is left out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from conformance.model.enums import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALL", "MOVES", "NO_MOVES", "SEPARATOR", "SETS", "USUAL", "MoveSpec", "chosen", "move_of", "number_before"]

NO_MOVES = "none"
"""The moves of a variant in which the caller makes the calls of its case."""
USUAL = "usual"
"""The moves of a variant that makes, of those for which something is compiled anew, only a few."""
ALL = "all"
"""The moves of a variant that makes every one that applies."""
SETS = (NO_MOVES, USUAL, ALL)
"""Words for sets of moves, in place of names."""
SEPARATOR = "+"
"""Between the names of moves in the id of a variant."""

_PLAIN_CALLS = 2  # of the case, before moves are made
_CALLS_OF_A_MOVE = 8  # at most, so that no two moves get the same inputs
_SET_MODES = frozenset({"backward_in_autocast", "inference_inputs", "two_modes"})
_AT_FIRST = 16  # moves that compile anew, when the draw was first made
_SLOW_SHARE = 3  # of so many cases, one makes a move that compiles anew on a backend that takes seconds for it


@dataclass(frozen=True, kw_only=True)
class MoveSpec:
    """One move.

    Args:
        name: of its function, and in `move.<name>` of the check that compares what it shows.
        home: the module of `conformance.observation.moves` that it is in.
        does: what the caller does, as one sentence.
        needs: a capability; where a backend does not claim it, an exception is an advisory, another result is not.
        recompiles: whether something is compiled anew for it.
        sets_mode: whether the caller sets a gradient mode, inference mode or autocast in it.
    """

    name: str
    home: str
    does: str
    needs: Capability | None = None
    recompiles: bool = False
    sets_mode: bool = False

    @property
    def check(self) -> str:
        """The name of the check that compares what the move shows."""
        return f"move.{self.name}"


def _in(home: str, /, *, needs: Capability | None = None, recompiles: bool = False, **does: str) -> list[MoveSpec]:
    return [
        MoveSpec(name=name, home=home, does=text, needs=needs, recompiles=recompiles, sets_mode=name in _SET_MODES)
        for name, text in does.items()
    ]


_SPECS = (
    *_in(
        "backward",
        each_result="backward from each result alone, in a call of its own",
        one_after_another="backward from one result after the other, without keeping the graph",
        backward_twice="backward twice through a graph that is not kept",
        inputs_only="torch.autograd.grad with respect to the inputs: nothing accumulates",
        between_results="torch.autograd.grad of one result with respect to another",
    ),
    *_in(
        "backward",
        needs=Capability.RETAIN_GRAPH,
        retain_graph="backward twice through a graph that is kept",
    ),
    *_in(
        "backward",
        needs=Capability.BATCHED_GRADIENTS,
        batched_cotangents="torch.autograd.grad for two cotangents at once (is_grads_batched)",
    ),
    *_in(
        "backward",
        needs=Capability.DOUBLE_BACKWARD,
        create_graph="second derivatives, by torch.autograd.grad with create_graph",
    ),
    *_in(
        "backward",
        expanded_cotangents="backward with cotangents that are expanded, as those of a sum",
        transposed_cotangents="backward with cotangents in another memory order",
        backward_in_autocast="backward within autocast",
        backward_in_thread="backward in another thread",
        anomaly_mode="call and backward with anomaly detection",
        accumulated_gradients="two calls whose gradients are summed, with the same .grad objects",
        checkpointed="the call within torch.utils.checkpoint, which makes it again in backward",
    ),
    *_in(
        "hooks",
        result_hooks="a hook on each result, which doubles its gradient",
        leaf_hooks="a hook on each leaf after the call, which doubles its gradient",
        accumulation_hooks="a hook on each leaf that runs when its gradient was accumulated",
        retained_gradients="retain_grad on each result",
        saved_tensor_hooks="hooks on what is saved for backward, which copy it",
    ),
    *_in(
        "results",
        doubled_through_detach="each result doubled in place through its detach() before backward",
        doubled_through_view="a view of each result doubled in place before backward",
        results_as_inputs="results passed in again as inputs, and backward through both calls",
        results_out_of_order="three calls, and backward from the last to the first",
        optimizer_steps="three steps of SGD with momentum on inputs and weights",
    ),
    *_in(
        "inputs",
        computed_inputs="inputs that were computed from leaves",
        inputs_with_gradients="inputs that have a gradient already",
    ),
    *_in(
        "inputs",
        recompiles=True,
        views_of_leaves="inputs that are views of larger leaves",
        views_of_one_base="two inputs that are views of one tensor",
        same_input_twice="one tensor as two inputs",
        expanded_inputs="inputs that are expanded",
        transposed_inputs="inputs in another memory order",
        inference_inputs="inputs that were made in inference_mode",
        parameters_as_inputs="inputs that are torch.nn.Parameters",
        frozen_inputs="inputs that do not require gradients, then inputs that do",
        frozen_weights="weights frozen for one call",
        other_shape="inputs with twice as many rows",
        other_dtype="inputs of another precision",
    ),
    *_in(
        "around",
        recompiles=True,
        two_modes="the call within no_grad and autocast at once",
        other_default_dtype="the call with float64 as default dtype",
        deterministic_mode="the call with deterministic algorithms",
        compiled_autograd="backward with compiled autograd",
        evaluation_mode="the modules in evaluation mode, then in training mode again",
        compiled_within="the call within another compiled function",
    ),
    *_in(
        "derivatives",
        needs=Capability.FORWARD_DERIVATIVES,
        recompiles=True,
        dual_numbers="the call with dual numbers, whose tangents give those of the results",
    ),
    *_in(
        "derivatives",
        needs=Capability.RETAIN_GRAPH,
        recompiles=True,
        jacobian="torch.autograd.functional.jacobian of the first result",
    ),
)

MOVES: Mapping[str, MoveSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
"""All moves by name, in the order in which they are made; those that recompile come last."""


_BY_CHECK = {spec.check: spec for spec in _SPECS}


def move_of(check: str) -> MoveSpec | None:
    """Return the move whose check has a name; None for a check of something else."""
    return _BY_CHECK.get(check)


def number_before(name: str) -> int:
    """Return the number of the call before the first one of a move; inputs depend on the numbers of their calls."""
    return _PLAIN_CALLS + 1 + list(MOVES).index(name) * _CALLS_OF_A_MOVE


def chosen(text: str, case_id: str, *, is_slow: bool) -> tuple[str, ...]:
    """Return the names of the moves of a variant, in the order in which they are made.

    Of those for which something is compiled anew one is usual, drawn by the id of the case alone, so that a run takes
    at most half as long again. What a backend makes that takes seconds to compile, every backend makes.

    Args:
        text: `moves` of the variant: `none`, `usual`, `all`, or names joined by `+`.
        case_id: of the case.
        is_slow: whether the backend takes seconds to compile.
    """
    if text == ALL:
        return tuple(MOVES)
    if text != USUAL:
        asked = text.split(SEPARATOR)
        return tuple(name for name in MOVES if name in asked)
    drawn = _drawn(case_id, is_slow=is_slow)
    return tuple(spec.name for spec in MOVES.values() if not spec.recompiles or spec.name == drawn)


def _drawn(case_id: str, *, is_slow: bool) -> str:
    """The move of a case for which something is compiled anew; empty if there is none on a slow backend.

    Each is as likely. One that is added later takes the place of another in its share of cases; the rest keep theirs.
    """
    expensive = [spec.name for spec in MOVES.values() if spec.recompiles]
    turn, start = divmod(zlib.crc32(case_id.encode()), _AT_FIRST)
    drawn = expensive[start]
    for number, name in enumerate(expensive[_AT_FIRST:], start=_AT_FIRST + 1):
        if zlib.crc32(f"{case_id} {name}".encode()) % number == 0:
            drawn = name
    return drawn if not is_slow or turn % _SLOW_SHARE == 0 else ""

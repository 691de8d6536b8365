"""move.*: what a caller sees who makes a move: results, gradients, exceptions and the state that is left behind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.ambient import unequal
from conformance.checks.exceptions import coarse
from conformance.checks.finding import Finding
from conformance.model.enums import Grade, Stage
from conformance.model.moves import MOVES
from conformance.model.result import NO_EXCEPTION, Difference
from conformance.observation.compare import Comparison, compare_facts, compare_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.model.result import Raised
    from conformance.observation.driver import MoveObservation

__all__ = ["check", "made"]

_FLAGS = ("requires_grad", "is_leaf", "grad_fn", "is_inference")
_DRAWN = frozenset({"rng", "python_rng"})


def made(pair: Pair) -> Iterator[str]:
    """Yield the names of the moves that both roles made."""
    yield from (name for name in pair.expected.moves if name in pair.actual.moves)


def check(pair: Pair, name: str) -> Finding:
    """Compare what was raised, then what was seen, and the state afterwards.

    An exception where the backend does not claim what the move needs is an advisory.
    """
    actual, expected = pair.actual.moves[name], pair.expected.moves[name]
    if raised := _raised(actual, expected):
        is_claimed = MOVES[name].needs not in pair.lacking or actual.raised is None
        return Finding(must=raised) if is_claimed else Finding(should=raised, grade=Grade.NOTHING)
    seen = _seen(pair, name, actual, expected)
    return replace(Finding.of(seen), must=(*seen.differences, *_state(pair, actual, expected)))


def _raised(actual: MoveObservation, expected: MoveObservation) -> tuple[Difference, ...]:
    left, right = coarse(actual.raised), coarse(expected.raised)
    missing = next((path for path in expected.leaves if path not in actual.leaves), "")
    is_earlier = actual.raised is not None and missing
    if left == right and not is_earlier:
        return ()
    said = _with_message(left, actual.raised) if is_earlier or right == NO_EXCEPTION else left
    if left == right:  # of one kind, and not the same exception
        said, right = f"before {missing}, {said}", f"after it, {_with_message(right, expected.raised)}"
    in_backward = any(each and each.stage is Stage.BACKWARD for each in (actual.raised, expected.raised))
    stage = Stage.BACKWARD if in_backward else Stage.FORWARD
    return (Difference(path="caller", kind="exception", actual=said, expected=right, stage=stage),)


def _with_message(kind: str, raised: Raised | None) -> str:
    return f"{kind}: {raised.message.partition(chr(10))[0]}" if raised else kind


def _seen(pair: Pair, name: str, actual: MoveObservation, expected: MoveObservation) -> Comparison:
    found = compare_leaves(actual.leaves, expected.leaves, reference=pair.reference, where=f"moves[{name}]")
    flags = compare_facts(actual.leaves, expected.leaves, _FLAGS)
    return replace(found, differences=(*found.differences, *flags))


def _state(pair: Pair, actual: MoveObservation, expected: MoveObservation) -> Iterator[Difference]:
    if actual.after is None or expected.after is None:
        return
    for each in unequal(actual.after, expected.after, "after", (actual.before, expected.before)):
        if pair.claims_rng or each.path.rpartition(".")[2] not in _DRAWN:
            yield each

"""ambient: the state of the thread after every call and every backward, also after an exception."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.process_state import OF_PROCESS
from conformance.model.result import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.observation.ambient import AmbientState

__all__ = ["check", "unequal"]


def check(pair: Pair) -> Finding:
    """Compare modes, hooks, default dtype and RNG state with the uncompiled program's, and that a plain op works."""
    return Finding(must=tuple(_differences(pair)))


def _differences(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name in ("after_call", "after_backward"):
            left, right = getattr(actual, name), getattr(expected, name)
            if left is not None and right is not None:
                started = None if pair.claims_rng else (actual.rng_before, expected.rng_before)
                yield from unequal(left, right, f"call[{index}].{name}", (actual.before, expected.before), started)


def unequal(
    actual: AmbientState,
    expected: AmbientState,
    where: str,
    before: tuple[AmbientState | None, AmbientState | None],
    rng_before: tuple[str, str] | None = None,
) -> Iterator[Difference]:
    """Yield the fields that differ.

    Args:
        actual: the state that the compiled program left.
        expected: the state that the uncompiled program left.
        where: the path of the state.
        before: the state that each began in, for fields of which only whether they changed is compared.
        rng_before: the states of generators that each began with, if only whether they advanced is compared.
    """
    states = (actual, expected)
    left, right = map(asdict, states)
    for name in OF_PROCESS:
        began = [getattr(state, name, None) for state in before]
        left[name], right[name] = (
            _moved(getattr(state, name), start, "changed") for state, start in zip(states, began, strict=True)
        )
    if rng_before is not None:
        left["rng"], right["rng"] = (
            _moved(state.rng, start, "advanced") for state, start in zip(states, rng_before, strict=True)
        )
    for name, value in left.items():
        if value != right[name]:
            yield Difference(path=f"{where}.{name}", kind="state", actual=str(value), expected=str(right[name]))


def _moved(state: object, before: object, word: str) -> str:
    return "as before the call" if state == before else word

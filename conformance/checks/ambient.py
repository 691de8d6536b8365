"""ambient: the state of the thread after every call and every backward, also after an exception."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.observation.ambient import AmbientState

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare modes, hooks, default dtype and RNG state with those left uncompiled; see whether a plain op works."""
    return Finding(must=tuple(_differences(pair)))


def _differences(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name in ("after_call", "after_backward"):
            seen, wanted = getattr(actual, name), getattr(expected, name)
            if seen is not None and wanted is not None:
                own = None if pair.claims_rng else (actual.rng_before, expected.rng_before)
                yield from _unequal(seen, wanted, f"call[{index}].{name}", own)


def _unequal(
    actual: AmbientState, expected: AmbientState, where: str, before: tuple[str, str] | None
) -> Iterator[Difference]:
    """What differs; given the states of the generator before the call, only whether it moved is compared of it."""
    wanted, found = asdict(expected), asdict(actual)
    if before is not None:
        found["rng"], wanted["rng"] = (
            _moved(state.rng, was) for state, was in zip((actual, expected), before, strict=True)
        )
    for name, seen in found.items():
        if seen != wanted[name]:
            yield Difference(path=f"{where}.{name}", kind="state", actual=str(seen), expected=str(wanted[name]))


def _moved(state: str, before: str) -> str:
    return "as before the call" if state == before else "advanced"

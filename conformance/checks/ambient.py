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

__all__ = ["check", "unequal"]


def check(pair: Pair) -> Finding:
    """Compare modes, hooks, default dtype and RNG state with the uncompiled program's, and that a plain op works."""
    return Finding(must=tuple(_differences(pair)))


def _differences(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name in ("after_call", "after_backward"):
            left, right = getattr(actual, name), getattr(expected, name)
            if left is not None and right is not None:
                before = None if pair.claims_rng else (actual.rng_before, expected.rng_before)
                yield from unequal(left, right, f"call[{index}].{name}", before)


def unequal(
    actual: AmbientState, expected: AmbientState, where: str, before: tuple[str, str] | None = None
) -> Iterator[Difference]:
    """Yield the fields that differ; with generator states from before, only whether each generator advanced counts."""
    actual_fields, expected_fields = asdict(actual), asdict(expected)
    if before is not None:
        actual_fields["rng"], expected_fields["rng"] = (
            _moved(state.rng, start) for state, start in zip((actual, expected), before, strict=True)
        )
    for name, value in actual_fields.items():
        if value != (right := expected_fields[name]):
            yield Difference(path=f"{where}.{name}", kind="state", actual=str(value), expected=str(right))


def _moved(state: str, before: str) -> str:
    return "as before the call" if state == before else "advanced"

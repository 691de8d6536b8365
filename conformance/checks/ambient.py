"""ambient: the state of the thread after every call and every backward, also after an exception."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.ambient import AmbientState
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare modes, hooks, default dtype and RNG state with what eager left, and whether a plain op still works."""
    return Finding(must=tuple(_differences(pair)))


def _differences(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name in ("after_call", "after_backward"):
            seen, wanted = getattr(actual, name), getattr(expected, name)
            if seen is not None and wanted is not None:
                yield from _unequal(seen, wanted, f"call[{index}].{name}")


def _unequal(actual: AmbientState, expected: AmbientState, where: str) -> Iterator[Difference]:
    wanted = asdict(expected)
    for name, seen in asdict(actual).items():
        if seen != wanted[name]:
            yield Difference(path=f"{where}.{name}", kind="state", actual=str(seen), expected=str(wanted[name]))

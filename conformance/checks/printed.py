"""printed: whether a call and its backward print where the uncompiled ones do, and only there."""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.observation.driver import CallObservation

__all__ = ["check"]

_NOTHING = "nothing"
_PACKAGES = f"{sysconfig.get_path('purelib')}/"


def check(pair: Pair) -> Finding:
    """Compare whether anything was printed; the texts may differ, as those of two times do."""
    return Finding(should=tuple(each for index, *sides in pair.calls() for each in _differences(index, *sides)))


def _differences(index: int, actual: CallObservation, expected: CallObservation) -> Iterator[Difference]:
    left, right = actual.printed, expected.printed
    streams = sorted(left.keys() - right.keys())
    if "stdout" in right.keys() - left.keys():  # a warning on stderr is shown once in a process
        streams.append("stdout")
    for name in streams:
        yield Difference(
            path=f"call[{index}].{name}",
            kind="printed",
            actual=_beginning(left.get(name)),
            expected=_beginning(right.get(name)),
        )


def _beginning(text: str | None) -> str:
    """The first line that is not empty; of a file of an installed package, what does not depend on the machine."""
    if text is None:
        return _NOTHING
    line = next((line.strip() for line in text.splitlines() if line.strip()), "an empty line")
    return line.replace(_PACKAGES, "")

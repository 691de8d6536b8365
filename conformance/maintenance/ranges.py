"""Ranges of releases of torch, from the versions on which something holds and those on which it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from conformance.model.versions import holds
from conformance.records.releases import minor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["fits", "fitting"]

_RANK = {">=": 0, ">": 0, "~=": 1, "==": 1, "===": 1, "!=": 2, "<": 3, "<=": 3}


def fits(current: str | None, holding: Collection[str], failing: Collection[str]) -> bool:
    """Whether a range contains all of some versions and none of others."""
    return all(holds(current, each) for each in holding) and not any(holds(current, each) for each in failing)


def fitting(current: str | None, holding: Collection[str], failing: Collection[str]) -> str | None:
    """Return a range that contains all of some versions and none of others, by minor releases where these suffice.

    Args:
        current: the range so far; the parts of it that nothing contradicts are kept.
        holding: versions on which something holds; at least one, and none of `failing`.
        failing: versions on which it does not.

    Returns:
        The range, or None where none is needed.
    """
    kept = [part for part in SpecifierSet(current or "") if fits(str(part), holding, ())]
    if fits(_text(kept), holding, failing):
        return _text(kept)
    added = [Specifier(edge) for edge in _edges(holding, failing)]
    ranks = {_RANK[part.operator] for part in added} - {_RANK["!="]}
    return _text([*added, *(part for part in kept if _RANK[part.operator] not in ranks)])


def _text(parts: Collection[Specifier]) -> str | None:
    ordered = sorted(parts, key=lambda part: (_RANK[part.operator], Version(part.version.removesuffix(".*"))))
    return ",".join(map(str, ordered)) or None


def _edges(holding: Collection[str], failing: Collection[str]) -> Iterator[str]:
    """The clauses that cut off what fails: below, in between, and above."""
    first, last = min(holding, key=Version), max(holding, key=Version)
    below = [each for each in failing if Version(each) < Version(first)]
    above = [each for each in failing if Version(each) > Version(last)]
    if below:
        yield f">={_edge(first, max(below, key=Version))}"
    for each in sorted({*failing} - {*below, *above}, key=Version):
        alone = minor(each) not in map(minor, holding)
        yield f"!={minor(each)}.*" if alone else f"!={Version(each).public}"
    if above:
        yield f"<{_edge(min(above, key=Version), last)}"


def _edge(version: str, neighbour: str) -> str:
    """A version as the bound between it and its neighbour: its minor release, where the neighbour has another."""
    # A nightly build of 2.16 is below 2.16.
    apart = minor(version) != minor(neighbour) and not Version(version).is_prerelease
    return minor(version) if apart else Version(version).public

"""What a generated case knows of the description it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Family"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A set of cases generated from one description; the id of each of its cases starts with its own and a dot.

    `points` is how many case variants its grammar has, by depth; `pruned` how many of them each rule left out.
    """

    id: str
    title: str
    points: Mapping[str, int] = field(default_factory=dict)
    pruned: Mapping[str, int] = field(default_factory=dict)

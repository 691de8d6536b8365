"""The levels of `cases/SPEC.md`: what a backend can be said to conform to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["VERSION", "ConformanceLevel", "chapters_of", "levels"]

VERSION = 1
"""Of the levels; it changes when a level does."""

_TABLE = re.compile(r"^\| level \| chapters \| moves \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ConformanceLevel:
    """A set of requests that a backend has to pass: those of these chapters alone, with or without moves."""

    name: str
    chapters: frozenset[str]
    moves: bool

    def has(self, clauses: Collection[str], *, makes_moves: bool) -> bool:
        """Return whether a request with these clauses belongs to it."""
        return bool(clauses) and chapters_of(clauses) <= self.chapters and (self.moves or not makes_moves)


def chapters_of(clauses: Iterable[str]) -> set[str]:
    """Return the chapters that clauses are in."""
    return {clause.partition("-")[0] for clause in clauses}


@cache
def levels() -> tuple[ConformanceLevel, ...]:
    """Return the levels in their order."""
    text = (files("conformance.cases") / "SPEC.md").read_text(encoding="utf-8")
    (table,) = _TABLE.findall(text)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return tuple(
        ConformanceLevel(name=name, chapters=frozenset(chapters.split(", ")), moves=moves == "yes")
        for name, chapters, moves in rows
    )

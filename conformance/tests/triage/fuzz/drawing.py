"""Programs of the grammar of fuzzing as hypothesis draws them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from conformance.triage.fuzz.choices import Choices
from conformance.triage.fuzz.grammar import program

if TYPE_CHECKING:
    from conformance.model.case import Case

__all__ = ["drawn", "programs"]


def drawn(*given: int, seed: int = 0) -> Choices:
    """Choices that are given, as far as they go."""
    return Choices(Random(seed), given)  # noqa: S311 - repeatable is what it must be


def programs() -> st.SearchStrategy[Case]:
    """Cases that fuzzing draws."""
    return st.integers(0, 1 << 32).map(lambda seed: program(drawn(seed=seed)).case)

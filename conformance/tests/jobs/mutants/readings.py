"""What a person says of survivors that were drawn at random: whether any caller could tell one from the original."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import yaml
from pydantic import TypeAdapter

from conformance.tests.jobs.mutants.result import Fate, Result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Kind", "Reading", "drawn", "interval", "read"]

_CONFIDENCE = 0.95


class Kind(StrEnum):
    """What a reader found a survivor to be."""

    EQUIVALENT = "equivalent"
    """No program, on any backend of the release, can tell it from the original."""
    COST = "cost"
    """It changes speed, memory or what is cached, never a result."""
    OUTSIDE = "outside"
    """Only what the suite is not about shows it: export, another device, distribution, logs, another Python."""
    GAP = "gap"
    """A program of a caller could show it, and no case does."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was found, and why, in a sentence."""

    kind: Kind
    why: str


def read(file: Path) -> dict[str, Reading]:
    """The readings of a file by the id of the mutant; none where it is not there.

    Raises:
        ValueError: it holds something else.
    """
    if not file.exists():
        return {}
    return TypeAdapter(dict[str, Reading]).validate_python(yaml.safe_load(file.read_text(encoding="utf-8")))


def drawn(results: Iterable[Result], count: int) -> list[Result]:
    """The survivors to read: so many at random, always the same of the same results."""
    survivors = sorted((one for one in results if one.fate is Fate.SURVIVED), key=lambda one: one.id)
    chance = random.Random("survivors")  # noqa: S311 - a draw, no secret
    return sorted(chance.sample(survivors, min(count, len(survivors))), key=lambda one: one.id)


def interval(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.
    """
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    share, widened = found / of, 1 + z**2 / of
    centre = (share + z**2 / (2 * of)) / widened
    half = z * sqrt(share * (1 - share) / of + z**2 / (4 * of**2)) / widened
    return max(0.0, centre - half), min(1.0, centre + half)

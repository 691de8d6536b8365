"""Rows as columns for the browser: each column is a list of distinct words, and the number of the word in each row.

A million rows are then a few typed arrays, and a filter is decided once for each word.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Column", "Table"]

_SHORT = 1 << 16


class Column(TypedDict):
    """Distinct words, and the number of the word in each row: base64 of little-endian integers of `size` bytes."""

    words: list[str]
    size: int
    codes: str


class Table:
    """Rows of words, collected by column.

    Args:
        names: of the columns.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._numbers: dict[str, dict[str, int]] = {name: {} for name in names}
        self._codes = {name: array("I") for name in self._numbers}

    def put(self, **row: str) -> None:
        """Add a row, with a word for every column."""
        for name, numbers in self._numbers.items():
            self._codes[name].append(numbers.setdefault(row[name], len(numbers)))

    def columns(self) -> dict[str, Column]:
        """Return the columns by name."""
        return {name: _column(list(numbers), self._codes[name]) for name, numbers in self._numbers.items()}


def _column(words: list[str], codes: array[int]) -> Column:
    packed = array("H", codes) if len(words) <= _SHORT else codes
    if sys.byteorder == "big":
        packed.byteswap()
    return Column(words=words, size=packed.itemsize, codes=base64.b64encode(packed.tobytes()).decode())

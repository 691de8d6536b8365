"""What was probably meant by a word that is not known."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(word: str, known: Iterable[str], most: int = 3, key: Callable[[str], str] = str) -> str:
    """Ask for the known words that are nearest: `Did you mean 'values'?`; empty where none is near.

    Args:
        word: that is not known.
        known: those that are.
        most: how many are named.
        key: the part of a word that counts; of several words with the same part the first is named.
    """
    by_part = {key(each): each for each in reversed(list(known))}
    close = [by_part[part] for part in get_close_matches(key(word), by_part, n=most)]
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else ""


def did_you_mean(word: str, known: Iterable[str], what: str = "") -> str:
    """List the known words, and the nearest ones where there are any: `Known checks: ...  Did you mean 'values'?`."""
    known = sorted(map(str, known))
    guess = nearest(word, known, most=2)
    plural = "capabilities" if what == "capability" else what and what + "s"
    return f"Known{plural and ' ' + plural}: {', '.join(known) or 'none'}.{guess and '  ' + guess}"

"""Suggestions for an unknown word."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["did_you_mean", "nearest"]

_LISTED = 80  # known words; a longer list would bury the message


def nearest(word: str, known: Iterable[str], most: int = 3, key: Callable[[str], str] = str) -> str:
    """Return `Did you mean 'values'?` with the most similar known words, or '' if none is similar.

    Args:
        word: the unknown word.
        known: the known words.
        most: how many to suggest.
        key: the part of a word to compare; of several words with the same part the first is suggested.
    """
    by_part = {key(each): each for each in reversed(list(known))}
    close = [by_part[part] for part in get_close_matches(key(word), by_part, n=most)]
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else ""


def did_you_mean(word: str, known: Iterable[str], what: str = "") -> str:
    """List the known words, and the most similar ones if any: `Known checks: ...  Did you mean 'values'?`.

    Of many known words, such as the ids of cases, only the similar ones are named.
    """
    known = sorted(map(str, known))
    guess = nearest(word, known, most=2)
    plural = "capabilities" if what == "capability" else what and what + "s"
    of_what = plural and " " + plural
    if len(known) > _LISTED:
        return guess or f"None of the {len(known)} known{of_what or ' names'} is similar."
    return f"Known{of_what}: {', '.join(known) or 'none'}.{guess and '  ' + guess}"

"""What was probably meant by a word that is not known."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str], what: str = "") -> str:
    """List the known words, and the nearest ones where there are any: `Known checks: ...  Did you mean 'values'?`."""
    known = sorted(map(str, known))
    close = get_close_matches(word, known, n=2)
    guess = f"  Did you mean {' or '.join(map(repr, close))}?" if close else ""
    plural = "capabilities" if what == "capability" else what and what + "s"
    return f"Known{plural and ' ' + plural}: {', '.join(known) or 'none'}.{guess}"

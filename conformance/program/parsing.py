"""Parse Python in one thread at a time.

CPython 3.11 and 3.12 count how deep a tree is for all threads together: two that parse at once may fail with
`SystemError: AST constructor recursion depth mismatch` [https://github.com/python/cpython/issues/106905].
"""

from __future__ import annotations

import ast
from threading import Lock

__all__ = ["parse"]

_LOCK = Lock()


def parse(text: str) -> ast.Module:
    """Return the syntax tree of a text; safe to call from any thread.

    Raises:
        SyntaxError: it is not Python.
    """
    with _LOCK:
        return ast.parse(text)

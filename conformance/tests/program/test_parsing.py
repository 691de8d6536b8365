"""Syntax trees may be asked for from any thread."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from conformance.program.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Garbage:
    """Runs some Python when it is collected, which may be in the midst of a parse."""

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        sum(range(50))


def test_threads_parse_at_once() -> None:
    """Four threads that switch often each get their trees; `ast.parse` itself fails here in one of ten."""
    text = f"x = [{'(a + b) * c, ' * 200}]\n"

    def parsed(_: int) -> int:
        _Garbage()
        return len(parse(text).body)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as executor:
            counts: Iterator[int] = executor.map(parsed, range(1000))
            assert set(counts) == {1}
    finally:
        sys.setswitchinterval(before)

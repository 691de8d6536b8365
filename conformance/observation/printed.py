"""What Python writes to sys.stdout and sys.stderr while a program runs; it is written there all the same."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, TextIO
from unittest import mock

from torch._dynamo.decorators import skip

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["noting"]

_STREAMS = ("stdout", "stderr")
_KEPT = 400  # characters of each


@contextlib.contextmanager
def noting(printed: dict[str, str]) -> Iterator[None]:
    """Put the beginning of what is written within the context into a dictionary, by the name of the stream.

    Native code and other processes write past Python's streams, and are not noticed.
    """
    with contextlib.ExitStack() as stack:
        for name in _STREAMS:
            stack.enter_context(_noting(name, getattr(sys, name), printed))
        yield


@contextlib.contextmanager
def _noting(name: str, stream: TextIO, printed: dict[str, str]) -> Iterator[None]:
    write = stream.write

    @skip  # a program that is compiled in part may print in between
    def note(text: str) -> int:
        printed[name] = (printed.get(name, "") + text)[:_KEPT]
        return write(text)

    with mock.patch.object(stream, "write", note):
        yield

"""Keep Python's garbage collector out of the way."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conformance.isolation.process import take_huge_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["shared", "uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection within; enable it afterwards if it was enabled before."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def shared() -> Iterator[None]:
    """Freeze what is made within, which the garbage collector then ignores, so that forks share its memory."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    gc.freeze()
    take_huge_pages()

"""Python's garbage collector, out of the way."""

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
    """No garbage is collected within; afterwards it is, if it was before."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def shared() -> Iterator[None]:
    """What is made within is out of the garbage collector's sight afterwards, so that forks share its memory."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    gc.freeze()
    take_huge_pages()

"""Modules by name, as Python and Dynamo find them while a user's code is imported anew for each role."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch._dynamo import symbolic_convert

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kept", "look_up_anew"]


def look_up_anew() -> None:
    """Let Dynamo find modules by what their names mean now: it keeps what it found first."""
    symbolic_convert._import_module.cache_clear()  # noqa: SLF001 - it has no public name


@contextmanager
def kept() -> Iterator[None]:
    """Give every module that there is its name again in the end.

    Code that was compiled before belongs to the modules of its role: to compile it again Dynamo looks these up by name,
    and refuses another module than it found the first time.
    """
    before = dict(sys.modules)
    try:
        yield
    finally:
        sys.modules |= before
        look_up_anew()

"""SIGTERM as an interruption: whatever a command does when Ctrl-C is pressed, it does on SIGTERM too."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Terminated", "Termination", "terminable"]


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived."""


class Termination:
    """Whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        """Interrupt the main thread; from now on SIGTERM ends the process at once."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.received = True
        raise Terminated


@contextmanager
def terminable() -> Iterator[Termination]:
    """Within, the first SIGTERM raises `Terminated` in the main thread, and the second ends the process at once.

    Where SIGTERM is ignored or somebody else handles it already, and in another thread, nothing changes.
    """
    termination = Termination()
    is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_free or threading.current_thread() is not threading.main_thread():
        yield termination
        return
    signal.signal(signal.SIGTERM, termination)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

"""Fork servers of these tests: what one test starts serves the next."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from conformance.isolation import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.isolation.supervisor import Exit

__all__ = ["end", "kept"]

end = tasks.shutdown
"""End every server and what runs in it, as commands do outside of these tests."""


@contextmanager
def kept() -> Iterator[None]:
    """Let servers outlive the command that started them if nothing runs in them.

    To start one takes ten seconds of a processor, more than nearly every test.
    """
    running: set[object] = set()
    run_task = tasks.run_task

    def counted(*args: Any, **options: Any) -> Exit:
        task = object()
        running.add(task)
        try:
            return run_task(*args, **options)
        finally:
            running.discard(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "run_task", counted)
        patch.setattr(tasks, "shutdown", lambda: end() if running else None)
        yield
    end()

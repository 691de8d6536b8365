"""Process functions that the standard library lacks: three Linux settings and reads of /proc."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Usage",
    "adopt_orphans",
    "children",
    "die_with_parent",
    "kill_group",
    "take_huge_pages",
    "threads",
    "usage",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MADV_COLLAPSE = 25
_HUGE_PAGE = 1 << 21
_BUSY = frozenset("RD")  # states of threads that run, or wait for a processor or a disk


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How a process and its descendants spend their time.

    Args:
        computed_s: processor time, including that of ended processes which were waited for.
        is_busy: whether some thread runs, or waits for a processor or a disk; else all of them sleep.
    """

    computed_s: float
    is_busy: bool


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends (Linux); ends at once where it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ended (Linux), so that they can be found and killed."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """List the children of this process; empty if the system does not list them."""
    return set(_children(os.getpid()))


def usage(leader: int) -> Usage | None:
    """Measure how a process and its descendants spend their time; None if the system does not report it."""
    family = list(_family(leader))
    if not (times := [time for pid in family for time in _times(pid)]):
        return None
    return Usage(
        computed_s=sum(times) / os.sysconf("SC_CLK_TCK"),
        is_busy=any(state in _BUSY for pid in family for state in _states(pid)),
    )


def _family(leader: int) -> Iterator[int]:
    """A process and its descendants."""
    pending = [leader]
    while pending:
        pid = pending.pop()
        yield pid
        pending += _children(pid)


def _children(pid: int) -> list[int]:
    """The children of each thread of a process."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _times(pid: int) -> list[int]:
    """Clock ticks that a process, and those that it waited for, took in user and system mode; empty if it is gone."""
    with suppress(OSError):
        return list(map(int, _stat(Path(f"/proc/{pid}"))[11:15]))
    return []


def _states(pid: int) -> list[str]:
    """The state of each thread of a process."""
    with suppress(OSError):
        return [_stat(task)[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _stat(folder: Path) -> list[str]:
    """Return the fields after the program's name, which may contain any character."""
    return (folder / "stat").read_text().rpartition(") ")[2].split()


def kill_group(leader: int) -> None:
    """Kill a process and the group it leads, even if it does not lead one yet."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)


def threads() -> int:
    """Count the threads of this process, including those unknown to Python."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def take_huge_pages() -> None:
    """Put this process's memory on huge pages (Linux 6.1 or later), so that forking and ending a fork copy less.

    Measured with torch loaded: a fork takes 2 ms, not 5, and its end 7, not 10. The kernel may ignore the request.
    """
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else []:
        span, rights, _, _, _, *name = line.split()
        if rights == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in span.split("-"))
            first, last = -(-start // _HUGE_PAGE) * _HUGE_PAGE, end // _HUGE_PAGE * _HUGE_PAGE
            if first < last:
                ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_COLLAPSE)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)

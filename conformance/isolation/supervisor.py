"""Wait for one child of the fork server: read its report and output, enforce its time limit, return how it ended.

The limit is on the time it computes or sleeps (`allowance.py`): on a loaded machine it may take longer on the clock.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from conformance.isolation.allowance import Allowance
from conformance.isolation.deadline import Deadline, StoppedError
from conformance.isolation.messages import Report, read_report
from conformance.isolation.server import NUMBER
from conformance.model.result import Ended

if TYPE_CHECKING:
    from conformance.isolation.child import Task
    from conformance.isolation.forkserver import ForkServer

__all__ = ["Excerpt", "Exit", "ServerDiedError", "attend"]

_CHUNK = 1 << 16
_EXCERPT_BYTES = 4096
_REPORT_BYTES = 16 << 20
_LAST_READS = 64
_DEADLINE_POLL_S = 0.5  # how often to check a deadline, which may be moved
KILL_LIMIT_S = 30.0  # for the server to kill a child; it does nothing else, so this is never short


class ServerDiedError(Exception):
    """The fork server ended, or no longer answers, while a child of it was waited for."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a child ended, its report and output; `ended` is None if it reported an outcome and exited normally."""

    ended: Ended | None
    report: Report
    output: str
    duration_s: float


def attend(server: ForkServer, task: Task, timeout_s: float, deadline: Deadline | None = None) -> Exit:
    """Run a task in a child of the server and wait for its end; kill it if it exceeds its time limit.

    Args:
        server: forks the child.
        task: what the child runs.
        timeout_s: seconds that the child may compute or sleep.
        deadline: when to stop waiting for it, whatever it does.

    Raises:
        ServerDiedError: the server ended meanwhile.
        StoppedError: the deadline has passed; the child was killed.
    """
    start = time.monotonic()
    with ExitStack() as stack:
        watch = _Watch(stack, deadline or Deadline())
        watch.begin(server, task)
        status = watch.wait(Allowance(timeout_s))
        if watch.is_stopped:
            raise StoppedError
        return watch.exit(status, time.monotonic() - start)


class Excerpt:
    """The beginning and the end of a text of any length."""

    def __init__(self, size: int = _EXCERPT_BYTES) -> None:
        self._size = size
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Append the next part."""
        room = self._size - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = max(0, len(self._tail) - self._size)
        del self._tail[:excess]
        self._dropped += excess

    def __str__(self) -> str:
        gap = f"\n[... {self._dropped} bytes left out ...]\n".encode() if self._dropped else b""
        return bytes(self._head + gap + self._tail).decode(errors="replace")


class _Message:
    """A text up to a limit; beyond it, the child must be killed."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        if not self.is_over:
            self.data += data

    @property
    def is_over(self) -> bool:
        return len(self.data) > _REPORT_BYTES


class _Sink(Protocol):
    def add(self, data: bytes) -> None: ...


class _Watch:
    def __init__(self, stack: ExitStack, deadline: Deadline) -> None:
        self.is_stopped = False
        self._deadline = deadline
        self._report = _Message()
        self._output = Excerpt()
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._lifeline, self._far_lifeline = map(stack.enter_context, socket.socketpair())
        self._selector.register(self._lifeline, selectors.EVENT_READ)
        self._far_ends = [self._pipe(stack, sink) for sink in (self._report, self._output)]
        self._over: Ended | None = None

    def _pipe(self, stack: ExitStack, sink: _Sink) -> int:
        near, far = os.pipe()
        stack.callback(os.close, near)
        os.set_blocking(near, False)
        self._selector.register(near, selectors.EVENT_READ, sink)
        return far

    def begin(self, server: ForkServer, task: Task) -> None:
        """Pass the far ends to the server; afterwards only it and the child have them."""
        try:
            server.submit(task, [*self._far_ends, self._far_lifeline.fileno()])
        except OSError as error:
            raise ServerDiedError from error
        finally:
            self._far_lifeline.close()
            for far in self._far_ends:
                os.close(far)

    def wait(self, allowance: Allowance) -> int:
        """Read until the server sends the child's wait status; kill the child if it exceeds a limit."""
        pid: int | None = None
        cut: float | None = None
        while True:
            for key, _ in self._selector.select(_until(cut) if cut else self._next_poll_s(allowance)):
                if key.data is not None:
                    self._read(key)
                elif pid is None:
                    pid = self._number()
                else:
                    return self._status()
            if cut:
                if not _until(cut):
                    raise ServerDiedError
                continue
            if spent := allowance.exceeded(pid):
                self._over = Ended(timed_out=True, limit_s=allowance.limit_s, spent=spent)
            self.is_stopped = self._deadline.has_passed
            if self._over or self._report.is_over or self.is_stopped:
                cut = time.monotonic() + KILL_LIMIT_S
                self._lifeline.shutdown(socket.SHUT_WR)

    def _next_poll_s(self, allowance: Allowance) -> float:
        """Return the seconds until the child must be polled again."""
        left = self._deadline.left_s
        return min(allowance.next_poll_s, left, _DEADLINE_POLL_S) if math.isfinite(left) else allowance.next_poll_s

    def _number(self) -> int:
        data = self._lifeline.recv(NUMBER.size)
        if len(data) < NUMBER.size:
            raise ServerDiedError
        (number,) = NUMBER.unpack(data)
        return int(number)

    def _status(self) -> int:
        status = self._number()
        for key in list(self._selector.get_map().values()):
            for _ in range(_LAST_READS):  # a process that escaped may write for ever
                if key.data is None or not self._read(key):
                    break
        return status

    def _read(self, key: selectors.SelectorKey) -> bool:
        """Read available data; return False if there is none, or the stream has ended."""
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            key.data.add(data)
        # A report that is too large is no longer read, so that its child blocks until it is killed.
        if not data or (key.data is self._report and self._report.is_over):
            self._selector.unregister(key.fd)
        return bool(data)

    def exit(self, status: int, duration_s: float) -> Exit:
        """Combine what is known after the end."""
        report = Report() if self._report.is_over else read_report(bytes(self._report.data))
        return Exit(ended=self._ended(status, report), report=report, output=str(self._output), duration_s=duration_s)

    def _ended(self, status: int, report: Report) -> Ended | None:
        if self._over and os.WIFSIGNALED(status):
            return self._over
        note = self._why_unusable(report)
        if os.WIFSIGNALED(status):
            return Ended(signal=_signal_name(os.WTERMSIG(status)), note=note or _reported(report))
        code = os.WEXITSTATUS(status)
        if code == 0 and not note and report.kind is not None:
            return None
        return Ended(status=code, note=note or _reported(report))

    def _why_unusable(self, report: Report) -> str:
        if self._report.is_over:
            return f"its report was over {_REPORT_BYTES >> 20} MiB"
        if report.malformed:
            return f"its report is malformed: {report.malformed}"
        return str(report.body) if report.kind == "exhausted" else ""


def _until(moment: float) -> float:
    """Seconds until a moment; 0 when it is past."""
    return max(0.0, moment - time.monotonic())


def _reported(report: Report) -> str:
    return "after it had reported its result" if report.kind else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"

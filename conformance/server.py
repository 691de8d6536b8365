"""The fork server: `python -m conformance.server FD` warms up, then forks a child for each task it is sent.

It is the other side of `isolate.py`. Over the control socket FD come pickled tasks, each with three descriptors:

- `report`, a pipe: the child writes its messages there (`wire.py`), and only the child can;
- `output`, a pipe: the child's stdout and stderr;
- `lifeline`, a socket: the server writes the child's wait status there; when the other side shuts it, the child and
  everything it started are killed.

The server has one thread, never runs an op and never reads what children write. When the control socket closes, the
parent is gone: everything is killed and the server ends. When the server is killed, the kernel kills its children.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from functools import partial
from typing import Self

from conformance import child
from conformance.process import adopt_orphans, children, kill_group, threads
from conformance.warmup import warm_up

__all__ = ["HEADER", "READY", "STATUS", "main"]

HEADER = struct.Struct("!Q")  # the length of the pickled task that follows
STATUS = struct.Struct("!i")  # a wait status
READY = b"R"


def main(descriptor: int) -> None:
    """Warm up, say so, and serve until the parent is gone."""
    warm_up()
    if (count := threads()) != 1:
        sys.exit(f"the fork server has {count} threads after its warm-up, so it cannot be forked safely")
    adopt_orphans()
    with socket.socket(fileno=descriptor) as control, _Server(control) as server:
        control.sendall(READY)
        server.serve()


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lifelines: dict[int, socket.socket] = {}  # by the child's process id
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()

    def __enter__(self) -> Self:
        for end in (self._wakeup, self._waker):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)  # the wakeup descriptor needs a handler
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._lifelines):
            self._lifelines.pop(pid).close()  # so that nobody takes this end for the child's own doing
            kill_group(pid)
        while children():  # what a killed child had started is ours now
            self._reap()

    def serve(self) -> None:
        """Fork a child for each task until the control socket closes."""
        self._selector.register(self._control, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    key.data()
                elif not self._accept():
                    return

    def _accept(self) -> bool:
        header, descriptors, _, _ = socket.recv_fds(self._control, HEADER.size, 3)
        payload = self._receive(HEADER.unpack(header)[0]) if len(header) == HEADER.size else b""
        if not payload:
            return False
        report, output, lifeline = descriptors
        self._fork(report, output, socket.socket(fileno=lifeline), payload)
        for descriptor in (report, output):
            os.close(descriptor)
        return True

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size and (part := self._control.recv(size - len(data))):
            data += part
        return bytes(data) if len(data) == size else b""

    def _fork(self, report: int, output: int, lifeline: socket.socket, payload: bytes) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            child.run(server, report, output, payload)
        self._lifelines[pid] = lifeline
        self._selector.register(lifeline, selectors.EVENT_READ, partial(self._cut, pid))

    def _cut(self, pid: int) -> None:
        """Kill a child that nobody waits for any longer; its end is told as any other."""
        self._selector.unregister(self._lifelines[pid])
        kill_group(pid)

    def _reap(self) -> None:
        self._drain_wakeups()
        while ended := _ended_child():
            self._bury(ended)
        for stray in children() - self._lifelines.keys():
            kill_group(stray)

    def _drain_wakeups(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(4096)

    def _bury(self, pid: int) -> None:
        """Take the status of an ended child, once its group is dead too: until then no other process gets its id."""
        if pid in self._lifelines:
            kill_group(pid)
        _, status = os.waitpid(pid, 0)
        if lifeline := self._lifelines.pop(pid, None):
            with suppress(KeyError):  # it was cut
                self._selector.unregister(lifeline)
            with lifeline, suppress(OSError):  # nobody listens any longer
                lifeline.sendall(STATUS.pack(status))


def _ended_child() -> int | None:
    """Find a child that has ended, and leave it as it is."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


if __name__ == "__main__":
    main(int(sys.argv[1]))

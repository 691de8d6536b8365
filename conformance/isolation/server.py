"""The fork server: started with `FD WARM-UP`, it warms up, then forks a child for each task it is sent.

The parent side is `forkserver.py`. Over the control socket FD come pickled tasks, each with three descriptors:

- `report`, a pipe: the child writes its messages there (`messages.py`), and only the child can;
- `output`, a pipe: the child's stdout and stderr;
- `lifeline`, a socket: the server writes the child's process id there, and in the end its wait status; when the parent
  shuts it down, the child and everything it started are killed.

WARM-UP is `module:function`, a function that returns steps (`probe.py`); if a required one makes the process unfit for
forking, the server restarts without any. Its first message is a line of JSON: the steps that it left out, or why it
refuses this torch, or why it failed.

The server has one thread, never runs an op and never reads what children write. When the control socket closes, the
parent is gone: everything is killed and the server ends. When the server is killed, the kernel kills its children.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Self

from conformance.isolation import child
from conformance.isolation.garbage import shared
from conformance.isolation.probe import LeftOut, RequiredStepError, UnfitError, take
from conformance.isolation.process import adopt_orphans, children, kill_group
from conformance.model.errors import TorchError

__all__ = ["COMMAND", "HEADER", "NUMBER", "main"]

HEADER = struct.Struct("!Q")  # the length of the pickled task that follows
NUMBER = struct.Struct("!i")  # a process id or a wait status
_START = """\
import sys
home = sys.argv.pop(1)
if home not in sys.path:
    sys.path.insert(0, home)
from conformance.isolation.server import main
sys.path.insert(0, "")
main(int(sys.argv[1]), *sys.argv[2:])
"""
COMMAND = (sys.executable, "-P", "-c", _START, str(Path(__file__).parents[2]))
"""The command that starts a server, without the arguments of `main`.

It imports this very package, whatever is in the working directory; all else there can be imported, as with `python -m`.
"""


def main(descriptor: int, warm_up: str, unfit: str = "") -> None:
    """Warm up, report it, and serve until the parent is gone; `unfit` is why an earlier warm-up was given up."""
    with socket.socket(fileno=descriptor) as control:
        try:
            left_out = [LeftOut(name=warm_up, reason=unfit)] if unfit else _warmed(warm_up)
        except TorchError as error:
            _send(control, {"refused": str(error)})
            return
        except RequiredStepError as error:
            _send(control, {"failed": str(error)})
            raise
        except UnfitError as error:
            os.execv(sys.executable, [*COMMAND, str(control.fileno()), warm_up, str(error)])  # noqa: S606  this program
        for step in left_out:
            sys.stderr.write(f"left out of the warm-up: {step.name}: {step.reason}\n")
        adopt_orphans()
        with _Server(control) as server:
            _send(control, {"left_out": [[step.name, step.reason] for step in left_out]})
            server.serve()


def _warmed(warm_up: str) -> list[LeftOut]:
    module, _, function = warm_up.partition(":")
    with shared():
        return take(getattr(import_module(module), function)())


def _send(control: socket.socket, message: object) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


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
            self._lifelines.pop(pid).close()  # so that this kill is not taken for the child's own end
            kill_group(pid)
        while children():  # what a killed child had started is now a child of this process
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
        _send_number(lifeline, pid)
        self._selector.register(lifeline, selectors.EVENT_READ, partial(self._cut, pid))

    def _cut(self, pid: int) -> None:
        """Kill a child that nobody waits for any longer; its end is reported as any other."""
        self._selector.unregister(self._lifelines[pid])
        kill_group(pid)

    def _reap(self) -> None:
        self._drain_wakeups()
        while ended := _ended_child():
            self._reap_child(ended)
        for stray in children() - self._lifelines.keys():
            kill_group(stray)

    def _drain_wakeups(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(4096)

    def _reap_child(self, pid: int) -> None:
        """Take the status of an ended child, once its group is dead too: until then no other process gets its id."""
        if pid in self._lifelines:
            kill_group(pid)
        _, status = os.waitpid(pid, 0)
        if lifeline := self._lifelines.pop(pid, None):
            with suppress(KeyError):  # it was cut
                self._selector.unregister(lifeline)
            with lifeline:
                _send_number(lifeline, status)


def _send_number(lifeline: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody listens any longer
        lifeline.sendall(NUMBER.pack(number))


def _ended_child() -> int | None:
    """Return a child that has ended, without reaping it."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None

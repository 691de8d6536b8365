"""Parent side of the fork server: start one, send it tasks, stop it; keep one for each environment."""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from conformance.isolation.probe import LeftOut
from conformance.isolation.server import COMMAND, HEADER
from conformance.isolation.torch_release import import_failure, installed, unsupported
from conformance.model.errors import HarnessError, TorchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.isolation.child import Task

__all__ = ["ForkServer", "ForkServers", "environment"]

_LOG = logging.getLogger(__name__)

START_LIMIT_S = 300.0
STOP_LIMIT_S = 10.0
_TAIL_BYTES = 4096
WARM_UP = "conformance.execution.warmup:steps"

# Threads of OpenMP do not survive a fork; one thread also makes a child's results and its time repeatable.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# Defaults that the user may override. Dynamo takes 32 MiB for a moment at each compile, to measure guards with cold
# caches: with huge pages that is 16 page faults, not 8192, and a child compiles 15 ms sooner.
_DEFAULTS = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


# Variables that no server depends on: pytest changes one before each test, the other is for who sends tasks.
_OF_NO_MEANING = frozenset({"PYTEST_CURRENT_TEST", "CONFORMANCE_MEMORY_GIB"})


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a server: this process's, those of a backend, and those that make it repeatable."""
    return {**_DEFAULTS, **os.environ, **_ONE_THREAD, **env}


class ForkServer:
    """A running fork server; starting takes as long as importing torch.

    Args:
        env: environment variables it has beyond those of this process.
        warm_up: `module:function`, a function that returns the steps it takes before it forks.

    Attributes:
        left_out: steps that it skipped because they would have made it unfit for forking or raised an exception.

    Raises:
        TorchError: no supported torch is installed, or it lacks something that the suite requires.
        HarnessError: it does not start.
    """

    def __init__(self, env: Mapping[str, str], warm_up: str = WARM_UP) -> None:
        release = installed()
        if refused := unsupported(release):
            raise TorchError(refused)
        settings = " ".join(f"{name}={value}" for name, value in sorted(env.items()))
        _LOG.info("starting torch %s%s ...", release.version, f" with {settings}" if settings else "")
        self._lock = threading.Lock()
        self._ending: str | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the server is
        self._control, server_end = socket.socketpair()
        with server_end:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [*COMMAND, str(server_end.fileno()), warm_up],
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[server_end.fileno()],
                start_new_session=True,  # Ctrl-C must reach this process alone, which then stops the server
            )
        try:
            self.left_out = self._await_ready(env)
        except BaseException:  # Ctrl-C too: during its warm-up the server does not notice that nobody waits any longer
            self._process.kill()
            self._process.wait()
            raise

    def _await_ready(self, env: Mapping[str, str]) -> tuple[LeftOut, ...]:
        try:
            reply = self._first_line()
        except TimeoutError:  # importing torch alone would not explain it
            message = f"the fork server did not start: {self.stop()}"
            raise HarnessError(message) from None
        if reply and "refused" in reply:
            self.stop()
            raise TorchError(reply["refused"])
        if reply is None or "failed" in reply:
            ending = self.stop()
            message = f"the fork server did not start: {reply['failed'] if reply else ending}"
            raise HarnessError(import_failure(installed(), environment(env)) or message)
        return tuple(LeftOut(name=name, reason=reason) for name, reason in reply["left_out"])

    def _first_line(self) -> dict[str, Any] | None:
        """Return the message of a warmed-up server, None if it ended; raise TimeoutError if it does neither."""
        data = bytearray()
        self._control.settimeout(START_LIMIT_S)
        while not data.endswith(b"\n") and (part := self._control.recv(_TAIL_BYTES)):
            data += part
        self._control.settimeout(None)
        return dict(json.loads(data)) if data.endswith(b"\n") else None

    def submit(self, task: Task, descriptors: Sequence[int]) -> None:
        """Send a task to the server; `descriptors` are report, output and lifeline.

        Raises:
            OSError: the server is dead.
        """
        payload = pickle.dumps(task)
        with self._lock:
            socket.send_fds(self._control, [HEADER.pack(len(payload))], descriptors)
            self._control.sendall(payload)

    def stop(self) -> str:
        """End the server, and with it every child; return how it ended and its last output."""
        with self._lock:
            if self._ending is None:
                self._ending = self._end()
            return self._ending

    def _end(self) -> str:
        self._control.close()
        try:
            status = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with self._log as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            output = log.read().decode(errors="replace")
        return f"it ended with status {status}.\n{output}".strip()

    def abandon(self) -> None:
        """Release a server that belongs to the process this one was forked from."""
        self._control.close()
        self._log.close()
        self._process.returncode = 0  # not a child of this process: nothing to wait for


class ForkServers:
    """The fork servers of this process, one for each set of environment variables.

    Args:
        warm_up: of each of them, as for `ForkServer`.
    """

    def __init__(self, warm_up: str = WARM_UP) -> None:
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._servers: dict[frozenset[tuple[str, str]], ForkServer] = {}

    def get(self, env: Mapping[str, str], dead: ForkServer | None = None) -> ForkServer:
        """Return the server for an environment; start one if there is none yet or only the `dead` one.

        Raises:
            TorchError: no supported torch is installed.
            HarnessError: it does not start, or was shut down while a request was running.
        """
        key = _key(env)
        with self._lock:
            server = self._servers.get(key)
            if server is None and dead is not None:
                message = "the fork server was shut down while a request was running"
                raise HarnessError(message)
            if server is None or server is dead:
                if server is not None:
                    server.stop()
                server = self._servers[key] = ForkServer(env, self._warm_up)
            return server

    def dismiss(self, env: Mapping[str, str]) -> None:
        """Stop the server for an environment, if there is one, and all that runs in it."""
        with self._lock:
            server = self._servers.pop(_key(env), None)
        if server is not None:
            server.stop()

    def shutdown(self) -> None:
        """Stop every server and all that runs in them."""
        with self._lock:
            servers = [self._servers.popitem()[1] for _ in range(len(self._servers))]
        for server in servers:
            server.stop()

    def forget(self) -> None:
        """Start afresh in a process forked from this one, which owns neither the servers nor the lock."""
        for server in self._servers.values():
            server.abandon()
        self._lock = threading.Lock()
        self._servers = {}


def _key(env: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in environment(env).items() if name not in _OF_NO_MEANING)

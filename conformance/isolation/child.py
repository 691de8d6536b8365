"""A forked child of the server: it isolates itself, calls its task's function, reports, and ends.

The function is named by the task: `conformance.execution.observe:run` for a request of a run. The child never returns
into the server's code. Its report goes over a descriptor of its own that no program it starts
inherits; neither its output nor what it does to other descriptors can be taken for a report.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.isolation import messages
from conformance.isolation.process import die_with_parent
from conformance.model import codec
from conformance.model.errors import UsageError

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Task", "run"]

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Task:
    """A function `module:function`, called in a child as `function(argument, report_stage)`; it returns a dataclass.

    `folder` is the working directory of the child.
    """

    function: str
    argument: object
    memory_bytes: int
    folder: str


def run(parent: int, report: int, output: int, payload: bytes) -> NoReturn:
    """Run as the child of `parent`: do the pickled task, write messages to `report` and printed text to `output`."""
    status = 1
    try:
        _isolate(parent, report, output)
        status = _work(pickle.loads(payload), report)  # noqa: S301  it comes from the parent
        _flush()
    except BaseException:  # noqa: BLE001  not even KeyboardInterrupt may return into the server's code
        traceback.print_exc()
        _flush()
    finally:
        os._exit(status)


def _isolate(parent: int, report: int, output: int) -> None:
    os.setsid()
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, report)
    os.closerange(report + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(report, False)
    os.register_at_fork(after_in_child=partial(os.close, report))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so that a crash loses no line
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(task: Task, report: int) -> int:
    """Do the task and report; return the exit status."""
    _limit_memory(task.memory_bytes)
    try:
        os.chdir(task.folder)
        module, _, name = task.function.partition(":")
        function = getattr(import_module(module), name)
        result = function(task.argument, partial(_send, report, "stage"))
        _send(report, "result", codec.to_plain(result))
    except UsageError as error:
        _send(report, "refused", str(error))
    except MemoryError:
        traceback.print_exc()
        _send(report, "exhausted", f"it ran out of the {task.memory_bytes / _GIB:g} GiB of memory it may use")
    except SystemExit as error:
        return _exit_status(error)
    except Exception as error:  # noqa: BLE001  whatever it is, it is reported
        traceback.print_exc()
        _send(report, "failed", f"{type(error).__name__}: {error}")
    return 0


def _send(report: int, kind: messages.MessageKind, body: object) -> None:
    data = memoryview(messages.message(kind, body))
    while data:
        data = data[os.write(report, data) :]


def _exit_status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _limit_memory(limit: int) -> None:
    """Allow `limit` bytes beyond the server's. Only data counts: CUDA reserves far more address space than it uses."""
    statm = Path("/proc/self/statm")
    if limit and statm.exists():
        most = limit + int(statm.read_text().split()[5]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed by the task, or no longer read
            stream.flush()

"""Steps that prepare this process for forking: each is tried in a forked probe before it is taken.

A probe runs the steps one ahead of this process and reports what each left behind. A step after which the probe could
no longer be forked safely, or could not continue at all, is left out here, and the steps after it are tried in another
probe, forked without it. With a free core this takes hardly longer than the steps alone. Required steps are not tried
in a probe.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from conformance.isolation.process import children, die_with_parent, threads
from conformance.model.errors import TorchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LeftOut", "RequiredStepError", "Step", "UnfitError", "take"]

STEP_LIMIT_S = 120.0
_FILES = Path("/proc/self/fd")


@dataclass(frozen=True, kw_only=True)
class Step:
    """Work that is done once so that no fork has to do it.

    Args:
        name: its name in the log.
        action: does it; if it raises, the step is left out.
        required: whether the steps after it depend on it.
    """

    name: str
    action: Callable[[], object]
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A step that was not taken, and why, in words."""

    name: str
    reason: str


class RequiredStepError(Exception):
    """A required step raised an exception."""


class UnfitError(Exception):
    """A required step made this process unfit for forking, so that another process has to start without any step."""


@dataclass(frozen=True, kw_only=True)
class _Residue:
    """What of a process does not survive a fork, or must not be shared by forks."""

    threads: int
    processes: frozenset[int]
    files: frozenset[tuple[str, str]]
    has_cuda: bool

    @classmethod
    def now(cls) -> _Residue:
        return cls(threads=threads(), processes=frozenset(children()), files=_open_files(), has_cuda=_has_cuda())

    def added(self, before: _Residue) -> str:
        """Describe what there is more of than before; '' if nothing."""
        found = []
        if (count := self.threads - before.threads) > 0:
            found.append(f"starts {count} thread{'s' if count > 1 else ''}")
        if count := len(self.processes - before.processes):
            found.append(f"leaves {count} process{'es' if count > 1 else ''} running")
        if opened := self.files - before.files:
            found.append(f"leaves {', '.join(sorted(target for _, target in opened))} open")
        if self.has_cuda and not before.has_cuda:
            found.append("initialises CUDA")
        return ", ".join(found)


def take(steps: Sequence[Step]) -> list[LeftOut]:
    """Take steps in this process, which has one thread: the required ones, then the optional ones, each in their order.

    Returns:
        Those that were left out.

    Raises:
        TorchError: a required step refuses this torch.
        RequiredStepError: a required step raised another exception.
        UnfitError: a required step made this process unfit for forking.
    """
    for step in steps:
        if step.required:
            _take_required(step)
    left_out: list[LeftOut] = []
    waiting = [step for step in steps if not step.required]
    while waiting:
        with _Probe(waiting) as probe:
            while waiting and (unfit := probe.reports()) == "":
                left_out += _take(waiting.pop(0))
        if waiting:
            left_out.append(LeftOut(name=waiting.pop(0).name, reason=unfit))
    return left_out


def _take_required(step: Step) -> None:
    before = _Residue.now()
    try:
        step.action()
    except TorchError:
        raise
    except Exception as error:
        message = f"{step.name}: {type(error).__name__}: {error}"
        raise RequiredStepError(message) from error
    if unfit := _Residue.now().added(before):
        message = f"{step.name} {unfit}"
        raise UnfitError(message)


def _take(step: Step) -> list[LeftOut]:
    try:
        step.action()
    except Exception as error:  # noqa: BLE001  whatever it is, forks do without the step
        return [LeftOut(name=step.name, reason=f"{type(error).__name__}: {error}")]
    return []


class _Probe:
    """A forked process that takes steps one ahead of this one; a context manager that ends it.

    Args:
        steps: what it takes, until one of them makes it unfit.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _explore(steps, writing, parent)
        os.close(writing)
        self._reports = os.fdopen(reading, "rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._reports, suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def reports(self) -> str:
        """Return why the next step must be left out; '' if it is safe."""
        ready, _, _ = select.select([self._reports], [], [], STEP_LIMIT_S)
        if not ready:
            return f"did not end within {STEP_LIMIT_S:.0f} s"
        line = self._reports.readline()
        return str(json.loads(line)) if line.endswith(b"\n") else self._end()

    def _end(self) -> str:
        _, status = os.waitpid(self._pid, 0)
        if os.WIFSIGNALED(status):
            return f"dies of {signal.Signals(os.WTERMSIG(status)).name}"
        return f"ends the process with status {os.waitstatus_to_exitcode(status)}"


def _explore(steps: Sequence[Step], report: int, parent: int) -> None:
    """Run as the probe: take steps, and report for each what makes a process unfit for forking."""
    try:
        die_with_parent(parent)
        before = _Residue.now()
        for step in steps:
            with suppress(Exception):  # the process that takes the step reports it
                step.action()
            after = _Residue.now()
            unfit = after.added(before)
            os.write(report, json.dumps(unfit).encode() + b"\n")
            if unfit:
                break
            before = after
        os._exit(0)
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001  it must not return into the code it was forked from
        traceback.print_exc()
        os._exit(1)


def _open_files() -> frozenset[tuple[str, str]]:
    """Return descriptor and target of each open file."""
    found = set()
    for entry in _FILES.iterdir() if _FILES.exists() else ():
        with suppress(OSError):  # the descriptor of the listing itself
            found.add((entry.name, str(entry.readlink())))
    return frozenset(found)


def _has_cuda() -> bool:
    """Whether CUDA is initialised in this process, which no fork of it could then use."""
    cuda = sys.modules.get("torch.cuda")
    return bool(cuda and cuda.is_initialized())

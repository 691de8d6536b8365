"""Warm-ups of a fork server that misbehave, each a function that returns steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from conformance.isolation import probe
from conformance.isolation.probe import Step
from conformance.observation import torch_names

__all__ = ["brief", "dying", "hanging", "leaving", "required_raises", "required_thread", "without_a_name"]

_kept: list[object] = []


def brief() -> list[Step]:
    """No step: for tests of how servers start and end, which need nothing of torch."""
    return []


def _wait_for_ever() -> None:
    threading.Event().wait()


def _start_thread() -> None:
    threading.Thread(target=_wait_for_ever, daemon=True).start()


def _open_file() -> None:
    _kept.append(Path("/dev/zero").open("rb"))  # noqa: SIM115  it is left open on purpose


def _start_process() -> None:
    _kept.append(subprocess.Popen(["/bin/sleep", "600"]))


def _initialise_cuda() -> None:
    """Look like a process in which CUDA is initialised."""
    sys.modules["torch.cuda"] = SimpleNamespace(is_initialized=lambda: True)  # type: ignore[assignment]


def _raise() -> None:
    message = "no such table"
    raise AttributeError(message)


def _mark(name: str) -> None:
    os.environ[f"CONFORMANCE_TEST_{name}"] = "done"


def leaving() -> list[Step]:
    """Leave behind things that a fork must not find, in steps of their own."""
    unfit = {
        "thread": _start_thread,
        "file": _open_file,
        "process": _start_process,
        "cuda": _initialise_cuda,
        "raises": _raise,
    }
    return [
        Step(name="first", action=partial(_mark, "FIRST")),
        *(Step(name=name, action=action) for name, action in unfit.items()),
        Step(name="last", action=partial(_mark, "LAST")),
    ]


def dying() -> list[Step]:
    """Die in two ways."""
    return [
        Step(name="killed", action=lambda: os.kill(os.getpid(), signal.SIGSEGV)),
        Step(name="exits", action=lambda: sys.exit(7)),
        Step(name="last", action=partial(_mark, "LAST")),
    ]


def hanging() -> list[Step]:
    """Have a step that does not end, and little patience with it."""
    probe.STEP_LIMIT_S = 0.2
    return [
        Step(name="hangs", action=partial(time.sleep, 600)),
        Step(name="last", action=partial(_mark, "LAST")),
    ]


def required_thread() -> list[Step]:
    """Start a thread in the step that all others need."""
    return [Step(name="base", action=_start_thread, required=True), Step(name="last", action=partial(_mark, "LAST"))]


def required_raises() -> list[Step]:
    """Fail in the step that all others need."""
    return [Step(name="base", action=_raise, required=True)]


def without_a_name() -> list[Step]:
    """Have a torch that lacks a private name which the suite cannot do without."""

    def remove() -> None:
        del import_module("torch._guards").CompileContext.current_compile_id

    return [
        Step(name="remove a name", action=remove, required=True),
        Step(name="look names up", action=torch_names.require, required=True),
    ]

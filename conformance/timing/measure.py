"""Child side of timing: time a program uncompiled and compiled in one process, phase by phase, and count."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.benchmark import Timer

from conformance.backend.resolution import patched, resolve
from conformance.model.enums import Stage
from conformance.observation.evidence import compile_with
from conformance.timing import clock, counters, stats
from conformance.timing.memory import memory_metrics
from conformance.timing.model import Noise, Phase, Timing
from conformance.timing.subject import prepared, subject_of, uncompiled

if TYPE_CHECKING:
    from collections.abc import Callable

from conformance.timing.model import FirstCall, TimingRequest

__all__ = [
    "called",
    "first_call",
    "instructions",
    "run",
    "run_against_itself",
]

_COUNTED_CALLS = 20
_OPEN: list[contextlib.ExitStack] = []  # until the process that valgrind runs ends


def run(task: TimingRequest, report: Callable[[Stage], None]) -> Timing:
    """Time each phase of a request against uncompiled in this process, then count.

    Args:
        task: what to time, and how long.
        report: called with each stage as it begins.
    """
    _settle(task)
    report(Stage.COMPILE)
    with prepared(task.request) as candidate:
        compiled = counters.compile_metrics(candidate.watch) if candidate.watch else {}
        report(Stage.REFERENCE)
        base, blocks = candidate.uncompiled_baseline(), []
        for phase in candidate.phases:
            report(Stage.BACKWARD if phase is Phase.BACKWARD else Stage.FORWARD)
            with candidate.held(phase):
                blocks.append(clock.measure(phase, base.side(phase), candidate.side(phase), task.effort))
        return replace(
            Timing.of(task.request),
            blocks=tuple(blocks),
            metrics={**compiled, **memory_metrics(candidate, base)},
        )


def _settle(task: TimingRequest) -> None:
    """Set the number of threads and, before any is started, the processors that they stay on: the last ones."""
    torch.set_num_threads(task.threads)
    if task.pinned and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-task.threads :])


def run_against_itself(task: TimingRequest, report: Callable[[Stage], None]) -> Noise:
    """Time uncompiled as if it were a candidate, repeatedly: the deviation of the ratios from 1 is noise."""
    _settle(task)
    report(Stage.REFERENCE)
    base = uncompiled(task.request)
    candidate, phase = base.uncompiled_baseline(), base.phases[-1]
    with base.held(phase):
        sides = base.side(phase), candidate.side(phase)
        ratios = [stats.ratio(clock.measure(phase, *sides, task.effort)).value for _ in range(task.repetitions)]
    return Noise(ratios={f"{task.request.case.id} {task.request.variant.id} {phase}": tuple(ratios)})


def first_call(task: FirstCall, report: Callable[[Stage], None]) -> Timing:
    """Return the seconds of compiling, the first call and its backward in this process, which must be fresh."""
    torch.set_num_threads(task.threads)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = task.cache
    backend = resolve(task.request.backend.ref)
    report(Stage.COMPILE)
    with patched(backend.patches):
        subject = subject_of(task.request, lambda function: function)
        start = time.perf_counter()
        subject.function = compile_with(backend, subject.function, dynamic=task.request.variant.dynamic)
        results = subject.forward()
        if results:
            torch.autograd.backward(results, [torch.ones_like(result) for result in results])
        taken = time.perf_counter() - start
    return replace(Timing.of(task.request), compiles={task.phase: (round(taken, 6),)})


def instructions(task: TimingRequest, report: Callable[[Stage], None]) -> Timing:
    """Return the instructions of one call of the longest phase, uncompiled and compiled, counted by Callgrind.

    Each is counted in a Python of its own under valgrind, which is about fifty times slower.

    Raises:
        OSError: valgrind is not installed.
    """
    report(Stage.FORWARD)
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump(task, file)
        file.flush()
        counts = [_instructions(file.name, which) for which in ("uncompiled", "candidate")]
    phase = uncompiled(task.request).phases[-1]
    return replace(Timing.of(task.request), instructions={phase: (counts[0], counts[1])})


def _instructions(pickled: str, which: str) -> int:
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    timer = Timer(
        "call()", setup=f"from conformance.timing.measure import called; call = called({pickled!r}, {which!r})"
    )
    stats_ = timer.collect_callgrind(_COUNTED_CALLS, repeats=None, collect_baseline=False, retain_out_file=False)
    return int(stats_.counts(denoise=True)) // _COUNTED_CALLS


def called(pickled: str, which: str) -> Callable[[], object]:
    """Return the callable that `instructions` counts under valgrind: a phase of the `uncompiled` or `candidate`."""
    task: TimingRequest = pickle.loads(Path(pickled).read_bytes())  # noqa: S301 - written by `instructions`
    torch.set_num_threads(task.threads)
    stack = contextlib.ExitStack()
    subject = uncompiled(task.request) if which == "uncompiled" else stack.enter_context(prepared(task.request))
    phase = subject.phases[-1]
    stack.enter_context(subject.held(phase))
    _OPEN.append(stack)
    return subject.side(phase).call

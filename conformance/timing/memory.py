"""Memory of a program, compiled and uncompiled: bytes saved for backward, and peak allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

from conformance.observation.driver import saved_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.timing.subject import Subject

__all__ = ["memory_metrics"]


_ALLOCATION = "[memory]"  # the profiler's name for an allocation or deallocation


def memory_metrics(candidate: Subject, base: Subject) -> dict[str, float]:
    """Return bytes saved for backward and peak bytes allocated during a step, of both."""
    found = {
        "saved_bytes": saved_bytes(candidate.role),
        "eager_saved_bytes": saved_bytes(base.role),
        "peak_bytes": _peak_bytes(candidate),
        "eager_peak_bytes": _peak_bytes(base),
    }
    return {name: value for name, value in found.items() if value is not None}


def _peak_bytes(subject: Subject) -> int:
    """Peak bytes allocated during one step, or one forward, as measured by the profiler."""
    run: Callable[[], object] = subject.step if subject.cotangents else subject.forward
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == _ALLOCATION]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak

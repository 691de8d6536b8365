"""The memory that a program takes, compiled and uncompiled: what is kept for backward, and the most at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

from conformance.observation.driver import saved_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.timing.subject import Subject

__all__ = ["memory_metrics"]


_ALLOCATION = "[memory]"  # the profiler's name for an allocation, or for what is given back


def memory_metrics(candidate: Subject, base: Subject) -> dict[str, float]:
    """Bytes kept for backward, and the most that is allocated at a time beyond what stood before: of both."""
    found = {
        "saved_bytes": saved_bytes(candidate.role),
        "eager_saved_bytes": saved_bytes(base.role),
        "peak_bytes": _peak_bytes(candidate),
        "eager_peak_bytes": _peak_bytes(base),
    }
    return {name: value for name, value in found.items() if value is not None}


def _peak_bytes(subject: Subject) -> int:
    """The most bytes that one step, or one forward, holds at a time: allocations as the profiler sees them."""
    once: Callable[[], object] = subject.step if subject.cotangents else subject.forward
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        once()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == _ALLOCATION]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak

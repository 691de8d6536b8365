"""What of compiling and running is the same each time, and so needs no clock: graphs, guards, nodes, kernels, bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile

from conformance import torch_names
from conformance.role import saved_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.evidence import GraphWatch
    from conformance.measure import Subject

__all__ = ["begin", "of_compilation", "of_memory"]

# None on a release of torch that lacks them.
_clear_compiled: Any = torch_names.find("torch._dynamo.utils.clear_compilation_metrics")
_compiled: Any = torch_names.find("torch._dynamo.utils.get_compilation_metrics")
_inductor: Any = torch_names.find("torch._inductor.metrics")

_ALLOCATION = "[memory]"  # the profiler's name for an allocation, or for what is given back


def begin() -> None:
    """Count what is compiled from here on; PyTorch keeps its counters for a whole process."""
    if _clear_compiled:
        _clear_compiled()
    if _inductor:
        _inductor.reset()


def of_compilation(watch: GraphWatch) -> dict[str, float]:
    """Of what was compiled since `begin`: graphs, graph_breaks, recompiles, and what this torch counts itself.

    That is guards, fx_nodes, and Inductor's kernels.
    """
    counts: dict[str, float] = {
        "graphs": watch.graphs,
        "graph_breaks": watch.graph_breaks,
        "recompiles": watch.recompiles,
    }
    if _compiled:
        frames = _compiled()
        counts["guards"] = sum(frame.guard_count or 0 for frame in frames)
        counts["fx_nodes"] = sum(frame.graph_node_count or 0 for frame in frames)
    if _inductor and _inductor.generated_kernel_count:
        counts["kernels"] = _inductor.generated_kernel_count
    return counts


def of_memory(candidate: Subject, base: Subject) -> dict[str, float]:
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

"""Counters of compilation that are the same each time, so need no clock: graphs, guards, nodes, kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.observation import torch_names

if TYPE_CHECKING:
    from conformance.observation.evidence import GraphWatch

__all__ = [
    "begin",
    "compile_metrics",
]

# None on a release of torch without them.
_clear_compilation_metrics: Any = torch_names.find("torch._dynamo.utils.clear_compilation_metrics")
_compilation_metrics: Any = torch_names.find("torch._dynamo.utils.get_compilation_metrics")
_inductor: Any = torch_names.find("torch._inductor.metrics")


def begin() -> None:
    """Count what is compiled from here on; PyTorch keeps its counters for a whole process."""
    if _clear_compilation_metrics:
        _clear_compilation_metrics()
    if _inductor:
        _inductor.reset()


def compile_metrics(watch: GraphWatch) -> dict[str, float]:
    """Return counts since `begin`: graphs, graph_breaks, recompiles, and those that this torch provides.

    The latter are guards, fx_nodes, and Inductor's kernels.
    """
    counts: dict[str, float] = {
        "graphs": watch.graphs,
        "graph_breaks": watch.graph_breaks,
        "recompiles": watch.recompiles,
    }
    if _compilation_metrics:
        frames = _compilation_metrics()
        counts["guards"] = sum(frame.guard_count or 0 for frame in frames)
        counts["fx_nodes"] = sum(frame.graph_node_count or 0 for frame in frames)
    if _inductor and _inductor.generated_kernel_count:
        counts["kernels"] = _inductor.generated_kernel_count
    return counts

"""What of compiling and running is the same each time, and so needs no clock: graphs, guards, nodes, kernels, bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.observation import torch_names

if TYPE_CHECKING:
    from conformance.observation.evidence import GraphWatch

__all__ = [
    "begin",
    "compile_metrics",
]

# None on a release of torch that lacks them.
_clear_compiled: Any = torch_names.find("torch._dynamo.utils.clear_compilation_metrics")
_compiled: Any = torch_names.find("torch._dynamo.utils.get_compilation_metrics")
_inductor: Any = torch_names.find("torch._inductor.metrics")


def begin() -> None:
    """Count what is compiled from here on; PyTorch keeps its counters for a whole process."""
    if _clear_compiled:
        _clear_compiled()
    if _inductor:
        _inductor.reset()


def compile_metrics(watch: GraphWatch) -> dict[str, float]:
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

"""CUDA graphs round AOTAutograd's graphs, which need a CUDA device."""

from __future__ import annotations

from conformance.backend import Backend, Capability


def _no_device() -> str | None:
    """Why nothing can be captured here, or None."""
    import torch

    return None if torch.cuda.is_available() else "CUDA graphs need a CUDA device, and torch finds none here"


def _skipped() -> str | None:
    from torch._dynamo.utils import counters

    skips = counters["inductor"]["cudagraph_skips"]
    return f"{skips} graphs were run without CUDA graphs" if skips else None


backend = Backend(
    name="cudagraphs",
    # AOTAutograd neither differentiates twice nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    available=_no_device,
    engaged=_skipped,
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="CUDA graphs round AOTAutograd's graphs",
)

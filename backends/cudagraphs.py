"""CUDA graphs round AOTAutograd's graphs; on a machine without CUDA it says that it skips them."""

from __future__ import annotations

from conformance.backend import Backend, Capability


def _skipped() -> str | None:
    from torch._dynamo.utils import counters

    skips = counters["inductor"]["cudagraph_skips"]
    return f"{skips} graphs were run without CUDA graphs" if skips else None


backend = Backend(
    name="cudagraphs",
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD},  # AOTAutograd does not differentiate twice
    engaged=_skipped,
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="CUDA graphs round AOTAutograd's graphs",
)

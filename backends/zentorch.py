"""ZenDNN's plug-in by AMD: Inductor, with its own operators put in by a pass over the joint graph."""

from __future__ import annotations

from importlib import import_module

from conformance.backend import Backend, Capability


def _missing_avx512() -> str | None:
    """Without AVX-512 its pass hands the graph to Inductor as it is."""
    supported = import_module("zentorch._C").is_avx512_supported()
    return None if supported else "its pass does nothing on a processor without AVX-512"


backend = Backend(
    name="zentorch",
    # As inductor's.
    capabilities=Capability.all()
    - {
        Capability.DOUBLE_BACKWARD,
        Capability.FORWARD_DERIVATIVES,
        Capability.RETAIN_GRAPH,
        Capability.BATCHED_GRADIENTS,
        Capability.RNG,
    },
    imports=("zentorch",),
    available=_missing_avx512,
    packages=("zentorch",),
    tags=frozenset({"slow_compile", "cpp_kernels"}),
    description="Inductor with AMD's ZenDNN operators",
)

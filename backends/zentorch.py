"""ZenDNN's plug-in by AMD: Inductor, with its own operators put in by a pass over the joint graph."""

from conformance.backend import Backend

backend = Backend(
    name="zentorch",
    imports=("zentorch",),
    packages=("zentorch",),
    tags=frozenset({"slow_compile"}),
    description="Inductor with AMD's ZenDNN operators",
)

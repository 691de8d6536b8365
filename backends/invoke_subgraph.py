"""AOTAutograd's graphs, each run as the higher-order operator invoke_subgraph."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="invoke_subgraph",
    # AOTAutograd neither differentiates twice nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="AOTAutograd's graphs inside invoke_subgraph, run eagerly",
)

"""AOTAutograd's graphs, each run as the higher-order operator invoke_subgraph."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="invoke_subgraph",
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD},  # AOTAutograd does not differentiate twice
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="AOTAutograd's graphs inside invoke_subgraph, run eagerly",
)

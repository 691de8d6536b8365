"""AOTAutograd with the partitioner that saves what forward made, in place of the one that recomputes."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_eager_default_partitioner",
    # AOTAutograd neither differentiates twice nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="AOTAutograd's graphs with the default partitioner, run eagerly",
)

"""AOTAutograd with Inductor's decompositions and min-cut partitioner, run eagerly."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_eager_decomp_partition",
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD},  # AOTAutograd does not differentiate twice
    description="aot_eager with Inductor's decompositions and min-cut partitioner",
)

"""AOTAutograd with Inductor's decompositions and min-cut partitioner, run eagerly."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_eager_decomp_partition",
    # AOTAutograd neither differentiates twice nor keeps every graph;
    # Inductor's decompositions draw random numbers of their own.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH, Capability.RNG},
    eager_random={"_inductor.config.fallback_random": True},
    description="aot_eager with Inductor's decompositions and min-cut partitioner",
)

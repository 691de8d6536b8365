"""AOTAutograd: forward and backward graphs, run eagerly."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_eager",
    # AOTAutograd neither differentiates twice or forwards nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    description="AOTAutograd's forward and backward graphs, run eagerly",
)

"""AOTAutograd: forward and backward graphs, run eagerly."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_eager",
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD},  # AOTAutograd does not differentiate twice
    description="AOTAutograd's forward and backward graphs, run eagerly",
)

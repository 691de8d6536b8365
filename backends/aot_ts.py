"""AOTAutograd's graphs compiled by TorchScript."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="aot_ts",
    # AOTAutograd neither differentiates twice nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="AOTAutograd's graphs compiled by TorchScript",
)

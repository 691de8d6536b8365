"""AOTAutograd's graphs compiled by TorchScript."""

from conformance.backend import Backend

backend = Backend(
    name="aot_ts",
    description="AOTAutograd's graphs compiled by TorchScript",
)

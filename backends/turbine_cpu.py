"""IREE on CPU through iree-turbine: AOTAutograd's graphs as MLIR, compiled ahead of time."""

from conformance.backend import Backend

backend = Backend(
    name="turbine_cpu",
    packages=("iree-turbine", "iree-base-compiler", "iree-base-runtime"),
    tags=frozenset({"slow_compile"}),
    description="IREE's CPU compiler behind AOTAutograd",
)

"""Dynamo alone: the captured graph, run by PyTorch's eager interpreter."""

from conformance.backend import Backend

backend = Backend(
    name="eager",
    description="Dynamo's captured graph, run eagerly",
)

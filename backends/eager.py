"""Dynamo alone: the captured graph, run by PyTorch's eager interpreter."""

from conformance.backend import Backend

backend = Backend(
    name="eager",
    # It hands every graph back, and is here for that: what Dynamo alone gets wrong is no fault of those that build on it.
    engaged=lambda: None,
    description="Dynamo's captured graph, run eagerly",
)

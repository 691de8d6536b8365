"""Dynamo alone: the captured graph, run by PyTorch's eager interpreter."""

from conformance.backend import Backend

backend = Backend(
    name="eager",
    # It hands every graph back, and is here for that: it tells Dynamo's faults from those of what builds on it.
    engaged=lambda: None,
    description="Dynamo's captured graph, run eagerly",
)

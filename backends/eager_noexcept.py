"""Dynamo's captured graph, run eagerly; what a graph raises becomes an error of Dynamo."""

from conformance.backend import Backend

backend = Backend(
    name="eager_noexcept",
    # Not slow; but on nests it stands on what the ladder's rungs run in full, so the covering subset says enough.
    tags=frozenset({"slow_compile"}),
    description="Dynamo's captured graph, run eagerly, with its exceptions replaced",
)

"""Dynamo's captured graph, run eagerly; what a graph raises becomes an error of Dynamo."""

from conformance.backend import Backend

backend = Backend(
    name="eager_noexcept",
    description="Dynamo's captured graph, run eagerly, with its exceptions replaced",
)

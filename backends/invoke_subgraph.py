"""AOTAutograd's graphs, each run as the higher-order operator invoke_subgraph."""

from conformance.backend import Backend

backend = Backend(
    name="invoke_subgraph",
    description="AOTAutograd's graphs inside invoke_subgraph, run eagerly",
)

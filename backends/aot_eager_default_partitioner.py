"""AOTAutograd with the partitioner that saves what forward made, in place of the one that recomputes."""

from conformance.backend import Backend

backend = Backend(
    name="aot_eager_default_partitioner",
    description="AOTAutograd's graphs with the default partitioner, run eagerly",
)

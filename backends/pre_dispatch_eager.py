"""The captured graph traced again by make_fx before the dispatcher, run eagerly."""

from conformance.backend import Backend

backend = Backend(
    name="pre_dispatch_eager",
    description="make_fx(pre_dispatch=True) of the captured graph, run eagerly; for debugging",
)

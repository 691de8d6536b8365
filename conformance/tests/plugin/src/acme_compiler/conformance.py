"""What Acme claims, for the conformance suite. Importing this imports no torch."""

from conformance.backend import Backend, Capability

backend = Backend(
    name="acme",
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD, Capability.RETAIN_GRAPH, Capability.INFERENCE_MODE},
    packages=("acme-compiler",),
    description="AOTAutograd, and common subexpressions computed once",
)

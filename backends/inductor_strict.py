"""TorchInductor on CPU, asked for the numbers of uncompiled: `torch._inductor.config.numerics` is `strict`."""

from dataclasses import replace

from conformance.backends import inductor


def _unavailable() -> str | None:
    """Why it cannot be asked for strict numbers here, or None."""
    from torch._inductor import config

    if not hasattr(config, "numerics"):
        return "this release of torch has no torch._inductor.config.numerics"
    return inductor.backend.available() if inductor.backend.available else None


backend = replace(
    inductor.backend,
    name="inductor_strict",
    compile={"backend": "inductor"},
    patches={"_inductor.config.numerics": "strict"},
    # "eager-compatible pointwise math", as the comment beside the option promises
    bitwise_pointwise=True,
    available=_unavailable,
    description="TorchInductor's generated C++ under strict numerics",
)

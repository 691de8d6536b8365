"""TorchInductor, the default compiler of torch.compile, on CPU."""

from conformance.backend import Backend, Capability


def _missing_compiler() -> str | None:
    """Why Inductor cannot generate CPU code here, or None: it needs a C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        return f"no C++ compiler: {error}".strip()
    return None


backend = Backend(
    name="inductor",
    # AOTAutograd neither differentiates twice nor keeps every graph, C++ takes no batch of gradients;
    # Inductor draws random numbers of its own unless told otherwise.
    capabilities=Capability.all()
    - {
        Capability.DOUBLE_BACKWARD,
        Capability.FORWARD_DERIVATIVES,
        Capability.RETAIN_GRAPH,
        Capability.BATCHED_GRADIENTS,
        Capability.RNG,
    },
    eager_random={"_inductor.config.fallback_random": True},
    available=_missing_compiler,
    tags=frozenset({"slow_compile", "cpp_kernels"}),
    description="TorchInductor's generated C++",
)

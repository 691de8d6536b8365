"""TorchBurn: what it knows of a graph runs in Rust, the rest in PyTorch."""

from conformance.backend import Backend

backend = Backend(
    name="torchburn",
    imports=("torchburn",),
    packages=("torchburn", "numpy"),
    description="kernels in Rust; AOTAutograd where something is to be differentiated",
)

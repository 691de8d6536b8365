"""ZenDNN's plug-in by AMD: Inductor, with its own operators put in by a pass over the joint graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.backend import Backend, Capability

if TYPE_CHECKING:
    from collections.abc import Callable


def _counting() -> Callable[..., Any]:
    """The registered compiler; its own count of operators put into graphs begins anew."""
    from torch._dynamo import lookup_backend
    from zentorch._utils import counters

    counters.clear()
    compiler: Callable[..., Any] = lookup_backend("zentorch")
    return compiler


def _idle() -> str | None:
    from zentorch._utils import counters

    return None if counters["zentorch"].total() else "Inductor did it all: no graph was given an operator of ZenDNN"


def _missing_avx512() -> str | None:
    """Without AVX-512 its pass hands the graph to Inductor as it is."""
    from zentorch import _C

    return None if _C.is_avx512_supported() else "its pass does nothing on a processor without AVX-512"


backend = Backend(
    name="zentorch",
    # As inductor's.
    capabilities=Capability.all() - {Capability.DOUBLE_BACKWARD, Capability.RNG},
    imports=("zentorch",),
    factory=_counting,
    # What AOTAutograd takes from its cache the pass does not see, and then it counts nothing.
    patches={"_functorch.config.enable_autograd_cache": False},
    available=_missing_avx512,
    engaged=_idle,
    packages=("zentorch",),
    tags=frozenset({"slow_compile"}),
    description="Inductor with AMD's ZenDNN operators",
)

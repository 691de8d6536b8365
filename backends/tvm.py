"""Apache TVM: Dynamo's graph translated to Relax and compiled with its default pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Callable


def _relax() -> Callable[..., Any]:
    from tvm.relax.frontend.torch import relax_dynamo

    compiler: Callable[..., Any] = relax_dynamo()
    return compiler


backend = Backend(
    name="tvm",
    factory=_relax,
    packages=("apache-tvm",),
    tags=frozenset({"slow_compile"}),
    description="Relax, TVM's graph compiler, on LLVM",
)

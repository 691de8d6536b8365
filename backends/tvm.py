"""Apache TVM: Dynamo's graph translated to Relax and compiled with its default pipeline."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from conformance.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Callable


def _relax() -> Callable[..., Any]:
    compiler: Callable[..., Any] = import_module("tvm.relax.frontend.torch").relax_dynamo()
    return compiler


backend = Backend(
    name="tvm",
    factory=_relax,
    packages=("apache-tvm",),
    tags=frozenset({"slow_compile"}),
    description="Relax, TVM's graph compiler, on LLVM",
)

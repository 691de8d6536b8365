"""TorchBurn: what it knows of a graph runs in Rust, the rest in PyTorch."""

from __future__ import annotations

from collections import Counter
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from conformance.backend import Backend, Capability

if TYPE_CHECKING:
    from collections.abc import Callable

_ran: Counter[str] = Counter()


def _counting() -> Callable[..., Any]:
    """The registered compiler; from now on the runs of its engine that return are counted, from none."""
    from torch._dynamo import lookup_backend

    engine = import_module("torchburn._torchburn")
    _ran.clear()
    for name in ("execute_prepared", "execute_from_dict"):  # all that it runs compiled graphs by
        run = getattr(engine, name)
        if not hasattr(run, "__wrapped__"):
            setattr(engine, name, _counted(run, name))
    compiler: Callable[..., Any] = lookup_backend("torchburn")
    return compiler


def _counted(run: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(run)
    def counted(*args: object) -> object:
        made = run(*args)
        _ran[name] += 1
        return made

    return counted


def _idle() -> str | None:
    """Why Rust ran nothing; it hands operators it does not know, and graphs in which it fails, to PyTorch."""
    return None if _ran.total() else "PyTorch ran every operator, and the engine in Rust none"


backend = Backend(
    name="torchburn",
    # AOTAutograd neither differentiates twice nor keeps every graph.
    capabilities=Capability.all()
    - {Capability.DOUBLE_BACKWARD, Capability.FORWARD_DERIVATIVES, Capability.RETAIN_GRAPH},
    imports=("torchburn",),
    factory=_counting,
    engaged=_idle,
    packages=("torchburn", "numpy"),
    description="kernels in Rust; AOTAutograd where something is to be differentiated",
)

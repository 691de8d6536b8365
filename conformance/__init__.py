"""Conformance and benchmark suite for `torch.compile` backends.

The public names are imported on first use, so that `import conformance` costs nothing and never imports torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.backend import Backend, Capability
    from conformance.frame import load
    from conformance.timing_frame import load_timing
    from conformance.usercheck import check
    from conformance.userfunction import case

__all__ = ["Backend", "Capability", "case", "check", "load", "load_timing"]

_PACKAGE = Path(__file__).parent
if not (_PACKAGE / "cases").exists():
    # In a checkout `backends` and `cases` lie beside this folder; only an editable install would know.
    __path__.append(str(_PACKAGE.parent))

_HOMES = {
    "Backend": "conformance.backend",
    "Capability": "conformance.backend",
    "case": "conformance.userfunction",
    "check": "conformance.usercheck",
    "load": "conformance.frame",
    "load_timing": "conformance.timing_frame",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)

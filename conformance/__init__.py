"""Conformance and benchmark suite for `torch.compile` backends.

==================  ==================================================================================
`check`             runs a function of your own on backends, with all checks; returns a pandas frame
`assert_conforms`   the same in a test: an AssertionError where something does not conform
`case`              a decorator: how a function is called, in which modes, and what is allowed
`load`              the records of a run, as a frame
`load_timing`       the timings of a run, as a frame
`Backend`           what the package of a backend declares
`Capability`        what a backend may claim
`__version__`       the version of the suite
==================  ==================================================================================

They are imported on first use, so that `import conformance` costs nothing and never imports torch. All else is internal
and may change; the commands are described by `conformance --help`.

>>> import conformance
>>> mine = conformance.Backend(name="mine", compile={"backend": "eager"})
>>> conformance.Capability.AUTOCAST in mine.capabilities
True
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.backend import Backend, Capability
    from conformance.catalogue.user_function import case
    from conformance.records.frame import load
    from conformance.timing.timing_frame import load_timing
    from conformance.triage.api import assert_conforms, check

    __version__: str

__all__ = ["Backend", "Capability", "assert_conforms", "case", "check", "load", "load_timing"]

_PACKAGE = Path(__file__).parent
if not (_PACKAGE / "cases").exists():
    # In a checkout `backends` and `cases` are beside this folder; only an editable install would find them.
    __path__.append(str(_PACKAGE.parent))

_MODULES = {
    "Backend": "conformance.backend",
    "Capability": "conformance.backend",
    "assert_conforms": "conformance.triage.api",
    "case": "conformance.catalogue.user_function",
    "check": "conformance.triage.api",
    "load": "conformance.records.frame",
    "load_timing": "conformance.timing.timing_frame",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use."""
    if name == "__version__":
        return import_module("importlib.metadata").version("torch-compile-conformance")
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return [*__all__, "__version__"]

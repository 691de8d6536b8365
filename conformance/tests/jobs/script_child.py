"""What a child does that runs a script; it imports little, for each child imports it anew."""

from __future__ import annotations

import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from conformance.model.result import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.enums import Stage

__all__ = ["execute"]


def execute(text: str, _report: Callable[[Stage], None]) -> Attempt:
    """Run a script in this process as Python would; its exit status is the metric `status`."""
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__file__ = "<reproduction>"
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    try:
        exec(compile(text, module.__file__, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - it is our own
    except SystemExit as error:
        return Attempt(metrics={"status": int(error.code or 0)})
    return Attempt(metrics={"status": 0})

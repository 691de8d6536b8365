"""Stand-alone scripts run as they are, each in a Python process of its own, and what their end says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from conformance.model import Outcome

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["START_S", "in_words", "run", "shows"]

START_S = 30.0
"""Seconds for Python and the imports of a script, beyond what its program may take."""

_RAISED = 70
# Python exits with 1 for an exception that nobody catches, and so does a script that shows a difference.
_RUN = f"""\
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except Exception:
    sys.exit({_RAISED})
"""


def run(path: Path, limit_s: float, python: str) -> int | None:
    """The exit status of a script, below 0 the signal that ended it; None where it does not end.

    Args:
        path: the script.
        limit_s: seconds that it may take.
        python: the interpreter.
    """
    try:
        return subprocess.run(  # noqa: S603 - it was written here
            [python, "-c", _RUN, path.name],
            cwd=path.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def in_words(status: int | None) -> str:
    """How a script ended."""
    if status is None:
        return "it does not end"
    return "it raises" if status == _RAISED else f"it exits with {status}"


def shows(status: int | None, outcome: Outcome) -> bool:
    """Whether a script ended as one has to whose record has this outcome."""
    if outcome is Outcome.TIMEOUT:
        return status is None
    if outcome is Outcome.CRASH:
        return status not in {None, 0, 1, _RAISED}
    return status == 1

"""Stand-alone scripts, run as a user runs them: each in a Python process of its own."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.records.confirmations import RAISED, ScriptRun

if TYPE_CHECKING:
    from conformance.model.enums import Outcome

__all__ = ["run_file", "run_text", "unshown"]

_START_S = 30.0  # for Python and the imports of a script, beyond what its program may take
# Python exits with 1 for an exception that nobody catches, and so does a script that shows a difference.
_RUN = f"""\
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except Exception:
    sys.exit({RAISED})
"""


def run_file(
    path: Path,
    timeout_s: float,
    *,
    folder: Path | None = None,
    python: str = sys.executable,
    most_s: float = math.inf,
) -> ScriptRun:
    """Run a script.

    Args:
        path: where it is.
        timeout_s: seconds that its program may take.
        folder: to run it in, from which it can import; default: its own.
        python: the interpreter.
        most_s: seconds that all of it may take, if that is less than starting Python and its program may.
    """
    home = folder or path.parent
    try:
        done = subprocess.run(  # noqa: S603 - it was written here
            [python, "-c", _RUN, str(path.absolute())],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=min(timeout_s + _START_S, most_s),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ScriptRun(status=None)
    return ScriptRun(status=done.returncode)


def run_text(text: str, timeout_s: float) -> ScriptRun:
    """Run a script that is in no file yet as if it were in the working directory."""
    with tempfile.TemporaryDirectory(prefix="conformance-script-") as folder:
        path = Path(folder, "reproduction.py")
        path.write_text(text, encoding="utf-8")
        return run_file(path, timeout_s, folder=Path.cwd())


def unshown(text: str, outcome: Outcome, timeout_s: float) -> str:
    """Run a script; return why it does not show a failure with this outcome, or '' where it does."""
    ended = run_text(text, timeout_s)
    return "" if ended.shows(outcome) else f"the script does not show the failure when it is run by itself: {ended}"

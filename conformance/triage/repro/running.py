"""Stand-alone scripts, run as whoever is handed them runs them: each in a Python process of its own."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from conformance.model import Outcome

__all__ = ["ScriptRun", "run_file", "run_text", "unshown"]

_START_S = 30.0  # for Python and the imports of a script, beyond what its program may take
_RAISED = 70
# Python exits with 1 for an exception that nobody catches, and so does a script that shows a difference.
_RUN = f"""\
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except Exception:
    sys.exit({_RAISED})
"""


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """How a script ended: its exit status, below 0 the signal that ended it; None where it did not end in time."""

    status: int | None

    def shows(self, outcome: Outcome) -> bool:
        """Whether it ended as the script of a record with this outcome has to."""
        if outcome is Outcome.TIMEOUT:
            return self.status is None
        if outcome is Outcome.CRASH:
            return self.status not in {None, 0, 1, _RAISED}
        return self.status == 1

    def __str__(self) -> str:
        if self.status is None:
            return "it does not end"
        return "it raises" if self.status == _RAISED else f"it exits with {self.status}"


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
        folder: to run it in, from which it can import; default: the one that it is in.
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
    """Run a script; why it is not to be believed, or nothing where it shows what a record with this outcome says."""
    ended = run_text(text, timeout_s)
    return "" if ended.shows(outcome) else f"the script does not show the failure when it is run by itself: {ended}"

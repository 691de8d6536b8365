"""Find in the output of a process that died where that happened."""

from __future__ import annotations

import re
import sysconfig
from pathlib import PurePath

__all__ = ["last_words"]

_STACK = "(most recent call first):"
_FRAME = re.compile(r'  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)')
_LENGTH = 200  # characters of a line
_OWN = PurePath(__file__).parents[1]
_TESTS = _OWN / "tests"
_INSTALLED = {"site-packages", "dist-packages"}
_STDLIB = sysconfig.get_paths()["stdlib"]


def last_words(output: str) -> str:
    """Return where Python was when a signal killed it, else the last line of output, or '' if there is neither.

    Of the stack that `faulthandler` writes, it is the innermost frame outside installed packages and this one: that of
    a backend or of a program.
    """
    lines = output.split("\n")
    headers = [number for number, line in enumerate(lines) if line.endswith(_STACK)]
    frames = [found for line in lines[headers[-1] :] if (found := _FRAME.fullmatch(line))] if headers else []
    if frames:
        frame = next((each for each in frames if _is_outside(each["file"])), frames[0])
        return f"in {frame['name']} at {PurePath(frame['file']).name}:{frame['line']}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"last output: {last[:_LENGTH]}" if last else ""


def _is_outside(file: str) -> bool:
    path = PurePath(file)
    if path.is_relative_to(_OWN):
        return path.is_relative_to(_TESTS)
    return not (file.startswith("<frozen") or path.is_relative_to(_STDLIB) or _INSTALLED & {*path.parts})

"""Exceptions as words: type, message, kinds and a short traceback, without paths of this machine."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING

from conformance.model import Raised, Stage

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["describe"]

_MESSAGE = 1000  # characters kept
_FRAMES = 6  # innermost frames kept
_PATH = re.compile(r"(?:/[^\s:'\",()]+)+/(?=[^\s/:'\",()]+)")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def describe(error: BaseException, stage: Stage) -> Raised:
    """Put an exception into words; one that came out of compiling is of the stage compile, wherever it surfaced."""
    if stage is Stage.FORWARD and _while_compiling(error.__traceback__):
        stage = Stage.COMPILE
    return Raised(
        stage=stage,
        type=type(error).__name__,
        message=shorten(str(error)),
        kinds=tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object),
        traceback=_frames(error),
    )


def shorten(text: str) -> str:
    """Bound a message, and drop what differs from machine to machine: folders and addresses."""
    lines = [line.rstrip() for line in _ADDRESS.sub("0x...", _PATH.sub("", text)).splitlines() if line.strip()]
    text = "\n".join(lines)
    return text if len(text) <= _MESSAGE else text[:_MESSAGE] + " ..."


def _while_compiling(trace: TracebackType | None) -> bool:
    """Whether Dynamo was compiling a frame: a call of finished code does not pass through convert_frame."""
    names = (frame.filename for frame in traceback.extract_tb(trace))
    return any(name.endswith("_dynamo/convert_frame.py") for name in names)


def _frames(error: BaseException) -> tuple[str, ...]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return tuple(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames)

"""Exceptions as text: type, message, base classes and a short traceback, without paths of this machine."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.enums import Stage
from conformance.model.result import Raised

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe", "traceback_of"]

_MESSAGE = 1000  # characters kept
_FRAMES = 6  # innermost frames kept
_PATH = re.compile(r"(?<![\w:/])(?:/[^\s/:'\",()]+)+/(?=[^\s/:'\",()]+)")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_SUITE = f"{Path(__file__).parents[1]}{os.sep}"
_IMPORTING = "<frozen importlib"
_ADVICE = ("Set TORCHDYNAMO_VERBOSE=1", "Use tlparse", "You can suppress this exception")  # of no use in a report


def describe(error: BaseException, stage: Stage) -> Raised:
    """Describe an exception; one raised by compilation has the stage compile, wherever it surfaced."""
    if stage is Stage.FORWARD and _while_compiling(error):
        stage = Stage.COMPILE
    return Raised(
        stage=stage,
        type=type(error).__name__,
        message=shorten(_text(error)),
        kinds=tuple(kind.__name__ for kind in _kinds(error)),
        traceback=_frames(error),
    )


def shorten(text: str) -> str:
    """Shorten a message, and remove what differs from machine to machine: folders and addresses."""
    lines = [line.rstrip() for line in _ADDRESS.sub("0x...", _PATH.sub("", text)).splitlines()]
    text = "\n".join(line for line in lines if line and not line.lstrip().startswith(_ADVICE))
    return text if len(text) <= _MESSAGE else text[:_MESSAGE] + " ..."


def traceback_of(error: BaseException, home: str) -> str:
    """Return the traceback as Python prints it, from the first frame of the user's code on, indented.

    Args:
        error: what was raised.
        home: the file of the user's code; if it is not in the traceback, only frames of the suite are left out.
    """
    summary = traceback.TracebackException.from_exception(error)
    for each in _chained(summary):
        names = [frame.filename for frame in each.stack]
        kept = each.stack[names.index(home) :] if home in names else each.stack
        own = [frame for frame in kept if not frame.filename.startswith((_SUITE, _IMPORTING))]
        each.stack = traceback.StackSummary.from_list(own)
    return "\n".join(f"  {line}".rstrip() for line in "".join(summary.format()).splitlines())


def _chained(summary: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """An exception, its cause or context, and so on."""
    link: traceback.TracebackException | None = summary
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - the __str__ of a backend's exception may raise
        return f"(no message: __str__ raised {type(broken).__name__})"


def _kinds(error: BaseException) -> tuple[type, ...]:
    """The classes an exception is of, `object` left out.

    Dynamo raises whatever a backend raises as BackendCompilerFailed, which is a RuntimeError. If what it wraps is none,
    it has no built-in class: a backend that cannot compile has not raised what the uncompiled function raises.
    """
    kinds = tuple(kind for kind in type(error).__mro__ if kind is not object)
    wrapped = getattr(error, "inner_exception", None)
    if wrapped is None or isinstance(wrapped, RuntimeError):
        return kinds
    return tuple(kind for kind in kinds if kind.__module__ != "builtins")


def _while_compiling(error: BaseException) -> bool:
    """Whether Dynamo was compiling a frame: it wraps the exception, or is in the traceback, or both."""
    if any(kind.__module__ == "torch._dynamo.exc" for kind in type(error).__mro__):
        return True
    # A call of compiled code does not pass through convert_frame.
    names = (frame.filename for frame in traceback.extract_tb(error.__traceback__))
    return any(name.endswith("_dynamo/convert_frame.py") for name in names)


def _frames(error: BaseException) -> tuple[str, ...]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return tuple(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames)

"""Child side: where the graphs of a program break, and why, as Dynamo records it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from torch._dynamo.utils import graph_break_reasons

if TYPE_CHECKING:
    from torch._dynamo.output_graph import GraphCompileReason

__all__ = ["forget", "places"]


def forget() -> None:
    """Forget the breaks so far."""
    graph_break_reasons.clear()


def places() -> tuple[str, ...]:
    """Return each distinct break since `forget`: `step.py:7: Unsupported ...`, or `line 7: ...` in a case's program."""
    return tuple(dict.fromkeys(map(_text, graph_break_reasons)))


def _text(reason: GraphCompileReason) -> str:
    why = reason.reason.strip().partition("\n")[0]
    if not reason.user_stack:
        return why
    frame = reason.user_stack[-1]
    is_file = not frame.filename.startswith("<")
    where = f"{PurePath(frame.filename).name}:{frame.lineno}" if is_file else f"line {frame.lineno}"
    return f"{where}: {why}"

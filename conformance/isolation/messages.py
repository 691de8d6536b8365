"""The messages of a child: lines of JSON with the stage it is in, and then the outcome of its task.

`{"stage": ...}` as stages begin, then one of `result` (what the function returned), `refused` (its argument is wrong),
`failed` (the function itself failed) or `exhausted` (no memory left). A child is not trusted: whatever it wrote,
reading it raises nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from conformance.model.codec import encode
from conformance.model.enums import Stage

__all__ = ["MessageKind", "Report", "message", "read_report"]


MessageKind = Literal["stage", "result", "refused", "failed", "exhausted"]


def message(kind: MessageKind, body: object) -> bytes:
    """Write one message of a child's report as a line."""
    return encode({kind: body}).encode() + b"\n"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a child that ended: its last stage, and the outcome of its task, in plain JSON.

    `call` is the call of a program that the stage belongs to: the first compiles, a later one begins with its forward.
    `malformed` is what could not be read; `kind` is then None, as it is if the child never reported an outcome.
    """

    stage: Stage = Stage.LOAD
    call: int | None = None
    kind: str | None = None
    body: Any = None
    malformed: str | None = None


def read_report(data: bytes) -> Report:
    """Read every message of a child's report; a malformed one ends it, the stages before it are kept."""
    *lines, rest = data.split(b"\n")
    report = Report()
    for line in lines:
        try:
            kind, body = _read_message(line)
        except (ValueError, RecursionError) as error:
            return Report(stage=report.stage, call=report.call, malformed=f"cannot read {line[:80]!r}: {error}")
        if kind == "stage":
            report = replace(report, stage=body, call=_call(body, report.call))
        else:
            report = replace(report, kind=kind, body=body)
    if rest:
        return Report(stage=report.stage, call=report.call, malformed=f"cut off after {rest[:80]!r}")
    return report


def _call(stage: Stage, before: int | None) -> int | None:
    if stage is Stage.COMPILE:
        return 0
    if stage is Stage.FORWARD and before is not None:
        return before + 1
    return before if stage is Stage.BACKWARD else None


def _read_message(line: bytes) -> tuple[str, Any]:
    plain = json.loads(line)
    match list(plain.items()) if isinstance(plain, dict) else []:
        case [("stage", str(name))]:
            return "stage", Stage(name)
        case [("result", body)]:
            return "result", body
        case [("refused" | "failed" | "exhausted" as kind, str(text))]:
            return kind, text
    error = "not a message"
    raise ValueError(error)

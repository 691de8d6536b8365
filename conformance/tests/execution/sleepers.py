"""Runs requests on a worker of a cluster by sleeping: what is done is in the description of their backend, as JSON."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.tests.fakes import an_attempt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.model.request import Request
    from conformance.model.result import Attempt

__all__ = ["run"]


def run(requests: Sequence[Request]) -> list[Attempt]:
    """Sleep for each request, and pass.

    `sleep` is for how many seconds; `durations` a file with seconds by backend, case and variant, in its place, of the
    backend that `as` names. `log` is a file
    that gets a line when a request is begun, and when it is done. `poison` is the id of a case that kills the worker.
    """
    todo = json.loads(requests[0].backend.description)
    made = []
    for request in requests:
        begun = time.monotonic()
        if request.case.id == todo.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        _note(todo, "begun", request)
        time.sleep(_seconds(todo, request))
        _note(todo, "done", request)
        seconds = round(time.monotonic() - begun, 3)
        made.append(an_attempt(metrics={"seed": float(request.seed)}, duration_s=seconds))
    return made


def _note(todo: Mapping[str, Any], word: str, request: Request) -> None:
    if "log" in todo:
        with Path(todo["log"]).open("a", encoding="utf-8") as log:
            log.write(f"{word} {request.case.id} {os.getpid()}\n")


def _seconds(todo: Mapping[str, Any], request: Request) -> float:
    if "durations" in todo:
        return _durations(todo["durations"])[f"{todo['as']} {request.case.id} {request.variant.id}"]
    return float(todo.get("sleep", 0.0))


@cache
def _durations(path: str) -> Mapping[str, float]:
    found: Mapping[str, float] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found

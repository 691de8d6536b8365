"""Runs requests on a worker of a cluster by sleeping: what is done is in the description of their backend, as JSON."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.tests.fakes import an_attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.request import Request
    from conformance.model.result import Attempt

__all__ = ["run"]


def run(requests: Sequence[Request]) -> list[Attempt]:
    """Sleep for each request, note it in a file that a line fits into whole, and pass.

    `poison` is the id of a case that kills the worker, `hang` of one that stops it.
    """
    todo = json.loads(requests[0].backend.description)
    made = []
    for request in requests:
        if request.case.id == todo.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        with Path(todo["log"]).open("a", encoding="utf-8") as log:
            log.write(f"begun {request.case.id} {os.getpid()}\n")
        time.sleep(todo.get("sleep", 0.0))
        with Path(todo["log"]).open("a", encoding="utf-8") as log:
            log.write(f"done {request.case.id} {os.getpid()}\n")
        made.append(an_attempt(metrics={"seed": float(request.seed)}))
    return made

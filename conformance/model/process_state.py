"""State of a whole process that a call may change: it depends on what has been loaded, so only changes are compared."""

from __future__ import annotations

__all__ = ["OF_PROCESS"]

OF_PROCESS = (
    *("configuration", "environment", "warning_filters"),
    *("exception_hook", "log_handlers", "lasting_threads"),
)
"""Digests of the configuration of Dynamo, AOTAutograd and Inductor, of environment variables, of warning filters; what
sys.excepthook is; the number of handlers of the root logger, and of threads that the interpreter waits for when the
program ends."""

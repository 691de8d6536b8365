"""Command lines that start a fork server, which tests of all such commands share."""

from __future__ import annotations

__all__ = ["CASE", "STARTING"]

CASE = "grad_mode.nesting.enable_in_no_grad"
_RECORD = f"eager/{CASE}"

STARTING = (
    "run --backend eager",
    "check mine.py:function",
    "bench --backend eager",
    "fuzz --backend eager",
    f"explain {_RECORD}",
    f"repro {_RECORD}",
    f"shrink {_RECORD}",
    f"shrink {CASE} --backend eager",
    "capabilities",
    "expectations update",
)
"""They need a file `mine.py` with a function, and records with one of `CASE` on `eager`, in the working directory."""

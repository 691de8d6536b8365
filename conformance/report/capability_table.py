"""What came of trying the capabilities of backends, as a table for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.report import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.maintenance.capabilities import Trial

__all__ = ["text"]


def text(trials: Sequence[Trial]) -> str:
    """One line a backend and capability."""
    rows = [
        (one.backend, one.capability, "yes" if one.claimed else "no", f"{one.conforming}/{one.requests}", one.finding)
        for one in trials
    ]
    return terminal.listing(("backend", "capability", "claimed", "conforming", ""), rows)

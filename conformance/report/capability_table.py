"""The trials of backends' capabilities, as a table for terminals."""

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
        (
            trial.backend,
            trial.capability,
            "yes" if trial.claimed else "no",
            f"{trial.conforming}/{trial.requests}",
            trial.finding,
        )
        for trial in trials
    ]
    return terminal.listing(("backend", "capability", "claimed", "conforming", ""), rows)

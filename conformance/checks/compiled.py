"""compiled: a pass is worth something only if the backend compiled a graph and the graph ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Ask for a captured graph, a call of what the backend made of it, and no word of a fallback."""
    seen = pair.evidence
    if seen is None:
        return Finding()
    if pair.fallback:
        return Finding(must=(_difference("engaged", pair.fallback, "the backend itself did the work"),))
    if pair.is_idle:
        unchanged = "every graph was returned as it came, for PyTorch to run it"
        return Finding(must=(_difference("returned_unchanged", unchanged, "the backend itself did the work"),))
    if not seen.graphs:
        skipped = f"no graph ({seen.frames_skipped} frames skipped, {seen.graph_breaks} graph breaks)"
        return Finding(must=(_difference("graphs", skipped, "at least one graph compiled"),))
    if not seen.backend_calls:
        return Finding(must=(_difference("backend_calls", "none", "what the backend compiled was called"),))
    return Finding()


def _difference(path: str, actual: str, expected: str) -> Difference:
    return Difference(path=path, kind="evidence", actual=actual, expected=expected)

"""compiled: whether the backend compiled a graph and the graph ran, without which a pass means nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Require a captured graph, a call of what the backend compiled from it, and no reported fallback."""
    evidence = pair.evidence
    if evidence is None:
        return Finding()
    if pair.fallback:
        return Finding(must=(_difference("engaged", pair.fallback, "the backend itself did the work"),))
    if pair.is_idle:
        unchanged = "every graph was returned as it came, for PyTorch to run it"
        return Finding(must=(_difference("returned_unchanged", unchanged, "the backend itself did the work"),))
    if not evidence.graphs:
        skipped = f"no graph ({evidence.frames_skipped} frames skipped, {evidence.graph_breaks} graph breaks)"
        return Finding(must=(_difference("graphs", skipped, "at least one graph compiled"),))
    if not evidence.backend_calls:
        return Finding(must=(_difference("backend_calls", "none", "what the backend compiled was called"),))
    return Finding()


def _difference(path: str, actual: str, expected: str) -> Difference:
    return Difference(path=path, kind="evidence", actual=actual, expected=expected)

"""saved_bytes: what autograd keeps for backward; deterministic, and nothing for a no_grad region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """A compiled function keeps no more bytes than the uncompiled one."""
    seen, wanted = pair.actual_bytes, pair.expected_bytes
    if seen is None or wanted is None or seen <= wanted:
        return Finding()
    difference = Difference(path="saved for backward", kind="bytes", actual=f"{seen} B", expected=f"at most {wanted} B")
    return Finding(should=(difference,))

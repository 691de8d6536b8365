"""saved_bytes: bytes that autograd saves for backward; deterministic, and zero for a no_grad region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Require that a compiled function saves no more bytes than the uncompiled one."""
    left, right = pair.actual_bytes, pair.expected_bytes
    if left is None or right is None or left <= right:
        return Finding()
    difference = Difference(path="saved for backward", kind="bytes", actual=f"{left} B", expected=f"at most {right} B")
    return Finding(should=(difference,))

"""graph_count: graph breaks and recompiles, compared with the limits of the case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.model.case import Call, Case

__all__ = ["check"]

_BREAKS = "graph_breaks"


def check(pair: Pair) -> Finding:
    """Compare with the case's limits, by default one recompile of each frame for each kind of call after the first."""
    excesses = tuple(_excesses(pair))
    is_broken = any(each.path == _BREAKS for each in excesses)
    return Finding(should=excesses, message="; ".join(pair.breaks) if is_broken else "")


def _excesses(pair: Pair) -> Iterator[Difference]:
    if pair.evidence is None:
        return
    counts = {
        _BREAKS: (pair.evidence.graph_breaks, pair.case.graph_breaks),
        "recompiles": (pair.evidence.recompiles, _allowed_recompiles(pair.case)),
    }
    for path, (count, allowed) in counts.items():
        if count > allowed:
            yield Difference(path=path, kind="count", actual=str(count), expected=f"at most {allowed}", limit=allowed)


def _allowed_recompiles(case: Case) -> int:
    if case.recompiles is not None:
        return case.recompiles
    kinds = {_guarded(call) for call in case.calls}
    return (len(kinds) - 1) * (case.graph_breaks + 1)


def _guarded(call: Call) -> tuple[object, ...]:
    """Everything of a call that guards may depend on: all but values."""
    mappings = (tuple(sorted(each.items())) for each in (call.shapes, call.requires_grad, call.scalars))
    return (call.grad, call.autocast, call.dtype, *mappings)

"""autograd_flags: autograd properties of the results, and of the inputs after the call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding, holds_tensors
from conformance.observation.compare import compare_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.model.result import Difference

__all__ = ["check"]

_FLAGS = ("requires_grad", "is_leaf", "grad_fn", "is_inference")


def check(pair: Pair) -> Finding:
    """Compare requires_grad, is_leaf, whether there is a grad_fn, and is_inference, in every call."""
    calls = [actual for _, actual, _ in pair.returned_calls()]
    compared = any(holds_tensors(call.outputs, call.tracked) for call in calls)
    return Finding(must=tuple(_differences(pair))).if_any(compared=compared)


def _differences(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.returned_calls():
        for name in ("outputs", "tracked"):
            for difference in compare_facts(getattr(actual, name), getattr(expected, name), _FLAGS):
                yield replace(difference, path=f"call[{index}].{difference.path}")

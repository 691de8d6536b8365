"""layout: strides, memory format, storage offset of outputs a MUST; of gradients, and of sizes below two, a SHOULD."""

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


def check(pair: Pair) -> Finding:
    """Compare the memory layout of results in every call; strides of sizes below two only show when read."""
    compared = any(holds_tensors(actual.outputs, actual.gradients) for _, actual, _ in pair.returned_calls())
    return Finding(
        must=tuple(_differences(pair, "outputs", ("stride", "storage_offset", "channels_last", "conjugated"))),
        should=(
            *_differences(pair, "outputs", ("stride of size 1",)),
            *_differences(pair, "gradients", ("stride",)),
        ),
    ).if_any(compared=compared)


def _differences(pair: Pair, name: str, facts: tuple[str, ...]) -> Iterator[Difference]:
    for index, actual, expected in pair.returned_calls():
        left, right = getattr(actual, name), getattr(expected, name)
        for each in compare_facts(left, right, facts):
            # The check of values reports another shape; its strides would only repeat that.
            if left[each.path].facts.get("shape") == right[each.path].facts.get("shape"):
                yield replace(each, path=f"call[{index}].{each.path}")

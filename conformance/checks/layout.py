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
    """Compare how results lie in memory, in every call; strides of sizes below two move nothing, but can be read."""
    looked_at = any(holds_tensors(actual.outputs, actual.gradients) for _, actual, _ in pair.returned_calls())
    return Finding(
        must=tuple(_differences(pair, "outputs", ("stride", "storage_offset", "channels_last", "conjugated"))),
        should=(
            *_differences(pair, "outputs", ("stride of size 1",)),
            *_differences(pair, "gradients", ("stride",)),
        ),
    ).if_any(looked_at=looked_at)


def _differences(pair: Pair, name: str, facts: tuple[str, ...]) -> Iterator[Difference]:
    for index, actual, expected in pair.returned_calls():
        seen, wanted = getattr(actual, name), getattr(expected, name)
        for one in compare_facts(seen, wanted, facts):
            # Another shape is the business of the values; its strides would only repeat that.
            if seen[one.path].facts.get("shape") == wanted[one.path].facts.get("shape"):
                yield replace(one, path=f"call[{index}].{one.path}")

"""Which points of operations run by default: each operation once, every two values of axes, and autocast's lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from conformance.catalogue.pairwise import pairwise
from conformance.model.enums import Tier
from conformance.tests.jobs.operations.points import raises

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from conformance.catalogue.operations import Operation, Point

__all__ = ["cast_by_autocast", "marked"]

_STRIDE = 7  # of the second point of each operation among its own: each takes another one


def cast_by_autocast() -> frozenset[str]:
    """The overloads that autocast has a kernel of its own for on the CPU: those of its three lists."""
    names = torch._C._dispatch_get_all_op_names()
    return frozenset(n for n in names if torch._C._dispatch_has_kernel_for_dispatch_key(n, "AutocastCPU"))


def marked(found: Sequence[Operation], reached: Mapping[str, AbstractSet[str]]) -> list[Operation]:
    """The operations, with a tier for each point.

    On every backend: each operation at its plainest point; points of different operations that together have each two
    values of axes which any point has; and for each overload that autocast casts, an operation that reaches it, under
    both kinds of autocast. Where compiling is fast: a second point of each operation.

    Args:
        found: operations with their points.
        reached: by id of an operation, the overloads that its programs reach.
    """
    everywhere = {(each.id, point) for each, point in [*_covering(found), *_of_lists(found, reached)]}
    return [_with_tiers(each, index, everywhere) for index, each in enumerate(found)]


def _with_tiers(operation: Operation, index: int, everywhere: AbstractSet[tuple[str, Point]]) -> Operation:
    points = [*operation.points, *(point for name, point in everywhere if name == operation.id)]
    tiers = dict.fromkeys(points, Tier.EXHAUSTIVE)
    rest = points[1:]
    if rest:
        tiers[rest[index * _STRIDE % len(rest)]] = Tier.FAST
    tiers |= {point: Tier.DEFAULT for point in points if (operation.id, point) in everywhere}
    return replace(operation, points=tiers | {points[0]: Tier.DEFAULT})


def _covering(found: Sequence[Operation]) -> list[tuple[Operation, Point]]:
    """Points that have each two values of axes that occur, taken from as many operations as possible."""
    most = max((len(each.points) for each in found), default=0)
    rows = [
        (each, list(each.points)[(rank + index * _STRIDE) % len(each.points)])
        for rank in range(most)
        for index, each in enumerate(found)
        if rank < len(each.points)
    ]
    factors = [(point.form, point.layout, point.dtype, point.ambient) for _, point in rows]
    return [rows[index] for index in pairwise(factors)]


def _of_lists(found: Sequence[Operation], reached: Mapping[str, AbstractSet[str]]) -> Iterator[tuple[Operation, Point]]:
    """For each overload that autocast casts, an operation that is named like it, or else the first that reaches it."""
    for overload in sorted(cast_by_autocast()):
        reaching = [each for each in found if overload in reached[each.id]]
        word = overload.partition("::")[2].partition(".")[0]
        named = [each for each in reaching if each.id.partition(".")[2] == word]
        for operation in (named or reaching)[:1]:
            plain = next(iter(operation.points))
            for ambient in ("bfloat16", "float16"):
                point = replace(plain, ambient=ambient)
                if raises(operation, point) is None:
                    yield operation, point

"""Which points of an operation work uncompiled: a pairwise-covering choice of all, each run as the suite runs it."""

from __future__ import annotations

import contextlib
import io
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from conformance.catalogue.operations import FORMS, LAYOUTS, Operation, Point, case_of, variant_of
from conformance.catalogue.pairwise import pairwise
from conformance.execution.observe import run_uncompiled
from conformance.model.case import Case, Location
from conformance.model.enums import Tier
from conformance.model.request import BackendInfo, Request
from conformance.observation import ambient, inputs, seeding
from conformance.program import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "AMBIENT",
    "BASE",
    "DTYPES",
    "UNCOMPILED",
    "candidates",
    "prepared",
    "raises",
    "reads_unwritten",
    "refusal",
    "request_at",
    "working",
]

_ROUNDS = 6

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "bool", "complex64")
FLOATING = ("float32", "float64", "bfloat16", "float16")
AMBIENT = ("enabled", "disabled", "inference", "bfloat16", "float16")
BASE = Case(id="ops", title="", topic="", program="", location=Location(file=""))
UNCOMPILED = BackendInfo(ref="eager", name="eager")


def candidates(operation: Operation, dtypes: Sequence[str]) -> list[Point]:
    """Every point that an operation might have, the plainest first."""
    layouts = [each for each in LAYOUTS if _has(operation, each)]
    forms = [each for each in FORMS if each == "function" or getattr(operation, each)]
    return [
        Point(form=form, layout=layout, dtype=dtype, ambient=ambient)
        for form, layout, dtype, ambient in itertools.product(forms, layouts, dtypes, AMBIENT)
        if layout != "special" or dtype.startswith(("float", "bfloat"))
    ]


def _has(operation: Operation, layout: str) -> bool:
    """Whether inputs of a layout differ from contiguous ones."""
    if layout in {"contiguous", "dynamic"}:
        return True
    if layout in {"empty", "zero_dim"}:
        return layout in operation.samples
    plain, other = (case_of(operation, "function", each, BASE).inputs for each in ("contiguous", layout))
    return plain != other


def refusal(operation: Operation, point: Point) -> str | None:
    """Why an operation cannot be judged at a point, as the suite words it, or None."""
    request = request_at(operation, point)
    with contextlib.redirect_stderr(io.StringIO()):
        attempt = run_uncompiled(request, lambda _: None)
    return attempt.invalid


def raises(operation: Operation, point: Point) -> str | None:
    """What an operation raises uncompiled, forward or backward, at a point, or None."""
    try:
        prepared(request_at(operation, point))()
    except Exception as error:  # noqa: BLE001 - this is what is asked
        return f"{type(error).__name__}: {error}"
    return None


def reads_unwritten(operation: Operation, point: Point) -> bool:
    """Whether results depend on memory that nobody has written: they are others once PyTorch fills what it takes."""
    run = prepared(request_at(operation, point))
    plain = run()
    torch.use_deterministic_algorithms(True, warn_only=True)  # it fills, by `torch.utils.deterministic`
    try:
        filled = run()
    finally:
        torch.use_deterministic_algorithms(False)
    return not all(torch.allclose(one, other, equal_nan=True) for one, other in zip(plain, filled, strict=True))


def prepared(request: Request) -> Callable[[], list[torch.Tensor]]:
    """A call of the program of a request, with the arguments of its first call, and of backward from its results.

    It returns the tensors among the results.
    """
    case, call = request.case, request.case.calls[0]
    module = build.generate(case, request.variant).load()
    arguments = inputs.related(case, inputs.make(case, request.variant, call, request.seed, 0))

    def run() -> list[torch.Tensor]:
        seeding.seed_default(request.seed)
        with ambient.applied(grad=request.variant.grad, autocast=request.variant.autocast):
            result = module.program(*arguments.values())
        leaves = [each for each in pytree.tree_leaves(result) if isinstance(each, torch.Tensor)]
        ways = [each for each in leaves if each.requires_grad and each.grad_fn is not None]
        if ways:
            torch.autograd.backward(ways, [torch.ones_like(each) for each in ways])
        return leaves

    return run


def request_at(operation: Operation, point: Point) -> Request:
    """The request of an operation at a point, on no backend in particular."""
    layout = "contiguous" if point.layout == "dynamic" else point.layout
    case = replace(case_of(operation, point.form, layout, BASE), variants=(variant_of(point),))
    return Request(case=case, backend=UNCOMPILED, variant=case.variants[0])


def working(operation: Operation, dtypes: Sequence[str]) -> dict[Point, Tier]:
    """The plainest point, and points that together have each pair of values that any working one is seen to have."""
    left = candidates(operation, dtypes)
    plain = next((each for each in _plainest(left) if refusal(operation, each) is None), None)
    if plain is None:
        return {}
    good: set[Point] = {plain}
    for _ in range(_ROUNDS):
        picked = [left[index] for index in pairwise([_factors(each) for each in left])]
        bad = {each for each in picked if each not in good and not _works(operation, each)}
        good |= {*picked} - bad
        if not bad:
            break
        left = [each for each in left if each not in bad]
    kept = [each for each in picked if each not in bad and each != plain]
    return {plain: Tier.DEFAULT} | dict.fromkeys(kept, Tier.EXHAUSTIVE)


def _works(operation: Operation, point: Point) -> bool:
    return raises(operation, point) is None and not reads_unwritten(operation, point)


def plainest(operation: Operation, dtypes: Sequence[str]) -> dict[Point, Tier]:
    """The plainest working point of each form."""
    points = list(_plainest(candidates(operation, dtypes)))
    found = [
        next((each for each in points if each.form == form and raises(operation, each) is None), None) for form in FORMS
    ]
    kept = [each for each in found if each]
    return dict.fromkeys(kept, Tier.EXHAUSTIVE) | dict.fromkeys(kept[:1], Tier.DEFAULT)


def _plainest(points: Sequence[Point]) -> Iterator[Point]:
    yield from (each for each in points if (each.layout, each.ambient) == ("contiguous", "enabled"))


def _factors(point: Point) -> tuple[Any, ...]:
    return point.form, point.layout, point.dtype, point.ambient

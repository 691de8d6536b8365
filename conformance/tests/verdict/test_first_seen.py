from __future__ import annotations

import pytest

from conformance.model.enums import Level
from conformance.model.result import CheckResult, Difference
from conformance.verdict.first_seen import broken_in_order

VALUES = ("values", "output[0]", "values")
LATER = ("calls", "call[1].output", "values")
GRADIENT = ("gradients", "grad(a)", "values")
BREAKS = ("graph_count", "graph_breaks", "count")
BUFFER = ("mutation", "call[0].net.running_mean", "values")


def broken(check: str, path: str, kind: str) -> CheckResult:
    """A check that did not hold."""
    difference = Difference(path=path, kind=kind, actual="1", expected="2", twin=check == "metamorphic")
    return CheckResult(check=check, level=Level.MUST, held=False, differences=(difference,))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([LATER, BUFFER], ["mutation", "calls"]),
        ([("calls", "call[1].grad(a)", "values"), ("mutation", "call[1].a", "values")], ["mutation", "calls"]),
        ([GRADIENT, BUFFER], ["mutation", "gradients"]),
        (
            [("gradients", "grad(a)", "values"), ("mutation", "call[0].after_backward.a", "values")],
            ["gradients", "mutation"],
        ),
        ([VALUES, BUFFER], ["values", "mutation"]),
        ([("retention", "call[0].output", "retained"), LATER], ["calls", "retention"]),
        ([("aliasing", "writing into output", "reach"), LATER], ["calls", "aliasing"]),
        ([("metamorphic", "output", "values"), ("calls", "call[2].output", "values")], ["calls", "metamorphic"]),
        (
            [("graph_count", "graph_breaks", "count"), ("ambient", "call[0].after_call.rng", "state")],
            ["ambient", "graph_count"],
        ),
    ],
)
def test_what_was_wrong_first_comes_first(seen: list[tuple[str, str, str]], expected: list[str]) -> None:
    """By call, then by whether it is seen before or after backward; at one time in the order of the checks."""
    assert [check.check for check in broken_in_order([broken(*each) for each in seen])] == expected


def test_checks_that_hold_or_are_advisory_are_left_out() -> None:
    """They decided nothing; a check without a difference comes last."""
    advisory = CheckResult(check="layout", level=Level.SHOULD, held=False)
    held = CheckResult(check="values", level=Level.MUST, held=True)
    bare = CheckResult(check="compiled", level=Level.MUST, held=False)
    assert broken_in_order([advisory, held, bare, broken(*LATER)]) == [broken(*LATER), bare]

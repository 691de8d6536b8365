from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.execution import observe
from conformance.model.case import InputSpec
from conformance.model.enums import Level, Outcome
from conformance.tests.fakes import a_backend, a_case, a_request
from conformance.tests.roles import checked, observed
from conformance.tests.wrong import honest
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from conformance.model.result import Attempt

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

LAW = a_case(
    program="with torch.no_grad():\n    b = a.sin()\nreturn b, a * b\n",
    twin="with torch.set_grad_enabled(False):\n    b = a.sin()\nreturn b, a * b\n",
    inputs={"a": InputSpec(shape=(4,), requires_grad=True)},
    checks={"metamorphic": Level.MUST},
)


def attempt(program: str, twin: str, ref: str = "eager") -> Attempt:
    """Observe a law on a backend of this repository."""
    case = replace(LAW, program=program, twin=twin)
    return observe.run(a_request(case, backend=a_backend(ref)), lambda _: None)


@pytest.mark.parametrize("ref", ["eager", "aot_eager"])
def test_a_law_that_holds_passes(ref: str) -> None:
    """The twin is compiled and compared with the program, and the check is reported."""
    seen = attempt(LAW.program, LAW.twin, ref)
    assert outcome(seen) is Outcome.PASS
    assert "metamorphic" in {check.check for check in seen.checks}


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        ("b = a.sin()\nreturn b, a * b\n", "the law does not hold uncompiled, twin: "),
        ("return a.nothing\n", "the law does not hold uncompiled, twin: "),
        ("return 1 +\n", "the uncompiled program cannot be observed: SyntaxError"),
    ],
)
def test_a_law_that_eager_breaks_is_invalid(twin: str, words: str) -> None:
    """Two programs that do different things are a mistake of the law, and no finding."""
    seen = attempt(LAW.program, twin)
    assert (seen.invalid or "").startswith(words)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("return a.sin(), a * a.sin().detach() * 1.0001", "values"),
        ("return a.sin().detach(), a * a.sin()", "values"),
        ("return a.sin(), a * a.sin().detach()", "requires_grad"),
        ("torch.set_grad_enabled(False)\nreturn a.sin(), a * a.sin()", "requires_grad"),
        ("raise ValueError", "exception"),
    ],
)
def test_a_twin_that_differs_is_reported(change: str, kind: str) -> None:
    """Numbers, gradients, flags and exceptions of the two compiled programs are compared."""
    twin = observed(replace(LAW, program=f"{change}\n"))
    found = checked(LAW, honest, twin=twin)
    assert found.broken == {"metamorphic"}
    assert kind in {difference.kind for difference in found.differences("metamorphic")}


def test_rounding_is_no_difference() -> None:
    """Two compilations may round differently, in the measure of torch.testing."""
    twin = observed(replace(LAW, program="b = (a.sin() * (1 + 1e-6)).detach()\nreturn b, a * b\n"))
    assert checked(LAW, honest, twin=twin).broken == set()

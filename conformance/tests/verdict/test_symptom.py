from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.model.enums import Outcome, Stage, Verdict
from conformance.model.result import Ended, Raised, Record
from conformance.tests.fakes import a_difference, a_record, an_attempt, crashed, failed, raised
from conformance.tests.runs import red
from conformance.verdict.symptom import Symptom, first_stage


def broken(check: str, **difference: object) -> Record:
    """A record in which one check did not hold, in one difference."""
    checks = tuple(
        replace(each, differences=(a_difference(**difference),)) if each.check == check else each
        for each in failed(check).checks
    )
    return red(checks=checks)


def differing(check: str, **difference: object) -> Symptom:
    """The symptom of such a record."""
    return Symptom.of_record(broken(check, **difference))


@pytest.mark.parametrize(
    ("path", "observable"),
    [
        ("output[0]['x']", "output"),
        ("call[1].output", "output"),
        ("grad(net.weight)", "gradient"),
        ("call[0].grad(a)", "gradient"),
        ("call[2].net.weight", "argument"),
        ("call[0].cotangent(output[0])", "cotangent"),
        ("call[1].after_backward.net.weight", "argument after backward"),
    ],
)
def test_what_differs_is_named_without_its_place(path: str, observable: str) -> None:
    """A smaller program has other names, fewer results and fewer calls."""
    assert differing("values", path=path).observable == observable


@pytest.mark.parametrize("path", ["call[0].grad(a)", "call[0].cotangent(output)", "call[0].after_backward.a"])
def test_what_backward_does_is_of_that_stage(path: str) -> None:
    """Gradients, those that it was given, and what it changes."""
    assert first_stage(broken("values", path=path)) is Stage.BACKWARD


def test_numbers_are_no_part_of_a_symptom() -> None:
    """Two failures in other numbers may be one."""
    assert differing("values", actual="1.5") == differing("values", actual="2.5")


def test_words_are_part_of_a_symptom() -> None:
    """A flag that is lost and one that is gained are two failures."""
    lost = differing("autograd_flags", kind="requires_grad", actual="False", expected="True")
    gained = differing("autograd_flags", kind="requires_grad", actual="True", expected="False")
    assert lost != gained
    assert str(lost) == "autograd_flags output requires_grad False, not True"


def test_of_a_dtype_the_shape_is_left_out() -> None:
    """Which dtypes were mixed up matters, how large the tensor was does not."""
    texts = ("torch.float32 tensor of shape (4,)", "torch.bfloat16 tensor of shape (4,)")
    found = differing("values", kind="dtype", actual=texts[0], expected=texts[1])
    assert found.said == "torch.float32, not torch.bfloat16"


def test_an_exception_is_identified_by_its_type_and_the_start_of_its_message() -> None:
    """Names of backends, numbers and what follows the first line come from the place, not from the failure."""
    one = raised(type="BackendCompilerFailed", message="backend='a' raised:\nValueError: node 12 of 40\nat line 3")
    other = raised(type="BackendCompilerFailed", message="backend='b' raised:\nValueError: node 1 of 4\nelsewhere")
    assert Symptom.of(one) == Symptom.of(other)
    assert Symptom.of(one).said == "BackendCompilerFailed: ValueError: node # of #"


def test_a_crash_is_identified_by_its_signal() -> None:
    """Nothing else identifies it."""
    assert Symptom.of(crashed(signal="SIGSEGV")) != Symptom.of(crashed(signal="SIGABRT"))
    assert str(Symptom.of(crashed(signal="SIGSEGV"))) == "crash killed by SIGSEGV"


def test_a_record_has_the_symptom_of_its_attempt() -> None:
    """What is read from a file is matched with what is run again."""
    assert Symptom.of_record(red()) == Symptom.of(failed("values", "gradients"))
    dead = a_record(outcome=Outcome.CRASH, verdict=Verdict.CRASH, ended=Ended(signal="SIGSEGV"), checks=())
    assert Symptom.of_record(dead) == Symptom.of(crashed(signal="SIGSEGV"))


def test_a_pass_has_nothing_but_its_outcome() -> None:
    """It equals any other pass."""
    assert Symptom.of(an_attempt()) == Symptom(outcome=Outcome.PASS)


def test_gradients_show_in_backward() -> None:
    """All else shows before it."""
    assert first_stage(broken("gradients", path="grad(a)")) is Stage.BACKWARD
    assert first_stage(broken("values")) is Stage.FORWARD
    assert first_stage(broken("exceptions", path="call[0]", stage=Stage.BACKWARD)) is Stage.BACKWARD
    late = Raised(stage=Stage.BACKWARD, type="RuntimeError", message="bad")
    assert first_stage(a_record(outcome=Outcome.ERROR, raised=late)) is Stage.BACKWARD
    assert first_stage(a_record(outcome=Outcome.ERROR, raised=replace(late, stage=Stage.FORWARD))) is Stage.FORWARD


def test_a_check_without_differences_is_a_symptom_of_its_own() -> None:
    """Its name is all there is."""
    attempt = failed("compiled")
    bare = tuple(replace(each, differences=()) for each in attempt.checks)
    assert Symptom.of(replace(attempt, checks=bare)) == Symptom(outcome=Outcome.VACUOUS, check="compiled")


def test_state_is_identified_by_the_field_and_relations_by_their_kind() -> None:
    """Which part of the ambient state differs is the observable; of aliases, that they do."""
    state = differing("ambient", path="call[0].after_call.grad_mode", kind="state", actual="False", expected="True")
    alias = differing(
        "aliasing", path="call[0].output[0] ~ a", kind="alias", actual="same object", expected="unrelated"
    )
    reach = differing("aliasing", path="writing into output[0]", kind="reach", actual="a", expected="")
    assert (state.observable, alias.observable, reach.observable) == ("grad_mode", "output", "reach")

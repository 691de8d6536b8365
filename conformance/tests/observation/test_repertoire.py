from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.model.case import InputSpec
from conformance.model.enums import Capability, Level
from conformance.model.moves import MOVES
from conformance.observation import ambient
from conformance.observation.repertoire import make_moves, observe, weights_of
from conformance.tests.fakes import a_case
from conformance.tests.roles import a_role, moved

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.observation.driver import MoveObservation

pytestmark = pytest.mark.torch

REQUIRES = InputSpec(shape=(3, 4), requires_grad=True)
NET = "net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))\n"
TWO = a_case(program="return a * b, net(a)\n", setup=NET, inputs={"a": REQUIRES, "b": REQUIRES})
PLAIN = a_case(program="return a * 2\n", inputs={"a": InputSpec(shape=(4,))})


def made(case: Case, *names: str) -> dict[str, MoveObservation]:
    """What a caller sees of moves of an uncompiled program."""
    return observe(a_role(case), names).moves


@pytest.mark.parametrize("name", MOVES)
def test_every_move_applies_to_a_program_with_all_there_is(name: str) -> None:
    """Two results, inputs that are alike and a module; some of them raise uncompiled, as they have to."""
    observed = made(TWO, name)[name]
    assert observed.leaves or observed.raised
    assert observed.after is not None


def test_a_move_that_does_not_apply_is_left_out() -> None:
    """There is nothing to go backward from."""
    assert made(PLAIN, "leaf_hooks", "other_shape").keys() == {"other_shape"}


def test_a_move_that_did_apply_must_apply_again() -> None:
    """A backend whose results require no gradients does not get away with it."""
    role = a_role(PLAIN)
    observed = make_moves(role, ["leaf_hooks"], weights_of(role), {"leaf_hooks"})["leaf_hooks"]
    assert observed.raised is not None
    assert observed.raised.type == "InapplicableError"


def test_moves_start_from_the_same_weights() -> None:
    """What one move leaves in buffers or weights, another one does not see."""
    alone, after = made(TWO, "other_shape"), made(TWO, "optimizer_steps", "other_shape")
    left, right = (each["other_shape"].leaves["after.net.1.running_mean"].data for each in (alone, after))
    assert left is not None
    assert right is not None
    assert torch.equal(left, right)


def test_a_call_that_raises_in_evaluation_leaves_training_on() -> None:
    """The moves after it are made with the modules as they were."""
    case = a_case(program="assert net.training\nreturn net(a)\n", setup=NET, inputs={"a": REQUIRES}, may_raise=True)
    observed = made(case, "evaluation_mode", "other_shape")
    assert observed["evaluation_mode"].raised is not None
    assert observed["other_shape"].raised is None


def test_moves_leave_the_state_of_the_thread_alone() -> None:
    """Each holds its modes no longer than it lasts."""
    observed = made(TWO, *MOVES)
    assert {name: each.after.works for name, each in observed.items() if each.after and each.after.works} == {}
    assert torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


def doubling(right: Any) -> Any:
    """The first of two results is doubled from the second call on."""
    calls = 0

    def wrong(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        first, second = right(*given)
        return (first * 2 if calls > 1 else first), second

    return wrong


def test_what_a_caller_sees_is_compared() -> None:
    """Results and gradients, in the check of the move."""
    (result,) = moved(TWO, doubling, "computed_inputs").all
    assert (result.check, result.held) == ("move.computed_inputs", False)
    assert {each.path for each in result.differences} >= {"output[0]", "grad(a)"}


def drawing(right: Any) -> Any:
    """A random number is drawn, and detection of anomalies is left on."""

    def wrong(*given: Any) -> Any:
        results = right(*given)
        torch.rand(())
        torch.set_anomaly_enabled(True)
        return results

    return wrong


def test_the_state_that_a_move_leaves_is_compared() -> None:
    """Random numbers too, of a backend that claims to draw those drawn uncompiled."""
    for claims_rng, paths in ((True, {"after.anomaly_mode", "after.rng"}), (False, {"after.anomaly_mode"})):
        lacking = frozenset() if claims_rng else frozenset({Capability.RNG})
        (result,) = moved(PLAIN, drawing, "other_shape", lacking=lacking).all
        assert {each.path for each in result.differences} == paths


@pytest.mark.parametrize(
    ("leave", "path"),
    [
        (torch.autograd.forward_ad.enter_dual_level, "after.forward_ad_level"),
        (torch._C._functorch._grad_increment_nesting, "after.functorch_level"),
    ],
)
def test_a_level_that_is_left_open_is_seen_and_ended(leave: Any, path: str) -> None:
    """The next move starts from the state that this one started from."""

    def leaving(right: Any) -> Any:
        def wrong(*given: Any) -> Any:
            results = right(*given)
            leave()
            return results

        return wrong

    first, second = moved(PLAIN, leaving, "expanded_inputs", "other_shape").all
    assert path in {each.path for each in first.differences}
    assert path in {each.path for each in second.differences}
    assert ambient.capture().functorch_level == 0


def refusing(right: Any) -> Any:
    """Backward works once, and raises then."""

    def wrong(*given: Any) -> Any:
        results = right(*given)
        for result in results:
            fired: list[torch.Tensor] = []

            def hook(gradient: torch.Tensor, fired: list[torch.Tensor] = fired) -> None:
                if fired:
                    raise NotImplementedError
                fired.append(gradient)

            result.register_hook(hook)
        return results

    return wrong


def test_an_exception_of_one_side_is_a_difference() -> None:
    """It says what was raised, and where."""
    first = moved(TWO, refusing, "retain_graph").first("move.retain_graph")
    assert (first.kind, first.expected) == ("exception", "no exception")
    assert first.actual.startswith("NotImplementedError in backward")


def refusing_at_once(right: Any) -> Any:
    """Backward raises what a second one of the right program raises."""

    def wrong(*given: Any) -> Any:
        def hook(_: torch.Tensor) -> None:
            message = "not even once"
            raise RuntimeError(message)

        results = right(*given)
        for result in results:
            result.register_hook(hook)
        return results

    return wrong


def test_an_exception_of_the_same_kind_that_is_raised_earlier_is_a_difference() -> None:
    """What uncompiled gave before it raised is named; it is not said to be absent."""
    (first,) = moved(replace(TWO, program="return a.exp() * b, b.exp()\n"), refusing_at_once, "backward_twice").all
    (difference,) = first.differences
    assert (difference.kind, first.level) == ("exception", Level.MUST)
    assert difference.actual == "before call[0].grad(a), RuntimeError in backward: not even once"
    assert difference.expected.startswith(
        "after it, RuntimeError in backward: Trying to backward through the graph a sec"
    )


def test_what_is_not_claimed_may_raise() -> None:
    """That is told as an advisory; wrong numbers would not be."""
    lacking = frozenset({Capability.RETAIN_GRAPH})
    (result,) = moved(TWO, refusing, "retain_graph", lacking=lacking).all[1:]
    assert (result.level, result.held) == (Level.SHOULD, False)
    wrong = moved(TWO, doubling, "retain_graph", lacking=lacking)
    assert wrong.broken == {"move.retain_graph"}

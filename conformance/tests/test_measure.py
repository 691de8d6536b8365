from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance import isolate, stats
from conformance.isolate import result
from conformance.model import BackendInfo, InputSpec
from conformance.tests.fakes import a_case, a_request
from conformance.timing import DISPATCH, Effort, FirstCall, Noise, Phase, Timing, TimingRequest

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model import Case, Request

pytestmark = pytest.mark.torch

QUICK = Effort(budget_s=0.1)


def requested(case: Case, backend: str = "aot_eager") -> Request:
    """A case on a backend of this repository."""
    return a_request(case, BackendInfo(ref=backend, name=backend))


def done(function: str, task: Any, kind: type[Any] = Timing) -> Any:
    """What a function of `conformance.measure` gives in a child."""
    end = isolate.run_task(f"conformance.measure:{function}", task, env={}, timeout_s=120)
    found = result(kind, end)
    assert isinstance(found, kind), found
    return found


def timed(case: Case, backend: str = "aot_eager") -> Timing:
    """A case, timed quickly."""
    found: Timing = done("run", TimingRequest(request=requested(case, backend), effort=QUICK))
    return found


LINEAR = a_case(
    "demo.first.linear",
    setup="net = torch.nn.Linear(4, 4)\n",
    program="return net(a).relu()\n",
    inputs={"a": InputSpec(shape=(2, 4))},
)


def test_a_training_program_is_timed_in_three_phases() -> None:
    """Forward, backward and step, each in whole rounds, and what can be counted of them."""
    timing = timed(LINEAR)
    assert [blocks.phase for blocks in timing.blocks] == [Phase.FORWARD, Phase.BACKWARD, Phase.STEP]
    assert all(len(blocks.ns) % 4 == 0 and min(blocks.ns) > 0 for blocks in timing.blocks)
    assert (timing.metrics["graphs"], timing.metrics["graph_breaks"]) == (1, 0)
    assert timing.metrics["guards"] > 0
    assert timing.metrics["fx_nodes"] > 0
    assert timing.metrics["saved_bytes"] > 0
    assert timing.metrics["peak_bytes"] > 0


def test_a_program_without_gradients_has_no_backward() -> None:
    """There is nothing to go backward from."""
    plain = a_case("demo.first.plain", inputs={"a": InputSpec(shape=(4,))})
    assert [blocks.phase for blocks in timed(plain).blocks] == [Phase.FORWARD]


def test_a_program_that_does_nothing_is_timed_as_dispatch() -> None:
    """A compiled call of it is all overhead, so it takes longer than eager's."""
    nothing = a_case("demo.first.nothing", inputs={"a": InputSpec(shape=(1,))}, tags=frozenset({DISPATCH}))
    (blocks,) = timed(nothing, "eager").blocks
    assert blocks.phase is Phase.DISPATCH
    assert stats.difference(blocks).value > 0


def test_calls_start_from_the_state_that_there_was() -> None:
    """A program that multiplies its weight by 1e6 would soon compute with infinities."""
    growing = a_case(
        "demo.first.growing",
        setup="weight = torch.ones(4)\nseen = []\n",
        program="""\
with torch.no_grad():
    weight.mul_(1.001)
if not bool(torch.isfinite(weight).all()):
    raise ValueError("it grew beyond all bounds")
return a * weight
""",
        inputs={"a": InputSpec(shape=(4,))},
    )
    assert timed(growing, "eager").blocks


def test_the_optimizer_that_a_program_leaves_to_its_caller_steps() -> None:
    """A step with Adam allocates its moments, one whose optimizer the program uses itself does not step twice."""
    setup = "net = torch.nn.Linear(64, 64)\noptimizer = torch.optim.Adam(net.parameters(), foreach=False)\n"
    given = {"inputs": {"a": InputSpec(shape=(2, 64))}, "setup": setup}
    left = timed(a_case("demo.first.left", program="return net(a)\n", **given))
    used = timed(a_case("demo.first.used", program="optimizer.zero_grad()\nreturn net(a)\n", **given), "eager")
    steps = [stats.seconds(timing.blocks[-1])[0] for timing in (left, used)]
    assert steps[0] > 1.5 * steps[1]


def test_modes_of_the_variant_are_held() -> None:
    """Under no_grad nothing is recorded, so there is no backward to time."""
    variant = a_case(variants=(LINEAR.variants[0].__class__(grad="disabled"),)).variants
    held = a_case("demo.first.held", setup=LINEAR.setup, program=LINEAR.program, inputs=LINEAR.inputs, variants=variant)
    assert [blocks.phase for blocks in timed(held).blocks] == [Phase.FORWARD]


def test_eager_is_timed_against_itself() -> None:
    """As often as is asked for, and it lies near itself."""
    task = TimingRequest(request=requested(LINEAR), effort=QUICK, repetitions=3)
    (ratios,) = done("run_against_itself", task, Noise).ratios.values()
    assert len(ratios) == 3
    assert all(0.5 < ratio < 2 for ratio in ratios)


def test_a_first_call_uses_the_cache_it_is_given(tmp_path: Path) -> None:
    """What Inductor compiles cold lies in the folder, and the next process finds it there."""
    seconds = {}
    for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM):
        task = FirstCall(request=requested(LINEAR, "inductor"), phase=phase, cache=str(tmp_path / "cache"))
        (seconds[phase],) = done("first_call", task).compiles[phase]
    assert list((tmp_path / "cache").rglob("*.so"))
    assert seconds[Phase.COMPILE_WARM] < seconds[Phase.COMPILE_COLD]

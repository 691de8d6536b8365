from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.isolation import tasks
from conformance.isolation.tasks import result
from conformance.model.case import InputSpec, Variant
from conformance.model.request import BackendInfo
from conformance.observation.evidence import GraphWatch
from conformance.tests.fakes import a_case, a_request
from conformance.timing import measure
from conformance.timing.model import DISPATCH, Effort, FirstCall, Noise, Phase, Timing, TimingRequest
from conformance.timing.subject import prepared, uncompiled

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.request import Request

pytestmark = pytest.mark.torch

QUICK = Effort(budget_s=0.1)


def requested(case: Case, backend: str = "aot_eager") -> Request:
    """A case on a backend of this repository."""
    return a_request(case, BackendInfo(ref=backend, name=backend))


def done(function: str, task: Any, kind: type[Any] = Timing) -> Any:
    """What a function of `conformance.timing.measure` gives in a child."""
    end = tasks.run_task(f"conformance.timing.measure:{function}", task, env={}, timeout_s=120)
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
    """A call of it is all overhead, so there is one phase of that name."""
    nothing = a_case("demo.first.nothing", inputs={"a": InputSpec(shape=(1,))}, tags=frozenset({DISPATCH}))
    (blocks,) = timed(nothing, "eager").blocks
    assert blocks.phase is Phase.DISPATCH


def test_uncompiled_and_candidate_share_their_tensors() -> None:
    """Else a ratio would depend on addresses; the baseline is not compiled, and calling it compiles nothing."""
    with prepared(requested(LINEAR)) as candidate:
        base = candidate.uncompiled_baseline()
        shared = [*zip(base.arguments, candidate.arguments, strict=True), (base.module, candidate.module)]
        assert all(one is other for one, other in [*shared, *zip(base.cotangents, candidate.cotangents, strict=True)])
        assert candidate.watch is not None
        assert candidate.watch.graphs == 1
        with GraphWatch() as watch:
            for _ in range(3):
                base.step()
        assert watch.graphs == 0
        assert base.function is candidate.module.program
        assert base.watch is None


def test_rewinding_gives_back_what_calls_change() -> None:
    """A program that doubles its weight and its input would soon compute with infinities."""
    growing = a_case(
        "demo.first.growing",
        setup="weight = torch.ones(4)\n",
        program="weight.mul_(2)\na.mul_(2)\nreturn a * weight\n",
        inputs={"a": InputSpec(shape=(4,))},
    )
    subject = uncompiled(requested(growing))
    first = subject.call()
    assert not torch.equal(subject.call(), first)  # type: ignore[arg-type]
    subject.rewind()
    assert torch.equal(subject.call(), first)  # type: ignore[arg-type]


def test_the_optimizer_that_a_program_leaves_to_its_caller_steps() -> None:
    """A step changes the weights, and rewinding gives them back; what the program steps itself does not step twice."""
    setup = "net = torch.nn.Linear(4, 4)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
    left = uncompiled(requested(replace(LINEAR, setup=setup)))
    first = left.module.net.weight.detach().clone()
    left.step()
    assert not torch.equal(left.module.net.weight, first)
    left.rewind()
    assert torch.equal(left.module.net.weight, first)
    used = uncompiled(requested(replace(LINEAR, setup=setup, program="optimizer.zero_grad()\nreturn net(a)\n")))
    used.step()
    assert torch.equal(used.module.net.weight, first)


def test_modes_of_the_variant_are_held() -> None:
    """Under no_grad nothing is recorded, so there is no backward to time."""
    held = timed(replace(LINEAR, variants=(Variant(grad="disabled"),)))
    assert [blocks.phase for blocks in held.blocks] == [Phase.FORWARD]


def test_uncompiled_is_timed_against_itself() -> None:
    """As often as is asked for."""
    task = TimingRequest(request=requested(LINEAR), effort=QUICK, repetitions=3)
    (ratios,) = done("run_against_itself", task, Noise).ratios.values()
    assert len(ratios) == 3
    assert min(ratios) > 0


def test_a_first_call_uses_the_cache_it_is_given(tmp_path: Path) -> None:
    """What Inductor compiles cold is in the folder, and the next process finds it there and compiles nothing."""
    cache, built = tmp_path / "cache", []
    for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM):
        task = FirstCall(request=requested(LINEAR, "inductor"), phase=phase, cache=str(cache))
        (seconds,) = done("first_call", task).compiles[phase]
        assert seconds > 0
        built.append({path: path.stat().st_mtime_ns for path in cache.rglob("*.so")})
    assert built[0]
    assert built[0] == built[1]


def test_a_pinned_child_stays_on_the_last_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as it has threads; one that is not pinned may be moved."""
    chosen: list[tuple[int, list[int]]] = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 0, 1, 2})
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: chosen.append((process, cores)))
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    task = TimingRequest(request=requested(LINEAR), effort=QUICK, threads=2)
    measure._settle(task)
    assert chosen == []
    measure._settle(replace(task, pinned=True))
    assert chosen == [(0, [2, 5])]

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import select
from conformance.execution import attempts as execution_attempts
from conformance.execution import observe
from conformance.model.enums import OPERATIONS, Outcome
from conformance.tests.fakes import a_backend, a_case
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.model.result import Attempt

pytestmark = pytest.mark.torch

PROGRAMS = ["return a.sin(), a", "return a.nothing\n", "return a.cos(), a", "return a.exp(), a", "return a.tanh(), a"]


def fields_of(attempt: Attempt) -> dict[str, Any]:
    """The fields of an attempt, without times."""
    metrics = {name: value for name, value in attempt.metrics.items() if not name.endswith("_s")}
    kept = replace(attempt, metrics=metrics, duration_s=0.0, output="")
    return {name: getattr(kept, name) for name in vars(kept)}


def requests(backend: str, *globs: str) -> tuple[Request, ...]:
    """Cases of the suite on a backend."""
    return select(load_cases(), [execution_attempts.describe(backend)], case_globs=globs).requests


@pytest.mark.parametrize("backend", ["eager", "aot_eager_decomp_partition"])
def test_a_pass_in_a_batch_is_the_same_alone(backend: str) -> None:
    """Checks, grades, evidence and counts are the same, whatever ran before; only times differ."""
    every = requests(backend, "nest.modes.no_grad_with.*", "autocast.*", "calls.*", "training.*")
    batch = every[:: len(every) // 8]
    together, alone = execution_attempts.run_batch(batch), [execution_attempts.run(request) for request in batch]
    assert [fields_of(attempt) for attempt in together] == [fields_of(attempt) for attempt in alone]
    assert all(attempt.duration_s > 0 for attempt in together)
    assert sum(outcome(attempt) is Outcome.PASS for attempt in together) > 1


@pytest.mark.parametrize(
    ("body", "happened"),
    [("[value * 2 for value in graph(*given)]", Outcome.FAIL), ("__import__('os')._exit(3)", Outcome.CRASH)],
)
@pytest.mark.parametrize("run", [execution_attempts.run_batch, execution_attempts.sweep])
def test_what_is_no_pass_costs_its_neighbours_nothing(
    tmp_path: Path, body: str, happened: Outcome, run: Callable[[Sequence[Request]], list[Attempt]]
) -> None:
    """A backend that fails or ends the process at one program is seen to do so there, and nowhere else."""
    path = tmp_path / "theirs.py"
    path.write_text(
        "def mine(graph, inputs):\n"
        "    if not any('sinh' in str(node.target) for node in graph.graph.nodes):\n"
        "        return lambda *given: graph(*given)\n"
        f"    return lambda *given: {body}\n"
    )
    programs = ["return a.sin(), a", "return a.sinh(), a", "return a.cos(), a", "return a.exp(), a"]
    cases = [replace(a_case(f"demo.first.case{index}"), program=text) for index, text in enumerate(programs)]
    batch = select(cases, [execution_attempts.describe(f"{path}:mine")]).requests
    attempts = run(batch)
    assert [outcome(attempt) for attempt in attempts] == [Outcome.PASS, happened, Outcome.PASS, Outcome.PASS]
    assert fields_of(attempts[1]) == fields_of(execution_attempts.run(batch[1]))


def test_what_fails_first_in_its_child_is_not_run_again(tmp_path: Path) -> None:
    """It ran alone already: a backend that is always wrong costs each request one child, and is seen as alone."""
    path, compiled = tmp_path / "theirs.py", tmp_path / "compiled"
    path.write_text(
        "def mine(graph, inputs):\n"
        f"    with open({str(compiled)!r}, 'a') as file:\n"
        "        file.write('x')\n"
        "    return lambda *given: [value * 2 for value in graph(*given)]\n"
    )
    programs = ["return a.sin(), a", "return a.cos(), a", "return a.exp(), a"]
    cases = [replace(a_case(f"demo.first.case{index}"), program=text) for index, text in enumerate(programs)]
    batch = select(cases, [execution_attempts.describe(f"{path}:mine")]).requests
    together = execution_attempts.run_batch(batch)
    once = len(compiled.read_text())
    alone = [execution_attempts.run(request) for request in batch]
    assert once == len(compiled.read_text()) - once
    assert [fields_of(attempt) for attempt in together] == [fields_of(attempt) for attempt in alone]
    assert all(outcome(attempt) is Outcome.FAIL and attempt.duration_s > 0 for attempt in together)


@pytest.mark.filterwarnings("ignore")
def test_a_child_stops_at_what_is_no_pass() -> None:
    """Behind a case that went wrong nothing is run in its process."""
    cases = [
        replace(a_case(f"demo.first.case{index}"), program=text)
        for index, text in enumerate(("return a * 2\n", "return a * 3\n", "return a.nothing\n", "return a * 4\n"))
    ]
    batch = select(cases, [a_backend("eager")]).requests
    made = observe.run_all(batch, lambda _: None).made
    assert [outcome(attempt) for attempt in made] == [Outcome.PASS, Outcome.PASS, Outcome.INVALID]
    assert all(attempt.duration_s > 0 for attempt in made)


def test_a_batch_of_one_is_a_plain_run() -> None:
    """A single request runs as usual."""
    request, *_ = requests("eager", "base.smoke.arithmetic")
    (attempt,) = execution_attempts.run_batch([request])
    assert fields_of(attempt) == fields_of(execution_attempts.run(request))


def test_operations_share_kernels_and_each_is_seen_as_alone() -> None:
    """Several children at a time compile in units, and what is no pass there is run alone; the order stays."""
    backend = execution_attempts.describe("inductor")
    cases = [
        replace(a_case(f"demo.first.case{index}"), program=text, tags=frozenset({OPERATIONS}))
        for index, text in enumerate(PROGRAMS)
    ]
    batch = select(cases, [backend], tags=[OPERATIONS]).requests
    assert all(map(execution_attempts.shares_kernels, batch))
    together = execution_attempts.run_batch(batch)
    assert [outcome(attempt) for attempt in together] == [
        Outcome.INVALID if "nothing" in text else Outcome.PASS for text in PROGRAMS
    ]
    assert [fields_of(attempt) for attempt in together] == [
        fields_of(execution_attempts.run(request)) for request in batch
    ]

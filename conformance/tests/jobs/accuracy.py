"""Measures how far timings can be believed: `nox -s accuracy`. All numbers come from one run on one machine.

1. Uncompiled against itself: how many verdicts are wrong, and how far the ratio spreads, beside that of medians which
   pytest-benchmark took one after the other in the same total time.
2. A planted slow-down of 5 %: how often it is called slower.
3. What the harness itself costs within the timed region.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tabulate import tabulate

from conformance.catalogue.loader import load_cases
from conformance.model.request import BackendInfo, Request
from conformance.timing import clock, stats
from conformance.timing.model import Effort, Noise, Phase, Speed
from conformance.timing.subject import uncompiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CASE = "training.steps.mlp"
_PLANTED = 0.05
_TURN = 40  # repetitions
_OPS = 200  # of the workload that the slow-down is planted in; 5 % is ten of them

# The same two subjects, as pytest-benchmark times them: each alone, for half the time that a pair takes.
_UNPAIRED = """
import pytest
from conformance.tests.jobs.accuracy import sides
SIDES = sides()
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("repetition", range({repetitions}))
def test_step(benchmark, repetition, side):
    benchmark.extra_info.update(repetition=repetition, side=side)
    benchmark(SIDES[side].call)
"""


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="of uncompiled against itself")
    parser.add_argument("--planted", type=int, default=100, help="repetitions of the planted slow-down")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each repetition of uncompiled against itself")
    options = parser.parse_args()
    rows = [
        *_itself(options.repetitions, options.seconds),
        _slower(options.planted),
        *_harness(),
    ]
    sys.stdout.write(tabulate(rows, headers=("what", "measured", "must be"), tablefmt="github") + "\n")


def sides() -> tuple[clock.Side, clock.Side]:
    """The same training step twice, as `conformance bench` times uncompiled calls against themselves, on one thread."""
    torch.set_num_threads(1)
    case = next(case for case in load_cases() if case.id == _CASE)
    request = Request(case=case, backend=BackendInfo(ref="eager", name="eager"), variant=case.variants[0])
    eager = uncompiled(request)
    return eager.side(Phase.STEP), eager.uncompiled_baseline().side(Phase.STEP)


def _itself(repetitions: int, seconds: float) -> list[tuple[str, str, str]]:
    one, other = sides()
    effort = Effort(budget_s=seconds, precision=0.0)  # the whole budget, as pytest-benchmark takes it
    found, alone = list[stats.Estimate](), list[float]()
    for done in range(0, repetitions, _TURN):  # by turns, so that the machine affects both alike
        turn = min(_TURN, repetitions - done)
        found += [stats.ratio(clock.measure(Phase.STEP, one, other, effort)) for _ in range(turn)]
        alone += _unpaired(turn, seconds)
    wrong = sum(stats.speed(each) is not Speed.UNDECIDED for each in found)
    pairs = [each.value for each in found]
    ours, theirs = (stats.spread(Noise(ratios={"": tuple(ratios)})) for ratios in (pairs, alone))
    what = f"uncompiled against itself, {repetitions} times {seconds:g} s"
    return [
        (f"{what}: verdicts other than undecided", f"{wrong} ({wrong / repetitions:.1%})", "at most 1 %"),
        ("spread of the ratio, in pairs (19 of 20 are nearer to 1)", _spread(ours, pairs), ""),
        ("the same, medians of pytest-benchmark one after the other", _spread(theirs, alone), ""),
        ("the one over the other", f"{ours / theirs:.2f}", "at most 0.5"),
    ]


def _spread(found: float, ratios: Sequence[float]) -> str:
    return f"{found:.2%} (from {min(ratios):.3f} to {max(ratios):.3f})"


def _unpaired(repetitions: int, seconds: float) -> list[float]:
    """Ratios of medians that pytest-benchmark took, each of two runs one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        test, times = Path(folder, "test_unpaired.py"), Path(folder, "times.json")
        test.write_text(_UNPAIRED.format(repetitions=repetitions), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            str(test),
            f"--benchmark-json={times}",
            "-p",
            "no:cacheprovider",
        ]
        limits = [f"--benchmark-max-time={seconds / 2}", "--benchmark-min-rounds=1", "--benchmark-only"]
        subprocess.run([*command, *limits], check=True, capture_output=True, cwd=folder)
        found = json.loads(times.read_text(encoding="utf-8"))["benchmarks"]
    medians = {
        (each["extra_info"]["repetition"], each["extra_info"]["side"]): each["stats"]["median"] for each in found
    }
    return [medians[number, 1] / medians[number, 0] for number in range(repetitions)]


def _slower(repetitions: int) -> tuple[str, str, str]:
    torch.set_num_threads(1)
    # On the same memory, since the address of tensors may cost or save some per cent, and 5 % are to be planted.
    memory = _memory()
    one, other = (clock.Side(call=_work(ops, *memory)) for ops in (_OPS, round(_OPS * (1 + _PLANTED))))
    verdicts, taken = list[Speed](), list[float]()
    for _ in range(repetitions):
        start = time.perf_counter()
        blocks = clock.measure(Phase.FORWARD, one, other, Effort(budget_s=2.6))
        taken.append(time.perf_counter() - start)
        verdicts.append(stats.speed(stats.ratio(blocks)))
    share = verdicts.count(Speed.SLOWER) / repetitions
    seconds = stats.seconds(blocks)[0]
    what = f"5 % planted in {seconds * 1e3:.2f} ms, {repetitions} times, called slower"
    return (
        what,
        f"{share:.0%} (median {statistics.median(taken):.1f} s, at most {max(taken):.1f} s)",
        "at least 95 %, 3 s",
    )


def _memory() -> tuple[torch.Tensor, torch.Tensor]:
    """Square matrices with which the workload takes about a millisecond."""
    for size in range(16, 512, 4):
        memory = torch.ones(size, size), torch.empty(size, size)
        if min(timeit.repeat(_work(_OPS, *memory), number=1, repeat=20)) > 1e-3:
            break
    return memory


def _work(ops: int, a: torch.Tensor, out: torch.Tensor) -> Callable[[], None]:
    def work() -> None:
        for _ in range(ops):
            torch.mul(a, a, out=out)

    return work


def _harness() -> list[tuple[str, str, str]]:
    def nothing(*_: object) -> None:
        """The rest is the harness."""

    plain, prepared = clock.Side(call=nothing), clock.Side(call=nothing, setup=lambda: None)
    rows = []
    for what, side in (("in one loop", plain), ("each with its setup", prepared)):
        blocks = clock.measure(Phase.FORWARD, side, side, Effort(budget_s=1.0))
        ns = stats.seconds(blocks)[0] * 1e9
        rows.append((f"a call that does nothing, {what}", f"{ns:.0f} ns: {ns / 1e5:.2%} of 100 us", "below 1 %"))
    return rows


if __name__ == "__main__":
    main()

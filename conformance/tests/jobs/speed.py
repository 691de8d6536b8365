"""Measures the speed the harness promises: `nox -s speed`. Every ratio comes from one run on one machine.

1. What isolation costs: one request in a forked child against the same work in one process, paired by request.
2. What a run of the cases written by hand costs on the backends that compile in milliseconds, against a plain
   single-process loop with `torch._dynamo.reset()` between requests, and against one fresh Python process per request.
3. What requests of one family cost that share processes, against each in its own, and whether the later ones of many
   in one process take longer.
4. How fast the commands answer that only read.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tabulate import tabulate

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import decided, select
from conformance.execution import attempts
from conformance.execution.runner import BATCH
from conformance.isolation import tasks, torch_release
from conformance.isolation.forkserver import environment
from conformance.model.enums import Outcome
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.request import Request

_BACKENDS = ("eager", "pre_dispatch_eager", "aot_eager")
_NESTS_ON = ("eager", "aot_eager")
_TIMES = 5  # that a command is timed
_READERS = {
    "list": "under 0.5 s",
    "list --backends": "under 0.5 s",
    "show grad_mode.nesting.enable_in_no_grad": "under 0.5 s",
    "--help": "under 0.5 s",
    "--version": "under 0.5 s",
    "validate cases": "under 5 s",
    "validate": "under 5 s",
}
"""The commands that only read, and how soon they must answer."""


# Reads pickled requests from stdin and prints the seconds each took, in this one process.
_LOOP = """
import pickle, sys, time
import torch
from conformance.execution import observe
torch.set_num_threads(1)
for request in pickle.load(sys.stdin.buffer):
    start = time.perf_counter()
    observe.run(request, lambda stage: None)
    torch._dynamo.reset()
    print("TOOK", time.perf_counter() - start, flush=True)
"""


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", type=int, default=15, help="requests sampled for one fresh process each")
    parser.add_argument("--nests", type=int, default=200, help="nests run alone and in batches, on each backend")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    requests = _requests()
    attempts.run(requests[0])  # starts the fork server, which every run does once
    rows = [*_isolation(requests), *_whole(requests, options.jobs, options.fresh)]
    rows += [row for name in _NESTS_ON for row in _shared(name, options.nests)] + _commands()
    sys.stdout.write(tabulate(rows, headers=("what", "measured", "must be"), tablefmt="github") + "\n")


def _requests() -> list[Request]:
    plan = select(load_cases(), [attempts.describe(name) for name in _BACKENDS])
    release = torch_release.installed().version
    by_hand = (request for request in plan.requests if request.case.family is None)
    return [request for request in by_hand if decided(request, release) is None]


def _isolation(requests: Sequence[Request]) -> list[tuple[str, str, str]]:
    sample = requests[:: max(1, len(requests) // 60)]
    isolated = [_timed(request) for request in sample]
    what = f"isolation, median of {len(sample)} requests"
    return [
        (what, _extra(isolated, _in_one_process(sample)), "at most 60 ms"),
        (
            "the same, with our threads and allocator in that process",
            _extra(isolated, _in_one_process(sample, environment({}))),
            "",
        ),
    ]


def _extra(isolated: Sequence[float], plain: Sequence[float]) -> str:
    extra = sorted((one - other) * 1e3 for one, other in zip(isolated, plain, strict=True))
    low, high = extra[len(extra) // 4], extra[3 * len(extra) // 4]
    return f"{statistics.median(extra):.0f} ms (quartiles {low:.0f} to {high:.0f})"


def _timed(request: Request) -> float:
    start = time.perf_counter()
    attempts.run(request)
    return time.perf_counter() - start


def _in_one_process(requests: Sequence[Request], env: Mapping[str, str] | None = None) -> list[float]:
    """Seconds of each request, one after the other in one fresh process; without `env`, as a user would start it."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOP],
        input=pickle.dumps(list(requests)),
        capture_output=True,
        check=True,
        env=env,
    )
    return [float(line.split()[1]) for line in done.stdout.decode().splitlines() if line.startswith("TOOK ")]


def _whole(requests: Sequence[Request], jobs: int, fresh: int) -> list[tuple[str, str, str]]:
    start = time.perf_counter()
    with ThreadPoolExecutor(jobs) as executor:
        list(executor.map(attempts.run, requests))
    ours = time.perf_counter() - start
    plain = sum(_in_one_process(requests))
    tuned = sum(_in_one_process(requests, environment({})))
    sample = requests[:: max(1, len(requests) // fresh)]
    each = statistics.median(_in_fresh_process(request) for request in sample)
    count = f"{len(requests)} requests on {', '.join(_BACKENDS)}, {jobs} jobs"
    return [
        (count, f"{ours:.1f} s ({ours / len(requests) * 1e3:.0f} ms a request)", ""),
        ("against a plain single-process loop", f"{ours / plain:.2f} times its {plain:.1f} s", "at most 1.0 times"),
        ("against that loop with our threads and allocator", f"{ours / tuned:.2f} times its {tuned:.1f} s", ""),
        (
            "against one fresh process per request",
            f"{each * len(requests) / ours:.0f} times faster (median {each:.1f} s of {len(sample)} sampled)",
            "at least 20 times",
        ),
    ]


def _in_fresh_process(request: Request) -> float:
    start = time.perf_counter()
    _in_one_process([request])
    return time.perf_counter() - start


def _shared(backend: str, count: int) -> list[tuple[str, str, str]]:
    """Time the nests that pass, alone and in batches by turns: other work on the machine then slows both."""
    requests = select(load_cases(), [attempts.describe(backend)], case_globs=["nest.*"]).requests
    sample = requests[:: max(1, len(requests) // count)]
    passing = [request for request in sample if outcome(attempts.run(request)) is Outcome.PASS]
    alone = together = 0.0
    for start in range(0, len(passing), BATCH):
        batch = passing[start : start + BATCH]
        alone += sum(map(_timed, batch))
        begun = time.perf_counter()
        attempts.run_batch(batch)
        together += time.perf_counter() - begun
    each, shared = alone / len(passing) * 1e3, together / len(passing) * 1e3
    return [
        (
            f"{len(passing)} nests on {backend}, {BATCH} to a process",
            f"{shared:.0f} ms a request, {each:.0f} ms alone: {alone / together:.1f} times faster",
            "",
        ),
        _growth(passing),
    ]


def _growth(requests: Sequence[Request]) -> tuple[str, str, str]:
    """Compare early and late requests of one process; one that ends early fails here, and is run alone nowhere."""
    end = tasks.run_task("conformance.execution.observe:run_all", tuple(requests), env={}, timeout_s=600)
    taken = [made["duration_s"] for made in end.report.body["made"]]
    quarter = len(taken) // 4
    ratio = statistics.median(taken[-quarter:]) / statistics.median(taken[:quarter])
    return (f"the last quarter of {len(taken)} in one process, over the first", f"{ratio:.2f} times", "about 1")


def _commands() -> list[tuple[str, str, str]]:
    return [row for line, limit in _READERS.items() for row in _reader(line, limit)]


def _reader(line: str, limit: str) -> Iterator[tuple[str, str, str]]:
    """Time a command where no case is remembered yet, and where all are; the two by turns."""
    cold, warm = [], []
    for _ in range(_TIMES):
        with tempfile.TemporaryDirectory(prefix="conformance-speed-") as cache:
            cold.append(_command(line, cache))
            warm.append(_command(line, cache))
    yield f"conformance {line}", f"{statistics.median(warm):.2f} s", limit
    yield "the same with nothing remembered", f"{statistics.median(cold):.2f} s", ""


def _command(line: str, cache: str) -> float:
    start = time.perf_counter()
    env = {**os.environ, "XDG_CACHE_HOME": cache}
    subprocess.run([sys.executable, "-m", "conformance", *line.split()], check=True, capture_output=True, env=env)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

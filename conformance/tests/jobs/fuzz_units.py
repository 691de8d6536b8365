"""Holds that kernels compiled together mean what they mean compiled alone, and measures how much sooner they are ready.

`python -m conformance.tests.jobs.fuzz_units --programs 200` runs the same programs on Inductor both ways, with an empty
cache each, and prints each program whose outcome or symptom differs. The exit code is 1 where there is one. Processor
time is that of all processes, start included; on a machine with other work it is to be compared, not the clock.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from tabulate import tabulate

from conformance.backend.discovery import find, usable
from conformance.catalogue.selection import decided, time_limit
from conformance.execution import attempts
from conformance.isolation import tasks, torch_release
from conformance.isolation.deadline import Deadline
from conformance.model.request import Request
from conformance.records.environment import capture
from conformance.triage.fuzz import grammar
from conformance.triage.fuzz.guidance import Guide
from conformance.triage.fuzz.runner import here
from conformance.verdict.judge import outcome
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conformance.model.result import Attempt


class Row(NamedTuple):
    """One way of compiling."""

    kernels: str
    programs: int
    failed: int
    per_second: float
    processor_s_each: float


@click.command()
@click.option("--backend", default="inductor", show_default=True)
@click.option("--programs", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(backend: str, programs: int, seed: int) -> None:
    """Measure and print one table, and what differs."""
    requests = list(_requests(backend, programs, seed))
    threads = capture().threads
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/alone"
        runner = here(Path(folder))
        several = runner.several
        together, first = _run("together", requests, lambda part: several(part, Deadline()), runner.sharing * threads)
        alone, second = _run("alone", requests, attempts.sweep, threads)
    pairs = zip(requests, together, alone, strict=True)
    differing = [f"{r.case.id}: {a}, alone {b}\n{r.case.program}" for r, a, b in pairs if a != b]
    sys.stdout.write(tabulate([first, second], headers=Row._fields, tablefmt="github", floatfmt=".2f") + "\n")
    sys.stdout.write("\n".join([f"{len(differing)} of {len(requests)} programs differ", *differing]) + "\n")
    sys.exit(1 if differing else 0)


def _requests(ref: str, programs: int, seed: int) -> Iterator[Request]:
    (backend,) = map(usable, find([ref], attempts.describe))
    torch = torch_release.installed().version
    cases = (one.case for number in count() for one in grammar.chunk(number, seed, Guide()))
    made = (
        Request(case=case, backend=backend, variant=case.variants[0], timeout_s=time_limit(case, backend, None))
        for case in cases
    )
    able = (request for request in made if decided(request, torch) is None)
    yield from islice(able, programs)


def _run(
    kernels: str, requests: Sequence[Request], run: Callable[[Sequence[Request]], Sequence[Attempt]], slots: int
) -> tuple[list[str], Row]:
    before, began = _processor_s(), time.monotonic()
    parts = [requests[start : start + attempts.IN_A_CHILD] for start in range(0, len(requests), attempts.IN_A_CHILD)]
    with ThreadPoolExecutor(slots) as executor:
        made = [attempt for part in executor.map(run, parts) for attempt in part]
    passed_s = time.monotonic() - began
    tasks.shutdown()
    spent_s = _processor_s() - before
    failed = sum(outcome(attempt).is_failure for attempt in made)
    row = Row(kernels, len(made), failed, len(made) / passed_s, spent_s / len(made))
    return [_answer(attempt) for attempt in made], row


def _answer(attempt: Attempt) -> str:
    came = outcome(attempt)
    return f"{came}: {Symptom.of(attempt)}" if came.is_failure else str(came)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

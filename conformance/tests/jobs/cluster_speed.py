"""What a cluster costs, and how it scales: `python -m conformance.tests.jobs.cluster_speed 4 16 64`.

First the overhead of a request: requests that do nothing, on two workers of this machine, and handed to threads
instead, one a task and in batches. Then, for each number of workers, requests that sleep as long as real ones took, for
about a minute: how much of the ideal speed-up is reached, from the first request to the last record. These workers
share one process with scheduler and client, since they only sleep; the processors that all of it took are a bound for
larger clusters.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import dask
import distributed

from conformance.catalogue import sources
from conformance.execution.cluster import ClusterExecutor, connected
from conformance.execution.cluster_worker import Cargo
from conformance.execution.runner import LONG_S
from conformance.model.enums import SLOW_COMPILE
from conformance.records import record_file
from conformance.tests.execution.made_up import a_plan, running
from conformance.tests.fakes import a_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from conformance.catalogue.selection import Plan
    from conformance.model.request import BackendInfo, Request

_RECORDS = Path(__file__).parents[3] / "results" / "records" / "2.15.0+cu132" / "in-tree.jsonl"
_ONE_PROCESS = {
    "distributed.admin.system-monitor.interval": "60 s",
    "distributed.admin.tick.interval": "5 s",
    "distributed.worker.profile.enabled": False,
}
"""Each of many workers in one process would watch it, fifty times a second, as if it were its own."""
_EMPTY = 1000  # requests that do nothing
_COPIES = 3  # of each backend, so that there are enough different requests
_TAGS = {"inductor": frozenset({SLOW_COMPILE})}


@click.command()
@click.argument("workers", nargs=-1, type=int)
@click.option("--seconds", default=60.0, show_default=True, help="How long each is to take, if it scaled ideally.")
def main(workers: Sequence[int], seconds: float) -> None:
    """Measure, and print a line for each number."""
    cases = sources.collect()
    plan = a_plan([a_backend(description="{}")], _EMPTY, cases)
    with connected("local:2") as client:
        client.wait_for_workers(2)
        for batch, how in ((1, "one a task"), (None, "in batches, as in runs")):
            click.echo(f"overhead, {how}: {_overhead_ms(plan, client, batch):.1f} ms a request")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "durations.json")
        recorded = _durations(path)
        for number in workers:
            click.echo(_scaling(_sleeping(path, recorded, number * seconds), recorded, number))


def _overhead_ms(plan: Plan, client: distributed.Client, batch: int | None) -> float:
    """What the engine adds to requests that do nothing, with two at a time, against threads of this process."""
    with ThreadPoolExecutor(2) as threads:
        plain = _seconds(plan, threads, lambda: 2, batch=batch)
    executor = _ready(ClusterExecutor(client, _cargo(plan)), 2)
    taken = _seconds(plan, executor, lambda: executor.slots, batch=batch)
    executor.shutdown()
    return 1000 * (taken - plain) / len(plan.requests)


def _durations(path: Path) -> dict[str, float]:
    """How long requests took on each backend, by its name, case and variant; they are written to a file too."""
    records = record_file.read(_RECORDS).records
    found = {f"{record.backend} {record.case_id} {record.variant}": record.duration_s for record in records}
    path.write_text(json.dumps(found), encoding="utf-8")
    return found


def _sleeping(path: Path, recorded: Mapping[str, float], work: float) -> Plan:
    """A random plan of requests that sleep as long as recorded, in all so many seconds; slow ones first, as in runs."""
    names = dict.fromkeys(key.partition(" ")[0] for key in recorded)
    backends = [_backend(name, copy, path) for copy in range(_COPIES) for name in names]
    whole = a_plan(backends, 1 << 30, sources.collect())
    known = [request for request in whole.requests if _key(request) in recorded]
    mean = sum(recorded[_key(request)] for request in known) / len(known)
    drawn = random.Random(0).sample(known, int(work / mean))  # noqa: S311 - the same each time
    ordered = sorted(drawn, key=lambda request: SLOW_COMPILE not in request.backend.tags)
    return replace(whole, requests=tuple(ordered))


def _backend(name: str, copy: int, path: Path) -> BackendInfo:
    described = json.dumps({"durations": str(path), "as": name})
    return a_backend(f"{name}-{copy}", description=described, tags=_TAGS.get(name, frozenset()))


def _key(request: Request) -> str:
    return f"{request.backend.name.rpartition('-')[0]} {request.case.id} {request.variant.id}"


def _scaling(plan: Plan, recorded: Mapping[str, float], number: int) -> str:
    ideal = sum(recorded[_key(request)] for request in plan.requests) / number
    with _workers(number) as client:
        executor = _ready(ClusterExecutor(client, _cargo(plan)), number)
        before = time.process_time()
        lasting = {request.key: recorded[_key(request)] for request in plan.requests}
        long = {key: seconds for key, seconds in lasting.items() if seconds >= LONG_S}
        taken = _seconds(plan, executor, lambda: executor.slots, long=long)
        busy = time.process_time() - before
        executor.shutdown()
    requests = len(plan.requests)
    return (
        f"{number} workers, {requests:,} requests: {taken:.1f} s of {ideal:.1f} s, {ideal / taken:.1%} of ideal; "
        f"{requests / taken:.0f} a second; {1000 * busy / requests:.2f} ms of processor a request"
    )


def _ready(executor: ClusterExecutor, number: int) -> ClusterExecutor:
    """The executor once so many workers take part."""
    while executor.slots < number:
        time.sleep(0.1)
    return executor


@contextmanager
def _workers(number: int) -> Iterator[distributed.Client]:
    with (
        dask.config.set(_ONE_PROCESS),
        distributed.LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=False,
            memory_limit=0,  # each would take the memory of all for its own, and pause
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},
        ) as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        client.wait_for_workers(number)
        yield client


def _cargo(plan: Plan) -> Cargo:
    return Cargo(run_id=f"speed{time.monotonic_ns()}", backends=plan.backends)


def _seconds(plan: Plan, executor: Executor, slots: Callable[[], int], **options: Any) -> float:
    """The seconds of a run of a plan."""
    run = running(plan, executor, slots, **options)
    start = time.monotonic()
    assert sum(1 for _ in run) == len(plan.requests)
    return time.monotonic() - start


if __name__ == "__main__":
    main()

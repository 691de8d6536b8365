"""How much memory the client of a cluster takes: `python -m conformance.tests.jobs.cluster_memory 10000 100000`.

Each number of requests, which do nothing, is run on two workers by a client of its own, which writes the records to a
file and keeps none of them. Its scheduler is a process of its own too, as `dask scheduler` is.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.catalogue import sources
from conformance.execution.cluster import ClusterExecutor, connected
from conformance.execution.cluster_worker import Cargo
from conformance.records import environment
from conformance.records.record_file import RecordWriter, make_header
from conformance.tests.execution.made_up import a_plan, running
from conformance.tests.fakes import a_backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WORKERS = 2
_BACKENDS = 40  # of one name each, so that there are enough different requests


@click.command()
@click.argument("requests", nargs=-1, type=int)
def main(requests: Sequence[int]) -> None:
    """Measure, and print a line for each number."""
    for number in requests:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client:
            click.echo(client.submit(_client, number).result())


def _client(number: int) -> str:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder, "scheduler.json")
        place = ("--scheduler-file", str(file))
        stack.enter_context(_dask("scheduler", "--port", "0", *place))
        for _ in range(_WORKERS):
            stack.enter_context(_dask("worker", *place, "--nthreads", "1"))
        while not file.is_file():
            time.sleep(0.1)
        plan = a_plan([a_backend(f"b{each}", description="{}") for each in range(_BACKENDS)], number, sources.collect())
        planned = _peak_mib()
        client = stack.enter_context(connected(str(file)))
        client.wait_for_workers(_WORKERS)
        executor = ClusterExecutor(client, Cargo(run_id=f"memory{number}", backends=plan.backends))
        header = make_header(plan, environment.capture(), "memory")
        start = time.monotonic()
        with RecordWriter(Path(folder, "records.jsonl"), header) as writer:
            for record in running(plan, executor, lambda: executor.slots):
                writer.write(record)
        taken = time.monotonic() - start
        executor.shutdown()
    return f"{number:,} requests: {planned:.0f} MiB planned, {_peak_mib():.0f} MiB run; {number / taken:.0f} a second"


@contextmanager
def _dask(*words: str) -> Iterator[None]:
    command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Random deaths of workers: whether a record is lost or doubled.

`python -m conformance.tests.jobs.cluster_faults --requests 2000 --kills 100` runs requests that sleep on four workers
of this machine and kills one of them again and again. It exits with 1 unless every request has one attempt, a pass.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.catalogue import sources
from conformance.execution.cluster import ClusterExecutor, connected
from conformance.execution.cluster_worker import Cargo
from conformance.model.enums import Outcome
from conformance.tests.execution.made_up import a_plan, running
from conformance.tests.fakes import a_backend

if TYPE_CHECKING:
    import distributed

_WORKERS = 4


@click.command()
@click.option("--requests", default=2000, show_default=True)
@click.option("--kills", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of what is killed when.")
def main(requests: int, kills: int, seed: int) -> None:
    """Kill workers at random while requests run, and count the records."""
    with tempfile.TemporaryDirectory() as folder:
        todo = {"log": str(Path(folder, "log")), "sleep": 0.02}
        cargo = Cargo(run_id="faults", backends=(a_backend(description=json.dumps(todo)),))
        plan = a_plan(cargo.backends, requests, sources.collect())
        with connected(f"local:{_WORKERS}") as client:
            executor = ClusterExecutor(client, cargo)
            killer = threading.Thread(target=_kill, args=(client, kills, seed), daemon=True)
            killer.start()
            run = running(plan, executor, lambda: executor.slots)
            start = time.monotonic()
            records = list(run)
            killer.join()
            executor.shutdown()
    keys = [record.key for record in records]
    failed = [record for record in records if record.outcome is not Outcome.PASS]
    doubled, lost = len(keys) - len(set(keys)), len({request.key for request in plan.requests} - set(keys))
    click.echo(
        f"{requests} requests, {kills} deaths, {time.monotonic() - start:.0f} s: {lost} lost, {doubled} doubled, "
        f"{len(failed)} that did not pass"
    )
    sys.exit(int(bool(lost or doubled or failed)))


def _kill(client: distributed.Client, kills: int, seed: int) -> None:
    """Kill one worker after the other, each when there is more than one."""
    draw = random.Random(seed)  # noqa: S311 - the same each time
    done = 0
    while done < kills:
        time.sleep(draw.uniform(0.05, 0.6))
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if len(workers) > 1:
            address = draw.choice(sorted(workers))
            try:
                process = client.run(os.getpid, workers=[address], on_error="return")[address]
                os.kill(process, signal.SIGKILL)
            except (KeyError, OSError, TypeError):
                continue  # it has died already
            done += 1


if __name__ == "__main__":
    main()

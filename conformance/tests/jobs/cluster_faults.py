"""Random deaths of workers: whether a record is lost or doubled.

`python -m conformance.tests.jobs.cluster_faults --requests 2000 --kills 100` runs requests that sleep on four workers
of this machine and kills one of them every 1.5 s or so: a worker takes as long to come back. It exits with 1
unless every request has one record, a pass, and all the deaths came while requests ran.
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
_SETTLED_S = 3.0  # a worker that dies as it starts is not started again
_BATCH = 4  # requests: some seconds, so that most survive


@click.command()
@click.option("--requests", default=2000, show_default=True)
@click.option("--kills", default=100, show_default=True)
@click.option("--sleep", default=0.45, show_default=True, help="Seconds of a request.")
@click.option("--every", default=1.5, show_default=True, help="Seconds between two deaths, on average.")
@click.option("--seed", default=0, show_default=True, help="Of what is killed when.")
def main(requests: int, kills: int, sleep: float, every: float, seed: int) -> None:
    """Kill workers at random while requests run, and count the records."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        todo = {"log": str(log), "sleep": sleep}
        cargo = Cargo(run_id="faults", backends=(a_backend(description=json.dumps(todo)),))
        plan = a_plan(cargo.backends, requests, sources.collect())
        with connected(f"local:{_WORKERS}") as client:
            executor = ClusterExecutor(client, cargo)
            killer = _Killer(client, kills, every, random.Random(seed))  # noqa: S311 - the same each time
            run = running(plan, executor, lambda: executor.slots, batch=_BATCH)
            start = time.monotonic()
            with killer:
                records = list(run)
            taken = time.monotonic() - start
            executor.shutdown()
        begun = sum(line.startswith("begun") for line in log.read_text(encoding="utf-8").splitlines())
    keys = [record.key for record in records]
    failed = [record for record in records if record.outcome is not Outcome.PASS]
    doubled, lost = len(keys) - len(set(keys)), len({request.key for request in plan.requests} - set(keys))
    click.echo(
        f"{requests} requests, begun {begun} times, {killer.done} deaths, {taken:.0f} s: "
        f"{lost} lost, {doubled} doubled, {len(failed)} that did not pass"
    )
    sys.exit(int(bool(lost or doubled or failed or killer.done < kills)))


class _Killer(threading.Thread):
    """Kills one worker after the other while its block runs, each when more than one has settled."""

    def __init__(self, client: distributed.Client, kills: int, every: float, draw: random.Random) -> None:
        super().__init__(daemon=True)
        self._client, self._kills, self._every, self._draw = client, kills, every, draw
        self._ended = threading.Event()
        self._seen: dict[str, float] = {}
        self.done = 0

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Wait and kill by turns."""
        while self.done < self._kills and not self._ended.wait(self._draw.uniform(0.2, 2 * self._every - 0.2)):
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
            self._seen = {address: self._seen.get(address, time.monotonic()) for address in workers}
            settled = sorted(each for each, since in self._seen.items() if time.monotonic() - since > _SETTLED_S)
            if len(settled) > 1 and not self._ended.is_set():
                self.done += self._kill(self._draw.choice(settled))

    def _kill(self, address: str) -> bool:
        try:
            process = self._client.run(os.getpid, workers=[address], on_error="return")[address]
            os.kill(process, signal.SIGKILL)
        except (KeyError, OSError, TypeError):
            return False  # it has died already
        return True


if __name__ == "__main__":
    main()

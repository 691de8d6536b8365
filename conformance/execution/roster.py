"""The workers of a cluster that take part in a run: those that are as the client is.

Each is looked at once, when it comes. One that takes part has a resource that is called after the run, without which it
gets no task of it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from conformance.execution import cluster_worker
from conformance.model.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import distributed

    from conformance.execution.cluster_worker import Cargo, Inspected

__all__ = ["Roster"]

_LOG = logging.getLogger(__name__)

Worker = tuple[str, str]
"""Address and id: an address may be used again."""


class Roster:
    """The workers of a scheduler, and which of them take part in a run.

    Args:
        client: connected to the scheduler.
        cargo: what workers need for the run.
        allow_mixed: whether workers may differ from this machine.
        one_a_machine: whether only one request runs on a machine at a time, however many workers it has.
        worker_timeout_s: how long to wait while there is no worker.
        notify: called with messages for the user.
    """

    def __init__(
        self,
        client: distributed.Client,
        cargo: Cargo,
        *,
        allow_mixed: bool = False,
        one_a_machine: bool = False,
        worker_timeout_s: float = 300.0,
        notify: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self._client, self._cargo = client, cargo
        self._mixed, self._one_a_machine = allow_mixed, one_a_machine
        self._worker_timeout_s, self._notify = worker_timeout_s, notify
        self._expected = cluster_worker.facts(cargo)
        self._fit: dict[Worker, Inspected] = {}
        self._taking_part: dict[Worker, int] = {}
        self._refused: set[Worker] = set()
        self._none_since: float | None = None

    @property
    def slots(self) -> int:
        """How many requests the workers run at a time; at least one, for one that is to come."""
        return max(1, sum(self._taking_part.values()))

    def look(self) -> None:
        """Take in the workers that came, and forget those that left.

        Raises:
            HarnessError: there has been none for long.
        """
        present = {
            (address, str(facts["id"]))
            for address, facts in self._client.scheduler_info(n_workers=-1)["workers"].items()
        }
        self._fit = {worker: found for worker, found in self._fit.items() if worker in present}
        self._taking_part = {worker: slots for worker, slots in self._taking_part.items() if worker in present}
        try:
            if new := present - self._fit.keys() - self._refused:
                self._inspect(dict(new))
            if chosen := self._chosen():
                self._take_in(chosen)
        finally:
            self._wait_for_workers()

    def _inspect(self, new: Mapping[str, str]) -> None:
        """Look at workers, whose ids are by address, and say why one is left out."""
        found = self._client.run(cluster_worker.inspect, self._cargo, workers=list(new), on_error="return")
        for address, inspected in found.items():
            worker = address, new[address]
            if isinstance(inspected, OSError):  # it has left already, or does not answer now
                continue
            if isinstance(inspected, Exception):
                self._refuse(worker, f"it cannot run this suite: {type(inspected).__name__}: {inspected}")
            elif (differences := self._differences(inspected)) and not self._mixed:
                self._refuse(worker, "; ".join(differences))
            else:
                self._fit[worker] = inspected

    def _differences(self, inspected: Inspected) -> list[str]:
        pairs = ((name, inspected.facts.get(name, ""), value) for name, value in self._expected.items())
        return [
            f"{name} is {own or 'unknown'}, here {value or 'unknown'}" for name, own, value in pairs if own != value
        ]

    def _refuse(self, worker: Worker, why: str) -> None:
        self._refused.add(worker)
        self._notify(f"worker {worker[0]} is left out: {why}")

    def _chosen(self) -> dict[Worker, int]:
        """The workers that are to take part from now on, and how many requests each runs at a time."""
        free = {worker: found for worker, found in self._fit.items() if worker not in self._taking_part}
        if not self._one_a_machine:
            return {worker: found.slots for worker, found in free.items()}
        busy = {self._fit[worker].machine for worker in self._taking_part}
        first = {found.machine: worker for worker, found in reversed(free.items())}
        return {worker: 1 for machine, worker in first.items() if machine not in busy}

    def _take_in(self, chosen: Mapping[Worker, int]) -> None:
        slots = {address: number for (address, _), number in chosen.items()}
        answers = self._client.run(
            cluster_worker.take_part, self._cargo.run_id, slots, workers=list(slots), on_error="return"
        )
        self._client.run_on_scheduler(_look_again)
        # Only now: where that failed, they are asked again.
        self._taking_part |= {
            worker: number for worker, number in chosen.items() if not isinstance(answers[worker[0]], Exception)
        }

    def _wait_for_workers(self) -> None:
        if self._taking_part:
            self._none_since = None
            return
        now = time.monotonic()
        if self._none_since is None:
            self._none_since = now
            self._notify(f"no worker can run this; waiting {self._worker_timeout_s:.0f} s for one")
        if now - self._none_since > self._worker_timeout_s:
            message = f"for {self._worker_timeout_s:.0f} s no worker could run this"
            raise HarnessError(message)


def _look_again(dask_scheduler: Any) -> None:  # noqa: ANN401 - distributed.Scheduler
    """Have a scheduler look again for workers for tasks that had none: a new resource alone is no reason for it."""
    found = {}
    for worker in dask_scheduler.workers.values():
        found.update(dask_scheduler.bulk_schedule_unrunnable_after_adding_worker(worker))
    dask_scheduler.transitions(found, "conformance-worker-taken-in")


# It is sent as code: where a scheduler runs, the suite need not be installed.
_look_again.__module__ = "__main__"

"""What runs the requests of a run: processes on this machine, or the workers of a cluster."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from conformance.isolation import tasks
from conformance.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Executor

    from conformance.execution.cluster_worker import Cargo, Words
    from conformance.model.request import Request

__all__ = ["Engine", "Scheduler", "cluster", "local"]


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Where a cluster is, and which of its workers may take part.

    Args:
        place: address, `local:N`, or path of a scheduler file.
        allow_mixed: whether workers may differ from this machine.
        worker_timeout_s: how long to wait while there is none.
        security: paths of certificates, as `distributed.Security` takes them.
    """

    place: str
    allow_mixed: bool = False
    worker_timeout_s: float = 300.0
    security: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An executor, how many requests it runs at a time, and how many where each is timed; both may change."""

    executor: Executor
    slots: Callable[[], int]
    timed_at_once: Callable[[], int] = lambda: 1


@contextlib.contextmanager
def local(jobs: int) -> Iterator[Engine]:
    """Run `jobs` requests at a time on this machine; what runs at the end is ended."""
    executor = ThreadPoolExecutor(jobs)
    try:
        yield Engine(executor=executor, slots=lambda: jobs)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        tasks.shutdown()  # it ends what the executor waits for
        executor.shutdown()


@contextlib.contextmanager
def cluster(
    scheduler: Scheduler,
    cargo: Cargo,
    *,
    one_a_machine: bool = False,
    words: Callable[[Request], Words] = attrgetter("key"),
    notify: Callable[[str], None],
) -> Iterator[Engine]:
    """Run requests on the workers of a cluster.

    Args:
        scheduler: where it is.
        cargo: what workers need for the run.
        one_a_machine: whether only one request runs on a machine at a time.
        words: returns what names a request to a worker.
        notify: called with messages on the workers.

    Raises:
        UsageError: dask is not installed, or there is no such scheduler.
        HarnessError: the scheduler does not answer any more.
    """
    try:
        from conformance.execution import cluster as dask  # noqa: PLC0415 - an extra, which others need not have
        from conformance.execution.roster import Roster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = f"--scheduler needs dask.distributed: pip install 'torch-compile-conformance[cluster]' ({error})"
        raise UsageError(message) from error
    with dask.connected(scheduler.place, scheduler.security) as client:
        roster = Roster(
            client,
            cargo,
            allow_mixed=scheduler.allow_mixed,
            one_a_machine=one_a_machine,
            worker_timeout_s=scheduler.worker_timeout_s,
            notify=notify,
        )
        executor = dask.ClusterExecutor(client, cargo, roster, words=words)
        try:
            yield Engine(executor=executor, slots=lambda: executor.slots, timed_at_once=lambda: executor.slots)
        finally:
            executor.shutdown()
            tasks.shutdown()  # of what described the backends here

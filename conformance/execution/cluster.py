"""Run requests on the workers of a dask cluster, through the executor that `Run` takes.

Scheduling, transport and recovery are dask's: a task whose worker dies is given to another one. A worker gets tasks of
a run once it was found to be as the client is: it then has a resource that is called after the run.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from conformance.execution import cluster_worker
from conformance.execution.cluster_worker import Cargo, Performed
from conformance.model.enums import Stage
from conformance.model.errors import HarnessError, UsageError
from conformance.model.result import Attempt, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from conformance.model.request import BackendInfo, Request

__all__ = ["ClusterExecutor", "cargo_of", "connected"]

_LOG = logging.getLogger(__name__)
_LOCAL = "local:"
_GONE = "the scheduler of the cluster is gone"
_ANSWER_S = 10.0  # for a scheduler to answer
_LOOK_S = 0.5  # between two looks at the workers
_DEATHS = 2  # of workers, after which a task is not given to another one, on a scheduler of our own
_SILENT_S = 60  # after which a worker that says nothing counts as dead, there


@contextlib.contextmanager
def connected(scheduler: str, security: Mapping[str, str] | None = None) -> Iterator[distributed.Client]:
    """Connect to a scheduler.

    Args:
        scheduler: its address, `local:N` for N workers on this machine, or the path of a scheduler file.
        security: files of certificates, as `distributed.Security` takes them.

    Raises:
        UsageError: there is none, or it speaks another version.
    """
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler.startswith(_LOCAL):
            address = stack.enter_context(_local_cluster(scheduler))
        files = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": address}
        made = distributed.Security(**security, require_encryption=True) if security else None
        try:
            client = stack.enter_context(
                distributed.Client(**files, security=made, timeout=_ANSWER_S, set_as_default=False)
            )
        except (OSError, ValueError, TypeError, ImportError) as error:
            message = f"no dask scheduler answers at {scheduler}: {str(error).partition(chr(10))[0]}"
            raise UsageError(message) from error
        yield client


def _local_cluster(scheduler: str) -> distributed.LocalCluster:
    number = scheduler.removeprefix(_LOCAL)
    if not number.isdecimal() or not int(number):
        message = f"{scheduler!r} is not of the form local:N, with N workers on this machine"
        raise UsageError(message)
    import dask  # noqa: PLC0415 - only who asks for a cluster has it

    # The workers are not the place for a dashboard; each runs one request at a time, as `--jobs N` does.
    settings = {"allowed-failures": _DEATHS, "worker-ttl": f"{_SILENT_S} s"}
    with dask.config.set({f"distributed.scheduler.{name}": value for name, value in settings.items()}):
        return distributed.LocalCluster(
            n_workers=int(number), threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        )


def cargo_of(
    run_id: str, backends: Sequence[BackendInfo], folders: Sequence[Path], *, seed: int, timeout_s: float | None
) -> Cargo:
    """Return what workers need for a run: its backends, and the texts of folders and files that they may not have."""
    places = [Path(path) for info in backends if (path := info.ref.rpartition(":")[0]).endswith(".py")]
    return Cargo(
        run_id=run_id,
        backends=tuple(backends),
        folders=tuple((folder.name, _texts(folder)) for folder in folders),
        files={str(path): path.read_text(encoding="utf-8") for path in places},
        seed=seed,
        timeout_s=timeout_s,
    )


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """The names of requests that are one task, and the future of their attempts."""

    keys: tuple[cluster_worker.Key, ...]
    future: Future[Sequence[Attempt]] = field(default_factory=Future)
    is_second: bool = False


def _gather(parts: Sequence[Future[Sequence[Attempt]]], whole: Future[Sequence[Attempt]]) -> None:
    """Give a future the results of others in their order, or the first exception of one, when the last is done."""
    left = threading.Semaphore(len(parts) - 1)

    def done(_: Future[Sequence[Attempt]]) -> None:
        if left.acquire(blocking=False) or whole.done():
            return
        faults = [fault for part in parts if not part.cancelled() and (fault := part.exception())]
        if faults:
            whole.set_exception(faults[0])
        elif not any(part.cancelled() for part in parts):
            whole.set_result([attempt for part in parts for attempt in part.result()])

    for part in parts:
        part.add_done_callback(done)


class ClusterExecutor(Executor):
    """Workers of a cluster as an executor: a batch of requests is a task.

    Args:
        client: connected to the scheduler.
        cargo: what workers need for the run.
        allow_mixed: whether workers may differ from this machine; records then have the fingerprint of their worker.
        worker_timeout_s: how long to wait while there is no worker.
        notify: called with messages for the user.
    """

    def __init__(
        self,
        client: distributed.Client,
        cargo: Cargo,
        *,
        allow_mixed: bool = False,
        worker_timeout_s: float = 300.0,
        notify: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self._client, self._cargo, self._digest = client, cargo, cargo.digest
        self._mixed, self._worker_timeout_s, self._notify = allow_mixed, worker_timeout_s, notify
        self._expected = cluster_worker.facts(cargo.backends)
        self._lock = threading.RLock()
        self._tasks: dict[_Batch, distributed.Future[Any]] = {}
        self._held: deque[_Batch] = deque()
        self._suspects: deque[_Batch] = deque()
        self._isolated: _Batch | None = None
        self._trusted: dict[tuple[str, str], int] = {}
        self._refused: set[tuple[str, str]] = set()
        self._without_workers_since: float | None = None
        self._fault: Exception | None = None
        self._closed = threading.Event()
        try:
            self._look()
        except Exception as error:
            message = f"this scheduler cannot be used: {type(error).__name__}: {error}"
            raise UsageError(message) from error
        self._watch = threading.Thread(target=self._keep_looking, name="workers", daemon=True)
        self._watch.start()

    @property
    def slots(self) -> int:
        """How many requests the workers run at a time; at least one, for one that is to come."""
        return max(1, sum(self._trusted.values()))

    def submit(self, fn: object, requests: Sequence[Request], /) -> Future[Sequence[Attempt]]:  # type: ignore[override]
        """Run the requests of a batch on a worker, by what the cargo names; `fn` is for executors on this machine."""
        del fn
        batch = _Batch(keys=tuple(request.key for request in requests))
        batch.future.set_running_or_notify_cancel()  # as on a thread: what is under way is not cancelled
        with self._lock:
            if self._fault:
                batch.future.set_exception(self._fault)
            elif self._isolated:
                self._held.append(batch)
            else:
                self._send(batch)
        return batch.future

    def _send(self, batch: _Batch) -> None:
        task = self._client.submit(
            cluster_worker.perform,
            self._cargo,
            self._digest,
            batch.keys,
            pure=False,
            key=f"conformance-{self._cargo.run_id}-{'/'.join(batch.keys[0])}-{time.monotonic_ns()}",
            resources={self._cargo.run_id: 1},
        )
        self._tasks[batch] = task
        task.add_done_callback(lambda done: self._take(batch, done))

    def _take(self, batch: _Batch, task: distributed.Future[Any]) -> None:
        """Hand the result of a task on, and send what had to wait for it."""
        try:
            made: Performed | Exception = task.result()  # it may wait for the network, so not with the lock held
        except Exception as error:  # noqa: BLE001 - whatever a worker raises, in a thread of the client
            made = error
        with self._lock:
            self._tasks.pop(batch, None)
            if self._closed.is_set() or batch.future.done():
                return
            if isinstance(made, Performed):
                batch.future.set_result([replace(each, fingerprint=made.fingerprint) for each in made.attempts])
            elif isinstance(made, distributed.KilledWorker):
                self._suspect(batch, made.allowed_failures + 1)
            elif isinstance(made, FutureCancelledError):  # by nobody here
                batch.future.set_exception(self._fault or HarnessError(_GONE))
            elif batch.is_second:
                message = f"a worker of the cluster: {type(made).__name__}: {made}"
                batch.future.set_exception(self._fault or HarnessError(message))
            else:  # a full disk of one machine need not be the end of the run
                self._try_again(batch)
                return
            self._go_on(batch)

    def _try_again(self, batch: _Batch) -> None:
        second = replace(batch, is_second=True)
        if batch is self._isolated:
            self._isolated = second
        self._send(second)

    def _suspect(self, batch: _Batch, deaths: int) -> None:
        """Note that a batch was on workers that died, as others may have been. One that is alone has ended them."""
        if batch is self._isolated:
            note = f"the workers that ran it died, {deaths} one after another"
            batch.future.set_result([Attempt(ended=Ended(status=1, note=note), stage=Stage.LOAD)])
            return
        parts = [_Batch(keys=(key,)) for key in batch.keys]
        self._suspects += parts
        _gather([part.future for part in parts], batch.future)

    def _go_on(self, batch: _Batch) -> None:
        """Send what was held while a suspect was alone and, when nothing else is to be done, the next suspect."""
        if batch is self._isolated:
            self._isolated = None
            while self._held:
                self._send(self._held.popleft())
        if not self._tasks and self._suspects:
            self._isolated = self._suspects.popleft()
            self._send(self._isolated)

    def _keep_looking(self) -> None:
        while not self._closed.wait(_LOOK_S):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - a client that lost its scheduler raises many kinds
                if self._client.status != "running":
                    self._fail(HarnessError(f"{_GONE}: {type(error).__name__}: {error}"))
                    return

    def _look(self) -> None:
        """Trust the workers that came, forget those that left, and give up if there has been none for long."""
        if self._client.status != "running":
            self._fail(HarnessError(_GONE))
            return
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        present = {(address, str(facts["id"])) for address, facts in workers.items()}  # an address may be used again
        self._trusted = {worker: slots for worker, slots in self._trusted.items() if worker in present}
        new = present - self._trusted.keys() - self._refused
        try:
            if new:
                self._vet(dict(new), workers)
        finally:
            self._wait_for_workers()

    def _vet(self, new: Mapping[str, str], workers: Mapping[str, Any]) -> None:
        """Give trust to workers, whose ids are by address, or say why not."""
        asked = self._client.run(
            cluster_worker.trust,
            self._expected,
            self._cargo,
            mixed=self._mixed,
            workers=list(new),
            on_error="return",
        )
        trusted = {}
        for address, different in asked.items():
            if isinstance(different, CommClosedError | TimeoutError):  # it has left already
                continue
            if isinstance(different, Exception):
                self._refuse(
                    (address, new[address]), f"it cannot run this suite: {type(different).__name__}: {different}"
                )
            elif different and not self._mixed:
                differences = "; ".join(self._difference(name, value) for name, value in different.items())
                self._refuse((address, new[address]), differences)
            else:
                facts = workers[address]
                trusted[address, new[address]] = int(facts["resources"].get("conformance", facts["nthreads"]))
        self._client.run_on_scheduler(_look_again)
        self._trusted |= trusted  # only now: where that failed, they are asked again

    def _difference(self, name: str, value: str) -> str:
        return f"{name} is {value or 'unknown'}, here {self._expected[name] or 'unknown'}"

    def _refuse(self, worker: tuple[str, str], why: str) -> None:
        self._refused.add(worker)
        self._notify(f"worker {worker[0]} is left out: {why}")

    def _wait_for_workers(self) -> None:
        if self._trusted:
            self._without_workers_since = None
            return
        now = time.monotonic()
        if self._without_workers_since is None:
            self._without_workers_since = now
            self._notify(f"no worker can run this; waiting {self._worker_timeout_s:.0f} s for one")
        if now - self._without_workers_since > self._worker_timeout_s:
            self._fail(HarnessError(f"for {self._worker_timeout_s:.0f} s no worker could run this"))

    def _fail(self, fault: Exception) -> None:
        with self._lock:
            self._fault = fault
            for batch in self._pending():
                if not batch.future.done():
                    batch.future.set_exception(fault)

    def _pending(self) -> list[_Batch]:
        """The batches that are not done, which are not this executor's any more."""
        batches = [*self._tasks, *self._held, *self._suspects]
        for each in (self._tasks, self._held, self._suspects):
            each.clear()
        return batches

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget the tasks that are not done; those that run end within their limits."""
        del wait, cancel_futures
        self._closed.set()
        with self._lock:
            tasks = list(self._tasks.values())
            for batch in self._pending():
                batch.future.set_exception(self._fault or HarnessError("the run has ended"))
        if tasks and self._client.status == "running":
            with contextlib.suppress(Exception):
                self._client.cancel(tasks, force=True)
        self._watch.join(timeout=_ANSWER_S)


def _look_again(dask_scheduler: Any) -> None:  # noqa: ANN401 - distributed.Scheduler
    """Have a scheduler look again for workers for tasks that had none: a new resource alone is no reason for it."""
    found = {}
    for worker in dask_scheduler.workers.values():
        found.update(dask_scheduler.bulk_schedule_unrunnable_after_adding_worker(worker))
    dask_scheduler.transitions(found, "conformance-worker-trusted")


# It is sent as code: where a scheduler runs, the suite need not be installed.
_look_again.__module__ = "__main__"

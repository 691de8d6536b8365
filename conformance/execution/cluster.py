"""Run requests on the workers of a dask cluster, through the executor that `Run` takes.

Scheduling, transport and recovery are dask's: a task whose worker dies is given to another one. Only workers on the
roster get tasks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import distributed
from distributed.client import FutureCancelledError

from conformance.execution import cluster_worker
from conformance.execution.cluster_worker import Cargo, Performed
from conformance.execution.roster import Roster
from conformance.model.enums import Stage
from conformance.model.errors import HarnessError, UsageError
from conformance.model.result import Attempt, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from conformance.execution.cluster_worker import Words
    from conformance.model.request import Request

__all__ = ["ClusterExecutor", "connected"]

T = TypeVar("T")

_KEY: Callable[[Request], Words] = attrgetter("key")
_LOCAL = "local:"
_GONE = "the scheduler of the cluster is gone"
_ANSWER_S = 10.0  # for a scheduler to answer
_LOOK_S = 0.5  # between two looks at the workers
_DEATHS = 2  # of workers, after which a task is not given to another one, on a scheduler of our own
_SILENT_S = 60  # after which a worker that says nothing counts as dead, there
# How long a worker that died may take to come back: with dask's 15 s one that dies twice in them is given up.
_LOST_S = 86_400


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
            with warnings.catch_warnings(action="ignore", category=distributed.versions.VersionMismatchWarning):
                client = distributed.Client(**files, security=made, timeout=_ANSWER_S, set_as_default=False)
            stack.enter_context(client)
            release = _release(client)
        except (OSError, ValueError, TypeError, ImportError, LookupError) as error:
            message = f"no dask scheduler answers at {scheduler}: {str(error).partition(chr(10))[0]}"
            raise UsageError(message) from error
        if release != (own := metadata.version("distributed")):
            message = f"the scheduler at {scheduler} is of distributed {release}, here is {own}"
            raise UsageError(message)
        yield client


def _release(client: distributed.Client) -> str:
    """The version of distributed that the scheduler is of."""
    assert client.scheduler  # noqa: S101 - it is connected
    found: str = client.sync(client.scheduler.versions)["packages"]["distributed"]
    return found


@contextlib.contextmanager
def _local_cluster(scheduler: str) -> Iterator[distributed.LocalCluster]:
    number = scheduler.removeprefix(_LOCAL)
    if not number.isdecimal() or not int(number):
        message = f"{scheduler!r} is not of the form local:N, with N workers on this machine"
        raise UsageError(message)
    import dask  # noqa: PLC0415 - only who asks for a cluster has it

    # The workers are not the place for a dashboard; each runs one request at a time, as `--jobs N` does.
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS,
        "distributed.scheduler.worker-ttl": f"{_SILENT_S} s",
        "distributed.deploy.lost-worker-timeout": f"{_LOST_S} s",
        "distributed.nanny.pre-spawn-environ": {},  # of the allocator, in this process too: requests would take longer
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=int(number),
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},  # its pages need a port all the same: any that is free
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """A function and requests, in words, that are one task, and the future of the results.

    It gives a result for each of `words`; `others` are further arguments.
    """

    function: Callable[..., Sequence[Any]]
    words: tuple[Words, ...]
    others: tuple[tuple[Words, ...], ...] = ()
    future: Future[Sequence[Any]] = field(default_factory=Future)
    is_second: bool = False


def _gather(parts: Sequence[Future[Sequence[Any]]], whole: Future[Sequence[Any]]) -> None:
    """Give a future the results of others in their order, or the first exception of one, when the last is done."""
    left = threading.Semaphore(len(parts) - 1)

    def done(_: Future[Sequence[Any]]) -> None:
        if left.acquire(blocking=False) or whole.done():
            return
        faults = [fault for part in parts if not part.cancelled() and (fault := part.exception())]
        if faults:
            whole.set_exception(faults[0])
        elif not any(part.cancelled() for part in parts):
            whole.set_result([made for part in parts for made in part.result()])

    for part in parts:
        part.add_done_callback(done)


class ClusterExecutor(Executor):
    """Workers of a cluster as an executor: a batch of requests is a task.

    Args:
        client: connected to the scheduler.
        cargo: what workers need for the run.
        roster: the workers that take part; default: all that are as this machine is.
        words: returns what names a request to a worker: its key, or the text of what is in no catalogue.
    """

    def __init__(
        self,
        client: distributed.Client,
        cargo: Cargo,
        roster: Roster | None = None,
        *,
        words: Callable[[Request], Words] = _KEY,
    ) -> None:
        self._client, self._cargo, self._digest = client, cargo, cargo.digest
        self._roster, self._words = roster or Roster(client, cargo), words
        self._numbers = count()  # of tasks
        self._lock = threading.RLock()
        self._tasks: dict[_Batch, distributed.Future[Any]] = {}
        self._held: deque[_Batch] = deque()
        self._suspects: deque[_Batch] = deque()
        self._isolated: _Batch | None = None
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
        return self._roster.slots

    def submit(  # type: ignore[override]
        self, fn: Callable[..., Sequence[T]], requests: Sequence[Request], /, *others: Sequence[Request]
    ) -> Future[Sequence[T]]:
        """Call a function with requests on a worker, which gives a result for each of the first sequence.

        Where a request ends each worker that runs it, its result is an attempt that says so, whatever the function is.
        """
        parts = [tuple(map(self._words, part)) for part in (requests, *others)]
        batch = _Batch(function=fn, words=parts[0], others=tuple(parts[1:]))
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
            batch.function,
            (batch.words, *batch.others),
            pure=False,
            key=f"conformance-{self._cargo.run_id}-{next(self._numbers)}",
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
                batch.future.set_result([replace(each, fingerprint=made.fingerprint) for each in made.results])
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
        parts = [replace(batch, words=(words,), future=Future(), is_second=False) for words in batch.words]
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
        if self._client.status != "running":
            self._fail(HarnessError(_GONE))
            return
        try:
            self._roster.look()
        except HarnessError as fault:
            self._fail(fault)

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

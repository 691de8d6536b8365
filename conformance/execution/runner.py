"""Run a plan on an executor of `concurrent.futures` and yield records as they are completed."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from conformance.backend.discovery import relative
from conformance.catalogue.selection import decided, is_smoke
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.enums import SLOW_COMPILE, Fault, Outcome, Verdict
from conformance.model.result import Attempt, Record
from conformance.records.encoding import SCHEMA_VERSION, reproduce
from conformance.records.environment import fingerprint
from conformance.verdict.expectations import expectation_summary, match
from conformance.verdict.judge import judge, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from conformance.catalogue.selection import Plan
    from conformance.model.request import Expectation, Key, Request
    from conformance.model.result import Environment

__all__ = ["BATCH", "Run", "records"]

BATCH = 16
_BATCHES_A_SLOT = 4  # at least, of what is left: small runs keep every slot busy, and at the end none waits for another
LONG_S = 4.0
"""From which on a request takes so long that it should not begin last."""
_AHEAD = 2  # batches that are submitted for each slot: nobody waits for the next one

Batch = tuple["Request", ...]

_MESSAGE = 2000  # characters
_BROKEN = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.VACUOUS})


class Run:
    """The execution of a plan; iterating over it, once, runs it and yields each record as it is completed.

    Smoke cases run first. A backend that fails every one of them is gated: the rest of its requests is not run.

    Args:
        plan: the requests.
        executor: the executor to run them on.
        expectations: the known failures of each backend, by its name.
        environment: the environment of the run.
        run_id: id of the run.
        folders: folders of cases beyond the packaged ones, for the commands that reproduce records.
        done: existing records of this plan; their requests are not run again.
        slots: how many requests the executor runs at a time, which may change; not many more are submitted.
        max_fail: how many red verdicts stop the run.
        smoke_gate: whether a backend that fails all smoke cases is gated.
        submit: runs the requests of a batch and returns an attempt each; an exception ends the run, after the records
            that are complete.
        batch: how many requests of one area may share a process; default: 16, fewer towards the end. Smoke cases and
            those that are expected to fail never do.
        long: by key, the seconds of requests that take long: they run before all but smoke cases, the longest first,
            each by itself; one that began last would keep many workers waiting.

    Attributes:
        gated: by name of backend, why the rest of its requests was not run.
        stopped: whether `max_fail` ended the run.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        *,
        expectations: Mapping[str, Sequence[Expectation]],
        environment: Environment,
        run_id: str,
        folders: Sequence[str] = (),
        done: Collection[Record] = (),
        slots: Callable[[], int] = lambda: 1,
        max_fail: int | None = None,
        smoke_gate: bool = True,
        submit: Callable[[Sequence[Request]], Sequence[Attempt]] = attempts.run_batch,
        batch: int | None = None,
        long: Mapping[Key, float] | None = None,
    ) -> None:
        self.gated: dict[str, str] = {}
        self.stopped = False
        self._executor, self._submit = executor, submit
        self._judge = _Judge(expectations, environment, run_id, folders)
        self._red_left = max_fail
        self._slots, self._batch, self._long = slots, batch, long or {}
        # Not `concurrent.futures.wait`: interrupted while it holds the locks of futures, it never gives them back.
        self._completed: SimpleQueue[Future[Sequence[Attempt]]] = SimpleQueue()
        known = {record.key: record for record in done}
        ordered, self._unrecorded = _in_order(plan, known, self._long, smoke_gate=smoke_gate)
        self._todo = deque(self._batches(ordered))
        self._gate = _Gate((*plan.scouts, *plan.requests) if smoke_gate else (), known)

    def __iter__(self) -> Iterator[Record]:
        running: dict[Future[Sequence[Attempt]], Batch] = {}
        try:
            while running or (self._todo and not self.stopped):
                yield from self._start(running)
                yield from self._collect(running)
        finally:
            for future in running:
                future.cancel()

    def _batches(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """Batch requests of one area and backend, each batch at the position of its last request."""
        filling: dict[tuple[str, str], list[Request]] = {}
        for left, request in zip(range(len(requests), 0, -1), requests, strict=True):
            # What shares kernels has waited for those of others: that it took long says nothing.
            is_long = request.key in self._long and not attempts.shares_kernels(request)
            if is_smoke(request) or is_long or self._judge.expects(request):
                yield (request,)
                continue
            batch = filling.setdefault((request.backend.name, request.case.area), [])
            batch.append(request)
            if len(batch) >= self._size(request, left):
                yield tuple(batch)
                batch.clear()
        rest = [tuple(batch) for batch in filling.values() if batch]
        while rest:
            largest = self._size(rest[0][0], sum(map(len, rest)))
            first, *others = rest
            yield first[:largest]
            rest = [first[largest:], *others] if first[largest:] else others

    def _size(self, request: Request, left: int) -> int:
        """How many requests are a batch where so many are left."""
        largest = BATCH
        if attempts.shares_kernels(request):
            largest = attempts.IN_UNITS
        elif SLOW_COMPILE in request.backend.tags:
            largest = attempts.IN_A_CHILD
        return min(largest, self._batch or max(1, left // (_BATCHES_A_SLOT * self._slots())))

    def _start(self, running: dict[Future[Sequence[Attempt]], Batch]) -> Iterator[Record]:
        """Submit batches while there is room; yield records of requests that need no run."""
        while self._todo and not self.stopped and self._gate.is_decided(self._todo[0][0]):
            if len(running) >= _AHEAD * self._slots():
                return
            batch = self._todo.popleft()
            if reason := self._gate.reason_to_skip(batch[0]):
                self.gated[batch[0].backend.name] = reason
                continue
            to_run = []
            for request in batch:
                if (settled := decided(request, self._judge.environment.torch)) is not None:
                    yield from self._take(self._judge.settled(request, *settled))
                else:
                    to_run.append(request)
            if to_run and not self.stopped:
                future = self._executor.submit(self._submit, tuple(to_run))
                running[future] = tuple(to_run)
                future.add_done_callback(self._completed.put)

    def _collect(self, running: dict[Future[Sequence[Attempt]], Batch]) -> Iterator[Record]:
        """Wait for at least one result; an error of the harness is raised after the results."""
        if self.stopped:
            for future in running:
                future.cancel()
        faults = []
        for future in self._next_completed() if running else ():
            batch = running.pop(future)
            if future.cancelled():
                continue
            if fault := future.exception():
                faults.append(fault)
                continue
            for request, attempt in zip(batch, future.result(), strict=True):
                yield from self._take(self._judge.attempted(request, attempt))
        if faults:
            raise faults[0]

    def _next_completed(self) -> list[Future[Sequence[Attempt]]]:
        """Wait for a future that is done, and return it and all others that are."""
        completed = [self._completed.get()]
        with contextlib.suppress(Empty):
            while True:
                completed.append(self._completed.get_nowait())
        return completed

    def _take(self, record: Record) -> Iterator[Record]:
        self._gate.note(record)
        if record.key in self._unrecorded:
            return
        if self._red_left is not None and not record.verdict.is_green:
            self._red_left -= 1
            self.stopped = self.stopped or self._red_left <= 0
        yield record


def _in_order(
    plan: Plan, known: Mapping[Key, Record], long: Mapping[Key, float], *, smoke_gate: bool
) -> tuple[list[Request], set[Key]]:
    """The requests to run, smoke cases and then long ones first, and the keys of those run only for the gate."""
    todo = [request for request in plan.requests if request.key not in known]
    if not smoke_gate:
        return sorted(todo, key=lambda request: -long.get(request.key, 0.0)), set()
    gating = {request.backend.name for request in todo if not is_smoke(request)}
    scouts = [request for request in plan.scouts if request.backend.name in gating]
    # Moves last: their first call is that of a variant without, which a compiler with a cache has compiled by then.
    ordered = sorted([*scouts, *todo], key=lambda one: (not is_smoke(one), -long.get(one.key, 0.0), bool(one.moves)))
    return ordered, {request.key for request in scouts}


def records(
    plan: Plan,
    environment: Environment,
    expectations: Mapping[str, Sequence[Expectation]] | None = None,
    run_id: str = "",
) -> Iterator[Record]:
    """Run all of a plan as part of another command: without smoke gate, and without a record file."""
    executor = ThreadPoolExecutor(environment.threads)
    try:
        yield from Run(
            plan,
            executor,
            expectations=expectations or {},
            environment=environment,
            run_id=run_id,
            slots=lambda: environment.threads,
            smoke_gate=False,
            submit=attempts.run_batch,
        )
    except BaseException:
        tasks.shutdown()  # it ends what the executor waits for
        raise
    finally:
        executor.shutdown(cancel_futures=True)


class _Gate:
    """Tracks the smoke cases of each backend."""

    def __init__(self, requests: Iterable[Request], known: Mapping[Key, Record]) -> None:
        keys = [request.key for request in requests if is_smoke(request)]
        self._smoke = frozenset(keys)
        self._pending = Counter(backend for backend, _, _ in keys)
        self._passing: set[str] = set()
        self._failing: dict[Key, str] = {}
        for record in known.values():
            self.note(record)

    def note(self, record: Record) -> None:
        """Register a record; only those of smoke cases count."""
        if record.key not in self._smoke:
            return
        self._pending[record.backend] -= 1
        if record.verdict in _BROKEN:
            self._failing[record.key] = f"{record.case_id} / {record.variant}: {record.full_message}"
        else:
            self._passing.add(record.backend)

    def is_decided(self, request: Request) -> bool:
        """Whether it is decided if the request is to be run."""
        return is_smoke(request) or not self._pending[request.backend.name]

    def reason_to_skip(self, request: Request) -> str | None:
        """Return why the request is not to be run, or None."""
        name = request.backend.name
        failing = sorted(key for key in self._failing if key[0] == name)
        if request.key in self._smoke or name in self._passing or not failing:
            return None
        return f"all {len(failing)} smoke requests failed, the rest was not run; the first: {self._failing[failing[0]]}"


class _Judge:
    """Makes records of attempts."""

    def __init__(
        self,
        expectations: Mapping[str, Sequence[Expectation]],
        environment: Environment,
        run_id: str,
        folders: Sequence[str],
    ) -> None:
        self.environment = environment
        self._folders = folders
        self._expectations = expectations
        self._fingerprint = fingerprint(environment)
        self._run_id = run_id

    def expects(self, request: Request) -> bool:
        """Whether a request is known to fail."""
        return self._expectation(request) is not None

    def _expectation(self, request: Request) -> Expectation | None:
        return match(self._expectations.get(request.backend.name, ()), request.case.id, request.variant)

    def attempted(self, request: Request, attempt: Attempt) -> Record:
        """Return the record of a request that was run."""
        return self._record(request, outcome(attempt), attempt)

    def settled(self, request: Request, happened: Outcome, reason: str) -> Record:
        """Return the record of a request that need not be run."""
        return self._record(request, happened, Attempt(invalid=reason))

    def _record(self, request: Request, happened: Outcome, attempt: Attempt) -> Record:
        backend, case, variant = request.backend, request.case, request.variant
        expectation = self._expectation(request)
        verdict, message, note = judge(happened, attempt, expectation)
        return Record(
            schema_version=SCHEMA_VERSION,
            run_id=self._run_id,
            case_id=case.id,
            variant=variant.id,
            backend=backend.name,
            outcome=happened,
            verdict=verdict,
            stage=attempt.stage,
            clauses=case.clauses,
            message=message if len(message) <= _MESSAGE else f"{message[:_MESSAGE]}...",
            checks=attempt.checks,
            evidence=attempt.evidence,
            raised=attempt.raised,
            metrics=attempt.metrics,
            # A capability that the backend does not claim does not use an entry: the entry is stale.
            expectation=expectation_summary(expectation) if happened is not Outcome.UNSUPPORTED else None,
            expectation_note=note,
            ended=attempt.ended,
            fault=attempt.fault or (Fault.HARNESS if happened is Outcome.INVALID else None),
            fingerprint=attempt.fingerprint or self._fingerprint,
            seed=request.seed,
            duration_s=round(attempt.duration_s, 3),
            reproduce=reproduce(relative(backend.ref), case.id, variant.id, request.seed, self._folders),
        )

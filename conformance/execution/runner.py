"""A plan and any executor of `concurrent.futures` -> records, as they are completed."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from conformance.backend.discovery import relative
from conformance.catalogue.selection import SLOW_COMPILE, decided, is_smoke
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.enums import Outcome, Verdict
from conformance.model.result import Attempt, Record
from conformance.records.encoding import SCHEMA_VERSION, reproduce
from conformance.records.environment import fingerprint
from conformance.verdict.expectations import expectation_summary, match
from conformance.verdict.judge import judge, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from conformance.catalogue.selection import Plan
    from conformance.model.request import Expectation, Request
    from conformance.model.result import Environment

__all__ = ["BATCH", "Run", "records"]

BATCH = 16
SLOW_BATCH = 4  # where compiling takes seconds: so that two jobs stay busy, and a limit is not reached by many

Batch = tuple["Request", ...]

_MESSAGE = 2000  # characters
_DOWN = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT, Verdict.VACUOUS})


class Run:
    """The execution of a plan; iterating over it, once, does the work and gives each record as it is completed.

    Smoke cases come first. A backend that fails every one of them is gated: the rest of its requests is not run.

    Args:
        plan: what to run.
        executor: where to run it.
        expectations: the known failures of each backend, by its name.
        environment: what the records are made on.
        run_id: which run the records belong to.
        folders: of cases beyond the packaged ones; the commands that reproduce records name them.
        done: records of this plan that exist already; their requests are not run again.
        jobs: how many requests the executor runs at a time; not many more are handed to it.
        max_fail: how many red verdicts stop the run.
        smoke_gate: whether the smoke cases decide on the rest.
        submit: runs the requests of a batch and gives an attempt each; what it raises ends the run, once the records
            that are complete have been given.
        batch: how many requests of one area share a process at most; smoke cases and those that are expected to fail
            never do.

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
        jobs: int = 1,
        max_fail: int | None = None,
        smoke_gate: bool = True,
        submit: Callable[[Sequence[Request]], Sequence[Attempt]] = attempts.run_batch,
        batch: int = BATCH,
    ) -> None:
        self.gated: dict[str, str] = {}
        self.stopped = False
        self._executor, self._submit = executor, submit
        self._judge = _Judge(expectations, environment, run_id, folders)
        self._red_left = max_fail
        self._room = 2 * jobs
        known = {record.key: record for record in done}
        ordered, self._unrecorded = _in_order(plan, known, smoke_gate=smoke_gate)
        self._todo = deque(self._batches(ordered, batch))
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

    def _batches(self, requests: Iterable[Request], size: int) -> Iterator[Batch]:
        """Put requests of one area and backend together, each batch where its last one stood."""
        filling: dict[tuple[str, str], list[Request]] = {}
        for request in requests:
            if is_smoke(request) or self._judge.expects(request):
                yield (request,)
                continue
            batch = filling.setdefault((request.backend.name, request.case.area), [])
            batch.append(request)
            if len(batch) >= (min(size, SLOW_BATCH) if SLOW_COMPILE in request.backend.tags else size):
                yield tuple(batch)
                batch.clear()
        yield from (tuple(batch) for batch in filling.values() if batch)

    def _start(self, running: dict[Future[Sequence[Attempt]], Batch]) -> Iterator[Record]:
        """Hand batches to the executor while there is room; requests that need no run are records at once."""
        while self._todo and not self.stopped and len(running) < self._room and self._gate.knows(self._todo[0][0]):
            batch = self._todo.popleft()
            if reason := self._gate.closed_to(batch[0]):
                self.gated[batch[0].backend.name] = reason
                continue
            left = []
            for request in batch:
                if (settled := decided(request, self._judge.environment.torch)) is not None:
                    yield from self._take(self._judge.settled(request, *settled))
                else:
                    left.append(request)
            if left and not self.stopped:
                running[self._executor.submit(self._submit, tuple(left))] = tuple(left)

    def _collect(self, running: dict[Future[Sequence[Attempt]], Batch]) -> Iterator[Record]:
        """Wait for at least one result; what went wrong in the harness is raised after the results."""
        if self.stopped:
            for future in [future for future in running if future.cancel()]:
                del running[future]
        completed, _ = wait(running, return_when=FIRST_COMPLETED)
        faults = []
        for future in [future for future in running if future in completed]:
            batch = running.pop(future)
            if fault := future.exception():
                faults.append(fault)
                continue
            for request, attempt in zip(batch, future.result(), strict=True):
                yield from self._take(self._judge.attempted(request, attempt))
        if faults:
            raise faults[0]

    def _take(self, record: Record) -> Iterator[Record]:
        self._gate.note(record)
        if record.key in self._unrecorded:
            return
        if self._red_left is not None and not record.verdict.is_green:
            self._red_left -= 1
            self.stopped = self.stopped or self._red_left <= 0
        yield record


def _in_order(
    plan: Plan, known: Mapping[tuple[str, str, str], Record], *, smoke_gate: bool
) -> tuple[list[Request], set[tuple[str, str, str]]]:
    """What is to be run, smoke cases first, and the keys of what is run only for the gate to look at."""
    todo = [request for request in plan.requests if request.key not in known]
    if not smoke_gate:
        return todo, set()
    gating = {request.backend.name for request in todo if not is_smoke(request)}
    scouts = [request for request in plan.scouts if request.backend.name in gating]
    ordered = sorted([*scouts, *todo], key=lambda request: not is_smoke(request))
    return ordered, {request.key for request in scouts}


def records(
    plan: Plan,
    environment: Environment,
    expectations: Mapping[str, Sequence[Expectation]] | None = None,
    run_id: str = "",
) -> Iterator[Record]:
    """Run all of a plan that is no run of its own: no smoke case decides on the rest, and nothing is written."""
    executor = ThreadPoolExecutor(environment.threads)
    try:
        yield from Run(
            plan,
            executor,
            expectations=expectations or {},
            environment=environment,
            run_id=run_id,
            jobs=environment.threads,
            smoke_gate=False,
            submit=attempts.run_batch,
        )
    except BaseException:
        tasks.shutdown()  # it ends what the executor waits for
        raise
    finally:
        executor.shutdown(cancel_futures=True)


class _Gate:
    """Watches the smoke cases of each backend."""

    def __init__(self, requests: Iterable[Request], known: Mapping[tuple[str, str, str], Record]) -> None:
        keys = [request.key for request in requests if is_smoke(request)]
        self._smoke = frozenset(keys)
        self._awaited = Counter(backend for backend, _, _ in keys)
        self._up: set[str] = set()
        self._down: dict[tuple[str, str, str], str] = {}
        for record in known.values():
            self.note(record)

    def note(self, record: Record) -> None:
        """Take account of a record; only those of smoke cases count."""
        if record.key not in self._smoke:
            return
        self._awaited[record.backend] -= 1
        if record.verdict in _DOWN:
            self._down[record.key] = f"{record.case_id} / {record.variant}: {record.full_message}"
        else:
            self._up.add(record.backend)

    def knows(self, request: Request) -> bool:
        """Whether it can say if the request is to be run."""
        return is_smoke(request) or not self._awaited[request.backend.name]

    def closed_to(self, request: Request) -> str | None:
        """Why the request is not to be run, or None."""
        name = request.backend.name
        down = sorted(key for key in self._down if key[0] == name)
        if request.key in self._smoke or name in self._up or not down:
            return None
        return f"all {len(down)} smoke requests failed, the rest was not run; the first: {self._down[down[0]]}"


class _Judge:
    """Makes records of what came of requests."""

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
        """The record of a request that was run."""
        return self._record(request, outcome(attempt), attempt)

    def settled(self, request: Request, happened: Outcome, reason: str) -> Record:
        """The record of a request that need not be run."""
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
            # What the backend does not claim is no use of an entry: it is stale.
            expectation=expectation_summary(expectation) if happened is not Outcome.UNSUPPORTED else None,
            expectation_note=note,
            ended=attempt.ended,
            fault=attempt.fault,
            fingerprint=self._fingerprint,
            seed=request.seed,
            duration_s=round(attempt.duration_s, 3),
            reproduce=reproduce(relative(backend.ref), case.id, variant.id, request.seed, self._folders),
        )

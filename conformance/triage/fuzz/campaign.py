"""Fuzzing: chunks of programs drawn at random, run on one backend; each way in which it differs from uncompiled, once.

A chunk is drawn from the seed and from what earlier ones reached, and results are taken in the order of programs, so
what is found depends on the options, on what is known, and on the backend alone. Each finished chunk is one line of
`fuzz.jsonl` in the output folder, from which the same command goes on, with a larger budget where the one before it was
spent; beside it are the cases of what is new, which `conformance run --cases` takes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from conformance.backend.discovery import find, usable
from conformance.catalogue.selection import decided, time_limit
from conformance.execution import attempts as execution_attempts
from conformance.isolation import tasks, torch_release
from conformance.isolation.deadline import Deadline, StoppedError
from conformance.model import codec
from conformance.model.enums import CPP_KERNELS, SLOW_COMPILE, Fault, Outcome
from conformance.model.errors import UsageError
from conformance.model.request import Request
from conformance.program.nest_reader import nest
from conformance.records.environment import capture
from conformance.records.jsonl import LineFile, conflicts, reading, split
from conformance.triage.fuzz import grammar
from conformance.triage.fuzz.budget import Budget
from conformance.triage.fuzz.finding import FuzzFinding, code, write
from conformance.triage.fuzz.guidance import Drawn, Guide, Kept, reaching
from conformance.triage.fuzz.known import Known
from conformance.triage.fuzz.result import Chunk, FuzzResult, Options
from conformance.verdict.judge import outcome
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo
    from conformance.model.result import Attempt

__all__ = ["STATE", "Fuzz", "Tools", "prepare"]

STATE = "fuzz.jsonl"
"""The file in the output folder that a run is continued from."""

_START = b'{"kind":"fuzz"'
_BATCH = 12  # programs that share a process: three a chunk
_AHEAD = 3  # chunks that are under way, so that no job waits for the last program of one
_REASON = 160  # characters of why a program is invalid
_TITLE = 100  # characters
_POLL_S = 0.2

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The functions and limits that a run uses.

    Args:
        rung: returns the first of PyTorch's own backends that shows the failure of a request, the request's own last.
        shrink: returns a smaller request that shows the same failure and meets a condition; a UsageError where the
            request itself no longer shows it.
        dump: writes a case as YAML.
        known: the failures that are known already.
        run: runs requests of one backend.
        generate: returns the programs of a chunk, by its number, the seed, and what guides it.
        describe: returns the description of a backend.
        clock: returns seconds.
        script_s: what running a script, in a Python process that imports torch, is likely to take.
        deadline: when `rung`, `shrink` and `run` have to end; `run` and `rung` then raise a StoppedError.
        stop: ends what these three have under way.
        sharing: how many batches share a compiler, for which most of them wait at any time.
    """

    rung: Callable[[Request, Symptom], str]
    shrink: Callable[[Request, Symptom, Callable[[Request], bool]], Request]
    dump: Callable[[Case], str]
    known: Known = field(default_factory=Known)
    run: Callable[[Sequence[Request]], Sequence[Attempt]] = execution_attempts.sweep
    generate: Callable[[int, int, Guide], Sequence[Drawn]] = grammar.chunk
    describe: Callable[[str], BackendInfo] = execution_attempts.describe
    clock: Callable[[], float] = time.monotonic
    script_s: float = 8.0
    deadline: Deadline = field(default_factory=Deadline)
    stop: Callable[[], None] = tasks.shutdown
    sharing: int = 1


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A chunk whose programs, by their digests, are handed to the executor."""

    number: int
    drawn: Mapping[str, Drawn]
    unsupported: int
    batches: Sequence[tuple[Sequence[Request], Future[Sequence[Attempt]]]]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A chunk whose programs were run, and whose failures the executor looks into."""

    chunk: Chunk
    looks: Sequence[tuple[Symptom, Future[tuple[Request, Symptom, str]]]]

    @property
    def waiting(self) -> int:
        """How many failures are still looked into."""
        return sum(not look.done() for _, look in self.looks)


@dataclass(frozen=True, kw_only=True)
class Fuzz:
    """A run that is ready to start; its state is open.

    Attributes:
        done: the chunks of the run that it continues.
    """

    options: Options
    tools: Tools
    backend: BackendInfo
    file: LineFile
    done: Sequence[Chunk] = ()

    def execute(self, advance: Callable[[Chunk], None] = lambda _: None) -> FuzzResult:
        """Draw and run programs until the budget is spent, and call `advance` with each complete chunk.

        It leaves the time that confirming its findings is likely to take, for which the fork server keeps running; the
        deadline of the tools is then the end of the budget. Ctrl-C ends it with the chunks that are complete.
        """
        jobs = self.options.jobs or capture().threads
        runs = ThreadPoolExecutor(jobs * self.tools.sharing if CPP_KERNELS in self.backend.tags else jobs)
        looks = ThreadPoolExecutor(jobs)
        chunks, interrupted, course = list(self.done), False, _Course(self, runs, looks, jobs)
        try:
            with self.file:
                try:
                    for chunk in course:
                        self.file.put(codec.encode(codec.to_plain(chunk)))
                        chunks.append(chunk)
                        advance(chunk)
                except KeyboardInterrupt:
                    interrupted = True
        finally:
            for executor in (runs, looks):
                executor.shutdown(wait=False, cancel_futures=True)
            # What runs in a thread ends with its child, and may have started another one meanwhile.
            while pending := set(course.pending):
                self.tools.stop()
                wait(pending, timeout=_POLL_S)
        course.budget.release()
        if interrupted:
            self.tools.stop()
        return FuzzResult(
            backend=self.backend.name,
            seed=self.options.seed,
            output=self.options.output,
            chunks=chunks,
            interrupted=interrupted,
        )


class _Course:
    """The chunks of a run; iterating over it, once, does the work and gives each as it is complete.

    Args:
        fuzz: the run.
        runs: runs batches of programs.
        looks: looks into failures.
        jobs: how many things run at a time.
    """

    def __init__(self, fuzz: Fuzz, runs: Executor, looks: Executor, jobs: int) -> None:
        self._fuzz, self._tools, self._runs, self._looks = fuzz, fuzz.tools, runs, looks
        self._next = len(fuzz.done)
        self._drawn = sum(chunk.programs for chunk in fuzz.done)
        self._codes = {digest for chunk in fuzz.done for digest in chunk.codes}
        self._kept = [chunk.kept for chunk in fuzz.done]
        self._reached = set(Guide([one for kept in self._kept for one in kept]).reached)
        self._failures = Counter(symptom for chunk in fuzz.done for symptom in chunk.failures)
        self._keys = {finding.key for chunk in fuzz.done for finding in chunk.findings}
        looked_into = {finding.symptom for chunk in fuzz.done for finding in chunk.findings}
        self._owed = {symptom for chunk in fuzz.done for symptom in chunk.left} - looked_into
        self._new = 0
        self._last = fuzz.tools.clock()
        self.budget = Budget(
            seconds=fuzz.options.budget_s,
            spent_s=sum(chunk.seconds for chunk in fuzz.done),
            script_s=fuzz.tools.script_s,
            jobs=jobs,
            deadline=fuzz.tools.deadline,
            clock=fuzz.tools.clock,
        )
        self._torch = torch_release.installed().version
        self.pending: set[Future[Any]] = set()

    def __iter__(self) -> Iterator[Chunk]:
        running: deque[_Running] = deque()
        judged: deque[_Judged] = deque()
        while True:
            waiting = sum(one.waiting for one in judged)
            while len(running) < _AHEAD and self._goes_on(waiting):
                running.append(self._start())
            if running:
                judged.append(self._judge(running.popleft()))
            elif not judged:
                return
            # What is looked into may have to be confirmed.
            self.budget.reserve(new=self._new + sum(one.waiting for one in judged))
            # Chunks that are looked into hold nothing up, until nothing else is left to do.
            while judged and (not judged[0].waiting or not running):
                chunk = self._complete(judged.popleft())
                is_last = not (running or judged or self.budget.is_left(waiting=0, new=self._new))
                yield self._last_of(chunk) if is_last else chunk

    def _goes_on(self, waiting: int) -> bool:
        """Whether another chunk is drawn, while so many failures are looked into."""
        programs = self._fuzz.options.programs
        return (programs is None or self._drawn < programs) and self.budget.is_left(waiting=waiting, new=self._new)

    def _last_of(self, chunk: Chunk) -> Chunk:
        """The last chunk of a run; what is left of a budget for confirming counts as spent with it."""
        return replace(chunk, seconds=round(chunk.seconds + self.budget.rest_s(), 3))

    def _start(self) -> _Running:
        """Draw the next chunk and hand what is new of it to the executor."""
        number, self._next = self._next, self._next + 1
        drawn = self._tools.generate(number, self._fuzz.options.seed, self._guide(number))
        fresh = {digest: one for one in drawn if (digest := _digest(one.case)) not in self._codes}
        self._codes.update(fresh)
        requests = [self._request(one.case) for one in fresh.values()]
        able = [request for request in requests if decided(request, self._torch) is None]
        self._drawn += len(able)
        size = execution_attempts.IN_A_CHILD if SLOW_COMPILE in self._fuzz.backend.tags else _BATCH
        parts = [able[start : start + size] for start in range(0, len(able), size)]
        return _Running(
            number=number,
            drawn=fresh,
            unsupported=len(requests) - len(able),
            batches=[(part, self._submit(self._runs, self._tools.run, part)) for part in parts],
        )

    def _guide(self, number: int) -> Guide:
        """What guides a chunk: what all those before it reached that are never under way when it is drawn."""
        return Guide([one for kept in self._kept[: max(0, number + 1 - _AHEAD)] for one in kept])

    def _submit(self, executor: Executor, function: Callable[..., T], *arguments: object) -> Future[T]:
        future = executor.submit(function, *arguments)
        self.pending.add(future)
        future.add_done_callback(self.pending.discard)
        return future

    def _request(self, case: Case) -> Request:
        limit = time_limit(case, self._fuzz.backend, self._fuzz.options.timeout_s)
        return Request(case=case, backend=self._fuzz.backend, variant=case.variants[0], timeout_s=limit)

    def _judge(self, running: _Running) -> _Judged:
        """Wait for the programs of a chunk, and start to look into what failed."""
        ended = [(part, _result(future)) for part, future in running.batches]
        made = [pair for part, attempts in ended if attempts for pair in zip(part, attempts, strict=True)]
        cut = {_digest(request.case) for part, attempts in ended if attempts is None for request in part}
        happened = [(request, attempt, outcome(attempt)) for request, attempt in made]
        failed = [(request, Symptom.of(attempt)) for request, attempt, came in happened if came.is_failure]
        passed = [(request, attempt) for request, attempt, came in happened if came is Outcome.PASS]
        chunk = Chunk(
            number=running.number,
            programs=len(made),
            unsupported=running.unsupported,
            codes=tuple(digest for digest in running.drawn if digest not in cut),
            features=dict(Counter(name for request, _ in made for name in grammar.features(request.case))),
            invalid={r.case.id: _reason(attempt) for r, attempt, came in happened if came is Outcome.INVALID},
            unstable=sum(attempt.fault is Fault.UNSTABLE for _, attempt, _ in happened),
            failures=tuple(symptom for _, symptom in failed),
            kept=self._keep((running.drawn[_digest(request.case)], attempt.reached) for request, attempt in passed),
        )
        due = [failure for failure in failed if self._is_due(failure[1])]
        looks = [(failure[1], self._submit(self._looks, self._shrunk, *failure)) for failure in due]
        return _Judged(chunk=chunk, looks=looks)

    def _keep(self, passed: Iterable[tuple[Drawn, Iterable[str]]]) -> tuple[Kept, ...]:
        """The programs of the next chunk that reached something new; what fails is not varied, it would fail again."""
        kept = reaching(passed, self._reached)
        self._kept.append(kept)
        self._reached |= Guide(kept).reached
        return kept

    def _complete(self, judged: _Judged) -> Chunk:
        """Wait for the findings of a chunk."""
        ended = [(symptom, _result(look)) for symptom, look in judged.looks]
        findings = tuple(self._finding(*made) for _, made in ended if made)
        left = tuple(symptom for symptom, made in ended if made is None)
        began, self._last = self._last, self._tools.clock()
        return replace(judged.chunk, seconds=round(self._last - began, 3), findings=findings, left=left)

    def _is_due(self, symptom: Symptom) -> bool:
        """Whether a failure is to be looked into: the first with its symptom, the 4th, the 16th, the 64th...

        Several causes may have one symptom, and a frequent one must not take all the time. One that an earlier run had
        no time for is looked into when it shows again.
        """
        self._failures[symptom] += 1
        if symptom in self._owed:
            self._owed.remove(symptom)
            return True
        times = self._failures[symptom]
        return times.bit_count() == 1 and times.bit_length() % 2 == 1

    def _shrunk(self, request: Request, symptom: Symptom) -> tuple[Request, Symptom, str]:
        """The smallest program of a failure, and its first rung; one that is known stays as it is."""
        rung = self._tools.rung(request, symptom)
        if not rung or self._tools.known.case_of(request.case, symptom, rung):
            return request, symptom, rung
        try:
            small = self._tools.shrink(request, symptom, lambda _: True)
            if self._tools.rung(small, symptom) != rung:  # it slipped into a failure of another part of the compiler
                small = self._tools.shrink(request, symptom, lambda one: self._tools.rung(one, symptom) == rung)
        except StoppedError:  # the smaller one may be another failure
            return request, symptom, rung
        except UsageError:  # it does not fail each time, which is a finding too
            return request, symptom, ""
        return replace(small, case=replace(small.case, id=request.case.id)), symptom, rung

    def _finding(self, request: Request, symptom: Symptom, rung: str) -> FuzzFinding:
        """The finding of a failure; the case of one that is new is written."""
        case = replace(request.case, title=str(symptom)[:_TITLE], variants=(request.variant,))
        known = self._tools.known.case_of(case, symptom, rung)
        finding = FuzzFinding(
            symptom=symptom,
            rung=rung,
            nest="" if known else nest(case),
            case_id=case.id,
            program=case.program,
            known=known,
        )
        if not known and finding.key not in self._keys:
            finding = replace(finding, file=write(self._fuzz.options.output, case, self._tools.dump))
            self._new += 1
        self._keys.add(finding.key)
        return finding


def _result(future: Future[T]) -> T | None:
    """The result of a future, or None where the time was up before."""
    try:
        return future.result()
    except StoppedError:
        return None


def prepare(options: Options, tools: Tools) -> Fuzz:
    """Describe the backend, and open the state or read the one that is to be continued.

    Raises:
        BackendError: nothing has that name, or it cannot be used here.
        UsageError: the output folder holds a run with another backend or options, or of another version.
        RecordError: the state cannot be read or written.
    """
    (backend,) = map(usable, find([options.backend], tools.describe))
    header = {
        "kind": "fuzz",
        "backend": backend.name,
        "made of": _identity(backend),
        "seed": options.seed,
        "timeout": options.timeout_s,
        "known": tools.known.digest,
        "version": grammar.version(),
    }
    path = options.output / STATE
    lines, cut = split(path, _START, "the state of a fuzzing run") if path.exists() else ([], 0)
    if not lines:
        file = LineFile(path, _START, codec.encode(header))
        return Fuzz(options=options, tools=tools, backend=backend, file=file)
    with reading(f"cannot read {path}"):
        _refuse_others(json.loads(lines[0]), header, path)
        done = [codec.from_plain(Chunk, json.loads(line)) for line in lines[1:]]
    file = LineFile(path, _START, codec.encode(header), truncate=cut)
    return Fuzz(options=options, tools=tools, backend=backend, file=file, done=done)


def _refuse_others(recorded: Mapping[str, object], current: Mapping[str, object], path: Path) -> None:
    if differing := conflicts({name: recorded.get(name) for name in current}, current):
        message = f"{path} belongs to another run: {'; '.join(differing)}.\n  Name another folder with --output."
        raise UsageError(message)


def _identity(backend: BackendInfo) -> str:
    """A digest of the state of a backend: its spec and packages, and the text of its file."""
    path = Path(backend.ref.rpartition(":")[0])
    text = path.read_bytes() if path.suffix == ".py" and path.is_file() else b""
    parts = repr((backend.ref, sorted(backend.packages.items()), text))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def _digest(case: Case) -> str:
    return hashlib.sha256(repr(code(case)).encode()).hexdigest()[:16]


def _reason(attempt: Attempt) -> str:
    return (attempt.invalid or "nothing was compared").partition("\n")[0][:_REASON]

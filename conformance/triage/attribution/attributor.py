"""Run the controls of failures: those that `conformance.verdict.attribution` asks for, each once.

Requests that run alike are one: without their modes, most nests are the same few programs. A rung that has a record in
the run is not run.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from conformance.catalogue import controls
from conformance.execution import attempts
from conformance.model.attribution import Control, Showing
from conformance.model.moves import move_of
from conformance.verdict.attribution import Failure, attribute, beyond, own_symptom
from conformance.verdict.ladder import beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from conformance.model.attribution import Attribution
    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Attempt, Record

__all__ = ["Attributor"]


class _Once:
    """Runs requests; of those that run alike, one.

    Attributes:
        made: how many were run.
    """

    def __init__(self, attempt: Callable[[Request], Attempt]) -> None:
        self._attempt = attempt
        self._attempts: dict[str, Future[Attempt]] = {}
        self._lock = Lock()

    @property
    def made(self) -> int:
        return len(self._attempts)

    def __call__(self, request: Request) -> Attempt:
        key = controls.identity(request)
        with self._lock:
            is_first = key not in self._attempts
            made = self._attempts.setdefault(key, Future())
        if is_first:
            try:
                made.set_result(self._attempt(request))
            except BaseException as error:
                made.set_exception(error)
                raise
        return made.result()


class Attributor:
    """Attributes failures of one run; may be called from several threads.

    Args:
        known: all records of the run.
        rungs: the backends that others are built on, by name; those that are missing are taken not to show a failure.
        attempt: runs a request.
        is_here: whether the run was made on this machine with this software; if not, each failure must show here first.
    """

    def __init__(
        self,
        known: Iterable[Record],
        rungs: Mapping[str, BackendInfo],
        attempt: Callable[[Request], Attempt] = attempts.run,
        *,
        is_here: bool = True,
    ) -> None:
        self._known = {record.key: record for record in known}
        self._aot = {key[0] for key, each in self._known.items() if each.evidence and each.evidence.compiled_backward}
        self._rungs, self._run, self._is_here = rungs, _Once(attempt), is_here

    @property
    def made(self) -> int:
        """How many controls were run."""
        return self._run.made

    def __call__(self, record: Record, request: Request) -> Attribution:
        """Attribute one failure."""
        rungs = [*self._showing(record, request)]
        left = beyond(record, rungs[0][1].checks) if rungs else record
        failure = Failure.of(left or record)
        asks: dict[Control, Callable[[], Showing | None]] = {
            Control.AGAIN: lambda: None if self._is_here else failure.shown_by(self._run(request)),
            Control.RUNG: lambda: Showing.GONE if left else Showing.SAME,
            Control.MODES: lambda: self._modes(failure, request),
            Control.BACKWARD: lambda: self._backward(failure, request),
            Control.OPERATIONS: lambda: failure.shown_by(
                self._run(controls.without_operations(_without_modes(request)))
            ),
        }
        return attribute(failure, lambda control: asks[control](), rung="" if left else rungs[-1][0])

    def _showing(self, record: Record, request: Request) -> Iterator[tuple[str, Record | Attempt]]:
        """The consecutive rungs beneath the backend that show the symptom of its failure, the nearest first."""
        symptom = own_symptom(record)
        for name in beneath(record.backend, is_aot=record.backend in self._aot):
            shown: Record | Attempt | None = self._known.get((name, record.case_id, record.variant))
            if shown is None and name in self._rungs:
                shown = self._run(replace(request, backend=self._rungs[name]))
            if shown is None or own_symptom(shown) != symptom:
                return
            yield name, shown

    def _modes(self, failure: Failure, request: Request) -> Showing | None:
        move = move_of(failure.check)
        if move and move.sets_mode:
            return Showing.GONE  # the plain calls, before moves are made, all held
        if request.case.function:
            return Showing.UNCLEAR  # its text is the user's
        if not controls.has_modes(request):
            return None
        return failure.shown_by(self._run(controls.without_modes(request)))

    def _backward(self, failure: Failure, request: Request) -> Showing | None:
        plain = _without_modes(request)
        if not controls.goes_backward(plain):
            return None
        return failure.shown_by(self._run(controls.without_backward(plain)))


def _without_modes(request: Request) -> Request:
    return controls.without_modes(request) if controls.has_modes(request) else request

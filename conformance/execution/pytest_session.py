"""Session of the pytest plugin: plan the requests when the suite is collected, and run each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.backend.resolution import absolute, name_of
from conformance.catalogue.selection import select
from conformance.catalogue.sources import collect, homes
from conformance.execution import attempts
from conformance.execution.runner import Run
from conformance.isolation import tasks
from conformance.model.request import BackendInfo
from conformance.records import environment
from conformance.verdict.expectations import known_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.model.request import Request
    from conformance.model.result import Record

__all__ = ["Session", "named"]


def named(ref: str) -> BackendInfo:
    """Return a backend known only by its spec; a `Backend` in a module may have another name."""
    return BackendInfo(ref=absolute(ref), name=name_of(ref))


class Session:
    """The plan of one pytest session, with a method to run one request.

    Args:
        describe: returns the description of a backend.
        backends: specs of backends; none means every declared one.
        cases: globs over case ids.
        variants: axes that a variant must have.
        tags: tags of which a case must have one.

    Raises:
        ConformanceError: an option matches nothing, or a file is malformed.
    """

    def __init__(
        self,
        *,
        describe: Callable[[str], BackendInfo],
        backends: Sequence[str] = (),
        cases: Sequence[str] = (),
        variants: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> None:
        catalogue = collect()
        infos = discovery.find(backends, describe)
        self.plan = select(catalogue, infos, case_globs=cases, variants=variants, tags=tags)
        self.environment = environment.capture(homes())
        self._expectations = known_failures(infos, catalogue, self.environment)
        self._executor = ThreadPoolExecutor(max_workers=1)

    def run(self, request: Request) -> Record:
        """Run one request in a process of its own, unless its outcome is already decided."""
        (record,) = Run(
            replace(self.plan, requests=(request,)),
            self._executor,
            expectations=self._expectations,
            environment=self.environment,
            run_id="pytest",
            smoke_gate=False,
            submit=attempts.run_batch,
        )
        return record

    def close(self) -> None:
        """Stop the executor and the fork server."""
        self._executor.shutdown()
        tasks.shutdown()

"""Capabilities that backends claim, checked by running cases that need them; so are those that they do not claim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue.selection import plan_of, select
from conformance.catalogue.sources import collect
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.isolation import tasks
from conformance.model.enums import Capability, Outcome
from conformance.model.errors import BackendError
from conformance.records import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Record

__all__ = ["Trial", "Trials", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How many requests conform that need a capability, and otherwise only claimed ones."""

    backend: str
    capability: Capability
    claimed: bool
    conforming: int
    requests: int

    @property
    def finding(self) -> str:
        """How the claim is wrong; empty where it is right."""
        if self.claimed and self.requests and not self.conforming:
            return "claimed, and nothing that needs it conforms"
        if not self.claimed and self.requests and self.conforming == self.requests:
            return "not claimed, and all that needs it conforms"
        return ""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Capabilities of backends with the requests that try each, ready to be run."""

    needed: Sequence[tuple[BackendInfo, Capability, Sequence[Request]]]

    @property
    def requests(self) -> Collection[Request]:
        """The requests of all capabilities, each once."""
        return {request.key: request for _, _, chosen in self.needed for request in chosen}.values()

    def execute(self, advance: Callable[[Record], None]) -> list[Trial]:
        """Run the requests; `advance` is called with each record."""
        try:
            conforms = _conforming(self.requests, advance)
        finally:
            tasks.shutdown()
        return [
            Trial(
                backend=info.name,
                capability=each,
                claimed=each in info.capabilities,
                conforming=sum(conforms[request.key] for request in chosen),
                requests=len(chosen),
            )
            for info, each, chosen in self.needed
        ]


def prepare(refs: Sequence[str], most: int) -> Trials:
    """Choose the requests that try every capability of the usable backends.

    Args:
        refs: backend specs; none means every declared backend.
        most: cases to try for each capability.

    Raises:
        ConformanceError: there is no such backend, a named one cannot be used, or the cases cannot be read.
    """
    cases = [case for case in collect() if case.family is None]
    try:
        infos = _usable(discovery.find(refs, attempts.describe), named=bool(refs))
    except BaseException:
        tasks.shutdown()
        raise
    return Trials(needed=[(info, each, _needing(each, info, cases, most)) for info in infos for each in Capability])


def _usable(infos: Sequence[BackendInfo], *, named: bool) -> list[BackendInfo]:
    """The backends that can be used here; those that were named must be among them."""
    unusable = [info for info in infos if info.broken or info.unavailable]
    if named and unusable:
        message = f"{unusable[0].name} cannot be used: {unusable[0].broken or unusable[0].unavailable}"
        raise BackendError(message)
    return [info for info in infos if info not in unusable]


def _needing(capability: Capability, info: BackendInfo, cases: Sequence[Case], most: int) -> Sequence[Request]:
    """Requests of a sample of all cases, each in its first variant that needs the capability."""
    able = info.capabilities | {capability}
    fitting = []
    for case in cases:
        variants = [each for each in case.variants if {capability} <= case.requires | each.requires <= able]
        fitting += [replace(case, variants=tuple(variants[:1]))] if variants else []
    chosen = fitting[:: max(1, -(-len(fitting) // most))]
    return select(chosen, [replace(info, capabilities=able)]).requests if chosen else ()


def _conforming(requests: Collection[Request], advance: Callable[[Record], None]) -> dict[tuple[str, str, str], bool]:
    conforms = {}
    for record in records(plan_of(requests), environment.capture()):
        advance(record)
        conforms[record.key] = record.outcome is Outcome.PASS
    return conforms

"""What backends claim, held against what they do: each capability is tried on cases that need it, claimed or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance import discover, environment, isolate, terminal
from conformance.errors import BackendError
from conformance.homes import collect
from conformance.model import Capability, Outcome
from conformance.progress import progress
from conformance.runner import records
from conformance.selection import plan_of, select
from conformance.words import EXHAUSTIVE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from conformance.model import BackendInfo, Case, Request

__all__ = ["Trial", "discovered", "table"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How many of the requests that need a capability, and nothing else that is not claimed, conform."""

    backend: str
    capability: Capability
    claimed: bool
    conforming: int
    requests: int

    @property
    def finding(self) -> str:
        """How the claim is wrong, in words; empty where it is not."""
        if self.claimed and self.requests and not self.conforming:
            return "claimed, and nothing that needs it conforms"
        if not self.claimed and self.requests and self.conforming == self.requests:
            return "not claimed, and all that needs it conforms"
        return ""


def discovered(refs: Sequence[str], most: int) -> list[Trial]:
    """Try every capability of backends that can be used here.

    Args:
        refs: as `--backend` names them; none means every declared one.
        most: cases to try for each capability.

    Raises:
        ConformanceError: there is no such backend, one that is named cannot be used, or the cases cannot be read.
    """
    cases = [case for case in collect() if EXHAUSTIVE not in case.tags]
    try:
        infos = _usable(discover.find(refs, isolate.describe), named=bool(refs))
        needed = [(info, each, _needing(each, info, cases, most)) for info in infos for each in Capability]
        conforms = _conforming({request.key: request for _, _, chosen in needed for request in chosen}.values())
    finally:
        isolate.shutdown()
    return [
        Trial(
            backend=info.name,
            capability=each,
            claimed=each in info.capabilities,
            conforming=sum(conforms[request.key] for request in chosen),
            requests=len(chosen),
        )
        for info, each, chosen in needed
    ]


def _usable(infos: Sequence[BackendInfo], *, named: bool) -> list[BackendInfo]:
    """Those that can be tried here; what somebody named must be among them."""
    unusable = [info for info in infos if info.broken or info.unavailable]
    if named and unusable:
        message = f"{unusable[0].name} cannot be used: {unusable[0].broken or unusable[0].unavailable}"
        raise BackendError(message)
    return [info for info in infos if info not in unusable]


def table(trials: Sequence[Trial]) -> str:
    """One line a backend and capability."""
    rows = [
        (one.backend, one.capability, "yes" if one.claimed else "no", f"{one.conforming}/{one.requests}", one.finding)
        for one in trials
    ]
    headers = ("backend", "capability", "claimed", "conforming", "")
    return terminal.listing(headers, rows)


def _needing(capability: Capability, info: BackendInfo, cases: Sequence[Case], most: int) -> Sequence[Request]:
    """Requests of cases from all over the suite, each in the first of its variants that needs the capability."""
    able = info.capabilities | {capability}
    fitting = []
    for case in cases:
        variants = [one for one in case.variants if {capability} <= case.requires | one.requires <= able]
        fitting += [replace(case, variants=tuple(variants[:1]))] if variants else []
    chosen = fitting[:: max(1, -(-len(fitting) // most))]
    return select(chosen, [replace(info, capabilities=able)]).requests if chosen else ()


def _conforming(requests: Collection[Request]) -> dict[tuple[str, str, str], bool]:
    with progress(len(requests)) as advance:
        conforms = {}
        for record in records(plan_of(requests), environment.capture()):
            advance(record)
            conforms[record.key] = record.outcome is Outcome.PASS
    return conforms

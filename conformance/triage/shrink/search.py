"""The smallest case that still fails in the same way: greedy descent over `conformance.triage.shrink.candidates`.

A simpler case is accepted if its attempt shows exactly the symptom, so that the search never slips into
another failure. Each attempt is a process of its own, so crashes and hangs shrink like everything else.
"""

from __future__ import annotations

import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from conformance.execution import attempts
from conformance.model.enums import Capability, Outcome
from conformance.model.errors import UsageError
from conformance.model.request import BackendInfo, Request
from conformance.program.build import generate
from conformance.triage.shrink import candidates as shrink_candidates
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from conformance.model.case import Case
    from conformance.model.result import Attempt

__all__ = ["Shrunk", "shrink"]

_EAGER = BackendInfo(ref="eager", name="eager")
# How long a candidate may take: so many times as long as an attempt that ends by itself, and never less than so long.
_FACTOR, _LEAST_S = 20, 3.0
_AREA = "shrunk"

# What a case that needs a capability has in its text; capabilities that are not here are kept.
_SIGNS = {
    Capability.TRAINING: r"requires_grad|Parameter|torch\.nn|optim",
    Capability.GRAD_MODE: r"no_grad|enable_grad|grad_enabled|disabled",
    Capability.INFERENCE_MODE: "inference",
    Capability.AUTOCAST: "autocast",
    Capability.DYNAMIC_SHAPES: "dynamic",
    Capability.DOUBLE_BACKWARD: r"double_backward|create_graph|grad\(|hess|jac|hvp|vhp",
    Capability.FORWARD_DERIVATIVES: r"dual|jvp|forward_ad",
    Capability.RETAIN_GRAPH: "retain_graph",
    Capability.BATCHED_GRADIENTS: r"batched|vmap",
    Capability.RNG: r"drop|rand|bernoulli|normal|uniform|seed|multinomial|poisson|rng|Generator",
    Capability.FLOAT16: r"(?<!b)float16|half",
    Capability.BFLOAT16: "bfloat16",
    Capability.FLOAT64: "float64|double",
    Capability.COMPLEX: "complex|cfloat|cdouble|fft|polar",
}


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """The result of a search.

    Args:
        request: the smallest that shows the symptom.
        tried: how many attempts were made of it and of candidates.
        accepted: how many steps led to it.
        exhausted: whether the budget ended the search, so that a smaller one may be left.
    """

    request: Request
    tried: int
    accepted: int
    exhausted: bool = False


def shrink(
    request: Request,
    expected: Symptom,
    attempt: Callable[[Request], Attempt] = attempts.run,
    advance: Callable[[str], None] = lambda _: None,
    budget: int = 400,
    *,
    jobs: int = 1,
) -> Shrunk:
    """Find the smallest request that shows a symptom.

    The result depends only on the attempts, not on `jobs`.

    Args:
        request: shows the symptom.
        expected: the symptom, which each smaller request must show too.
        attempt: runs a request.
        advance: called with the progress, as text, after each attempt.
        budget: how many attempts may be made.
        jobs: how many attempts run at a time.

    Raises:
        UsageError: the request itself does not show the symptom.
        HarnessError: the fork server does not start, or died twice.
    """
    first = attempt(request)
    if (actual := Symptom.of(first)) != expected:
        message = (
            f"{'/'.join(request.key)} does not show what is to be shrunk\n  Expected: {expected}\n  Actual: {actual}"
        )
        raise UsageError(message)
    search = _Search(expected=expected, attempt=attempt, advance=advance, budget=budget, jobs=jobs)
    # A hang takes as long as it is given: how long an attempt takes that ends by itself is measured on `eager`.
    passing = attempt(replace(request, backend=_EAGER)) if expected.outcome is Outcome.TIMEOUT else first
    limit = min(request.timeout_s, max(_LEAST_S, _FACTOR * passing.duration_s))
    smallest = search.descend(replace(request, timeout_s=limit))
    if (
        expected.outcome is Outcome.TIMEOUT
        and Symptom.of(attempt(replace(smallest, timeout_s=request.timeout_s))) != expected
    ):
        # It only takes long.
        tried, left = search.tried, max(1, budget - search.tried)
        search = _Search(expected=expected, attempt=attempt, advance=advance, budget=left, jobs=jobs)
        smallest = search.descend(request)
        search.tried += tried
    return Shrunk(
        request=replace(smallest, case=_named(smallest, request, expected), timeout_s=request.timeout_s),
        tried=search.tried,
        accepted=search.accepted,
        exhausted=search.exhausted,
    )


class _Search:
    """A descent in progress: what was tried, and whether it shows the symptom."""

    def __init__(
        self,
        *,
        expected: Symptom,
        attempt: Callable[[Request], Attempt],
        advance: Callable[[str], None],
        budget: int,
        jobs: int,
    ) -> None:
        self.tried, self.accepted, self.exhausted = 1, 0, False
        self._expected, self._attempt, self._advance = expected, attempt, advance
        self._budget, self._jobs = budget, jobs
        self._started: dict[str, Future[bool]] = {}
        self._known: dict[str, bool] = {}

    def descend(self, request: Request) -> Request:
        """Return the end of the descent, each step to the first candidate that shows the symptom."""
        self._known[_key(request)] = True
        pool = ThreadPoolExecutor(self._jobs)
        try:
            place = 0
            while (step := self._step(request, place, pool)) is not None:
                place, request = step
                self.accepted += 1
            return request
        finally:
            pool.shutdown(cancel_futures=True)

    def _step(self, request: Request, place: int, pool: ThreadPoolExecutor) -> tuple[int, Request] | None:
        """The first candidate that shows the symptom, and its place among them; None where there is none, or no budget.

        They are tried from the place of the last one that did: those before it are likely to fail again.
        """
        for index, candidate, key in self._ahead(_candidates(request, place), pool):
            if key not in self._known:
                if self.tried >= self._budget:
                    self.exhausted = True
                    return None
                self._known[key] = self._started.pop(key).result()
                self.tried += 1
                self._advance(f"{self.tried} tried, {self.accepted} accepted; {_lines(request.case)} lines")
            if self._known[key]:
                return index, candidate
        return None

    def _ahead(
        self, candidates: Iterator[tuple[int, Request]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Request, str]]:
        """Candidates in their order, each once as many as there are jobs have been started."""
        waiting: deque[tuple[int, Request, str]] = deque()
        for index, candidate in candidates:
            key = _key(candidate)
            if key not in self._known and key not in self._started:
                self._started[key] = pool.submit(self._shows, candidate)
            waiting.append((index, candidate, key))
            if len(waiting) == self._jobs:
                yield waiting.popleft()
        yield from waiting

    def _shows(self, request: Request) -> bool:
        return Symptom.of(self._attempt(request)) == self._expected


def _candidates(request: Request, place: int) -> Iterator[tuple[int, Request]]:
    """All of them with their numbers, from `place` to the end, then those before it."""
    for part in ((place, None), (0, place)):
        for index, (case, variant) in islice(
            enumerate(shrink_candidates.candidates(request.case, request.variant)), *part
        ):
            yield index, replace(request, case=case, variant=variant)


def _key(request: Request) -> str:
    """A key that requests that do the same have in common."""
    case, variant = request.case, request.variant
    source = generate(case, variant).source
    checked = (case.checks, case.raises, case.graph_breaks, case.recompiles, case.tolerance)
    return repr((source, case.twin, case.inputs, case.calls, variant, checked))


def _lines(case: Case) -> int:
    return len(case.setup.splitlines()) + len(case.program.splitlines())


def _named(smallest: Request, original: Request, expected: Symptom) -> Case:
    """The smallest case under a name of its own, with its symptom as title, requiring what it needs."""
    area, _, rest = original.case.id.partition(".")
    known = original.case.id if area == _AREA else f"{_AREA}.{area}.{rest.rpartition('.')[2]}"
    title = f"{expected} (shrunk from {original.case.id} on {original.backend.name})"
    text = repr([smallest.case.setup, smallest.case.program, smallest.case.twin, _declared(smallest.case)])
    needed = (
        capability
        for capability in smallest.case.requires
        if re.search(_SIGNS.get(capability, ""), text, re.IGNORECASE)
    )
    return replace(smallest.case, id=known, title=title.replace("$", ""), requires=frozenset(needed))


def _declared(case: Case) -> list[str]:
    """The fields besides the texts, without those that have their defaults."""
    plain = re.compile(r"\w+=(False|None|\{\}|'off'|'normal'|'enabled')")
    return [plain.sub("", repr(field)) for field in (case.inputs, case.calls, case.variants, case.checks)]

"""Run one mutant: the requests that reach it, cheapest first, until one of them shows it.

A mutant runs in a fork server of its own, whose torch is imported with the changed text (`site/sitecustomize.py`). It
is killed where a request fails on it twice, the second time alone, that passes on the unchanged compiler.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.enums import Outcome
from conformance.model.errors import HarnessError
from conformance.tests.jobs.mutants.operators import mutated
from conformance.tests.jobs.mutants.reach import UNCACHED
from conformance.tests.jobs.mutants.sources import home, module_of
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.request import Request
    from conformance.model.result import Attempt
    from conformance.tests.jobs.mutants.operators import Mutant

__all__ = ["Fate", "Result", "hunt", "likeliest", "of_seed"]

_SITE = Path(__file__).parent / "site"
_BATCH = 6
_SEED = "test/dynamo/test_pre_dispatch.py"
_SEED_SEES = frozenset({"values", "gradients", "exceptions"})


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNREACHED = "not reached"
    EQUIVALENT = "same bytecode, or no Python"
    UNIMPORTABLE = "nothing imports"

    @property
    def is_judged(self) -> bool:
        """Whether it counts in the kill rate."""
        return self in {Fate.KILLED, Fate.SURVIVED}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A mutant, and what became of it.

    Args:
        id: of the mutant; `before` and `after` are its texts.
        seed: of the draw that it is in.
        by: the checks that did not hold in the request that killed it, or how that ended.
        backend: of this request; `case` and `variant` too.
        kind: of the case: written by hand, a nest, a law or an operation.
        requests: how many were run.
        reaching: how many reach its line.
        by_seed: whether PyTorch's own three programs, compared as there, show it; None where none of them reaches it.
    """

    id: str
    fate: Fate
    seed: int
    before: str = ""
    after: str = ""
    by: tuple[str, ...] = ()
    backend: str = ""
    case: str = ""
    variant: str = ""
    kind: str = ""
    requests: int = 0
    reaching: int = 0
    by_seed: bool | None = None
    seconds: float = 0.0


def likeliest(reaching: Sequence[Request], most: int) -> list[Request]:
    """At most so many requests, one of each area in turn, in the given order within an area."""
    areas: dict[tuple[str, str], list[Request]] = {}
    for request in reaching:
        areas.setdefault((request.backend.name, request.case.area), []).append(request)
    turns = [(turn, request) for requests in areas.values() for turn, request in enumerate(requests)]
    return [request for _, request in sorted(turns, key=lambda pair: pair[0])[:most]]


def hunt(mutant: Mutant, seed: int, chosen: Sequence[Request], seeds: Sequence[Request], reaching: int) -> Result:
    """Run a mutant until a request shows it.

    Args:
        mutant: what to run.
        seed: of its draw.
        chosen: the requests to run, in this order.
        seeds: those of PyTorch's own three programs that reach it.
        reaching: how many requests reach it.
    """
    began = time.monotonic()
    blank = Result(id=mutant.id, fate=Fate.UNREACHED, seed=seed, before=mutant.before, after=mutant.after)
    blank = replace(blank, reaching=reaching)
    if not reaching:
        return blank
    text = mutated((home() / mutant.file).read_text(encoding="utf-8"), mutant)
    if text is None:
        return replace(blank, fate=Fate.EQUIVALENT)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mutant")
        file.write_text(f"{module_of(mutant.file)}\n{text}", encoding="utf-8")
        paths = [str(_SITE), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = UNCACHED | {"CONFORMANCE_MUTANT": str(file), "PYTHONPATH": os.pathsep.join(paths)}
        try:
            shown = _shown(blank, [_within(env, request) for request in chosen])
            by_seed = any(_by_seed(attempts.run(_within(env, one))) for one in seeds) if seeds else None
            result = replace(shown, by_seed=by_seed)
        except HarnessError:  # the server does not start
            result = replace(blank, fate=Fate.UNIMPORTABLE)
        finally:
            tasks.dismiss(env)
    return replace(result, seconds=round(time.monotonic() - began, 2))


def _within(env: Mapping[str, str], request: Request) -> Request:
    """The request with these variables alone: one server serves all backends."""
    return replace(request, backend=replace(request.backend, env=env))


def _shown(blank: Result, chosen: Sequence[Request]) -> Result:
    count = 0
    for part in _parts(chosen):
        for request, attempt in zip(part, attempts.sweep(part), strict=True):
            count += 1
            if not outcome(attempt).is_failure:
                continue
            again = attempts.run(request)
            if outcome(again).is_failure:
                return replace(
                    blank,
                    fate=Fate.KILLED,
                    by=tuple(_by(again)),
                    backend=request.backend.name,
                    case=request.case.id,
                    variant=request.variant.id,
                    kind=_kind(request),
                    requests=count,
                )
    return replace(blank, fate=Fate.SURVIVED, requests=count)


def _parts(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Parts of one backend, the first of one request, for most mutants are killed by it."""
    part: list[Request] = []
    for number, request in enumerate(requests):
        if part and (part[0].backend.name != request.backend.name or len(part) == _BATCH or number == 1):
            yield part
            part = []
        part.append(request)
    if part:
        yield part


def _by(attempt: Attempt) -> Iterator[str]:
    broken = [check.check for check in attempt.checks if check.breaks]
    yield from broken or [outcome(attempt).value]


def _kind(request: Request) -> str:
    kinds = (kind for kind in ("nest", "law", "ops") if kind in request.case.tags)
    return next(kinds, "case")


def _by_seed(attempt: Attempt) -> bool:
    """Whether what PyTorch's own test compares differs: it raises, or an output or a gradient is another one."""
    happened = outcome(attempt)
    return happened.is_failure and (happened is not Outcome.FAIL or bool(set(_by(attempt)) & _SEED_SEES))


def of_seed(requests: Iterable[Request]) -> list[Request]:
    """Those of the three programs of PyTorch's `test_pre_dispatch.py`, as they are there."""
    return [one for one in requests if (one.case.source or "").endswith(_SEED) and not one.moves]

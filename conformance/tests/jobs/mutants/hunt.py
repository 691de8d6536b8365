"""Run one mutant: the requests that reach it, cheapest first, until one of them shows it.

A mutant is killed where a request fails on it twice, the second time alone, that passes on the unchanged compiler. It
is noticed where none fails, but an advisory (SHOULD) of one does not hold, twice, that holds on the unchanged compiler.
Where only functions differ that nothing has run yet, it is a backend, which changes them when it is loaded (`live.py`):
a child of a warm server becomes the mutant. Any other runs in a fork server of its own, whose torch is imported with
the changed text (`site/sitecustomize.py`).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.enums import Level, Outcome
from conformance.model.errors import HarnessError
from conformance.tests.jobs.mutants import live
from conformance.tests.jobs.mutants.reach import UNCACHED
from conformance.tests.jobs.mutants.result import Fate, Result, blank
from conformance.tests.jobs.mutants.sources import module_of, site
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from conformance.model.request import Request
    from conformance.model.result import Attempt
    from conformance.tests.jobs.mutants.quarry import Quarry

__all__ = ["hunt"]

_BATCH = 6
_LIMIT_S = 40.0  # several times what any of them takes on a slow machine
_SEED_SEES = frozenset({"values", "gradients", "exceptions"})


def hunt(quarry: Quarry) -> Result:
    """Run a mutant until a request shows it."""
    began = time.monotonic()
    unrun = replace(blank(quarry.mutant, quarry.seed), reaching=quarry.reaching)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mutant")
        file.write_text(f"{module_of(quarry.mutant.file)}\n{quarry.text}", encoding="utf-8")
        run = partial(_as_backend, file) if quarry.is_live else partial(_served, file)
        try:
            shown = _shown(unrun, quarry.chosen, run)
            seeds = quarry.seeds
            by_seed = any(_by_seed(attempts.run(run(one))) for one in seeds) if seeds else None
            result = replace(shown, by_seed=by_seed)
        except HarnessError:  # the server does not start
            result = replace(unrun, fate=Fate.UNIMPORTABLE)
        finally:
            if not quarry.is_live:
                tasks.dismiss(_server(file))
    return replace(result, seconds=round(time.monotonic() - began, 2))


def _as_backend(file: Path, request: Request) -> Request:
    """The request on its backend, which changes PyTorch when it is loaded."""
    home = file.with_name(f"{request.backend.name}.py")
    if not home.exists():
        home.write_text(_BACKEND.format(live=live.__name__, file=str(file), ref=request.backend.ref), encoding="utf-8")
    return _on(request, ref=f"{home}:backend", env=UNCACHED)


_BACKEND = """\
from pathlib import Path

from conformance.backend.resolution import load
from {live} import become

become(Path({file!r}))
backend, _ = load({ref!r})
"""


def _served(file: Path, request: Request) -> Request:
    """The request in the server of the mutant: one serves all backends."""
    return _on(request, env=_server(file))


def _on(request: Request, **changes: Any) -> Request:
    """The request on its backend with changes; a mutant that does not end is not waited for as long as a backend."""
    return replace(request, backend=replace(request.backend, **changes), timeout_s=min(request.timeout_s, _LIMIT_S))


def _server(file: Path) -> dict[str, str]:
    return {**UNCACHED, **site({"CONFORMANCE_MUTANT": str(file)})}


def _shown(unrun: Result, chosen: Sequence[Request], run: Callable[[Request], Request]) -> Result:
    count = 0
    noticed: Result | None = None
    for part in _parts(chosen):
        for request, attempt in zip(part, attempts.sweep([run(request) for request in part]), strict=True):
            count += 1
            seen = partial(_seen, unrun, request, count)
            if outcome(attempt).is_failure:
                again = attempts.run(run(request))
                if outcome(again).is_failure:
                    return seen(Fate.KILLED, _by(again))
            elif noticed is None and (advised := _advised(attempt, request, run)):
                noticed = seen(Fate.NOTICED, advised)
    return replace(noticed or replace(unrun, fate=Fate.SURVIVED), requests=count)


def _seen(unrun: Result, request: Request, count: int, fate: Fate, by: Iterable[str]) -> Result:
    return replace(
        unrun,
        fate=fate,
        by=tuple(by),
        backend=request.backend.name,
        case=request.case.id,
        variant=request.variant.id,
        kind=_kind(request),
        requests=count,
    )


def _advised(attempt: Attempt, request: Request, run: Callable[[Request], Request]) -> list[str]:
    """The advisories that do not hold, twice, and hold on the unchanged compiler."""
    suspects = _advisories(attempt)
    if suspects:
        suspects -= _advisories(attempts.run(_on(request, env=UNCACHED)))
    if suspects:
        suspects &= _advisories(attempts.run(run(request)))
    return sorted({check for check, _ in suspects})


def _advisories(attempt: Attempt) -> set[tuple[str, str]]:
    """Those that do not hold, each with where."""
    broken = [check for check in attempt.checks if not check.held and check.level is Level.SHOULD]
    return {(check.check, difference.path) for check in broken for difference in check.differences}


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

"""Select cases, variants and backends for a plan of requests."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from conformance.model.enums import EXHAUSTIVE, ON_REQUEST, SLOW_COMPILE, Capability, Extent, Outcome, Tier
from conformance.model.errors import SelectionError
from conformance.model.request import Request, Selection
from conformance.model.suggestions import nearest
from conformance.model.versions import holds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from conformance.model.case import Case, Variant
    from conformance.model.request import BackendInfo

__all__ = [
    "Plan",
    "decided",
    "digest",
    "is_smoke",
    "of_plain_calls",
    "plan_of",
    "require_matches",
    "select",
    "time_limit",
]

SMOKE = "smoke"
TIMEOUT_S = 120.0

_FEW = 20  # names that a hint lists


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The requests to run, in order, and the selection they came from.

    `requests` are those of this shard. `scouts` are smoke cases of other shards: they are run here too, unrecorded, so
    that the smoke gate decides the same everywhere. `total` and `digest` are of the whole plan, so that shards of
    one plan can be recognized. `selection` is what the user restricted.
    """

    requests: tuple[Request, ...]
    backends: tuple[BackendInfo, ...]
    selection: Selection
    total: int
    digest: str
    scouts: tuple[Request, ...] = ()
    seed: int = 0
    shard: tuple[int, int] | None = None


def select(
    cases: Iterable[Case],
    backends: Iterable[BackendInfo],
    *,
    case_globs: Sequence[str] = (),
    variants: Sequence[str] = (),
    tags: Sequence[str] = (),
    exclude_tags: Sequence[str] = (),
    seed: int = 0,
    timeout_s: float | None = None,
    shard: tuple[int, int] | None = None,
    shuffle: int | None = None,
    extent: Extent = Extent.DEFAULT,
) -> Plan:
    """Plan every variant of every selected case on every backend.

    Of generated cases only the default tiers are planned, unless `tags` holds `exhaustive` or `case_globs` the full id,
    or the extent is exhaustive.

    Args:
        cases: in the order of their files.
        backends: in the order asked for.
        case_globs: keep cases whose id matches one of them.
        variants: each like `grad=disabled,dynamic=true`; keep variants that have all pairs of one of them.
        tags: keep cases that have one of them.
        exclude_tags: leave out cases that have one of them.
        seed: of the inputs' random numbers.
        timeout_s: time limit of each request, in place of the case's and the backend's.
        shard: `(i, n)`, the i-th of n parts, counting from 1.
        shuffle: seed of a random order, in place of that of the files.
        extent: how much of what is left.

    Raises:
        SelectionError: something given matches nothing.
    """
    chosen = _within(extent, _choose(tuple(cases), case_globs, tags, exclude_tags))
    pairs = _choose_variants(chosen, variants, case_globs)
    backends = tuple(backends)
    selection = Selection(
        cases=tuple(case_globs),
        variants=tuple(variants),
        tags=tuple(tags),
        exclude_tags=tuple(exclude_tags),
        tier=extent,
        timeout_s=timeout_s,
    )
    every = extent is Extent.EXHAUSTIVE or EXHAUSTIVE in tags
    whole = tuple(
        request
        for backend in backends
        for request in _requests(
            backend, [pair for pair in pairs if every or _is_due(*pair, backend, case_globs, tags)], seed, timeout_s
        )
    )
    if backends and not whole:
        words = " or ".join(f"--tag {tag}" for tag in sorted(ON_REQUEST.intersection(*(case.tags for case in chosen))))
        hint = f"Add {words or f'--tier {EXHAUSTIVE}'}, or name a case in full."
        message = f"what is left runs only when it is asked for.\n  {hint}"
        raise SelectionError(message)
    plan = _plan(whole, shard, backends=backends, selection=selection, seed=seed)
    if shuffle is None:
        return plan
    order = random.Random(shuffle)  # noqa: S311 - an order, no secret
    return replace(plan, requests=tuple(order.sample(plan.requests, len(plan.requests))))


def decided(request: Request, torch_version: str) -> tuple[Outcome, str] | None:
    """Return the outcome and reason of a request that need not be run, or None."""
    backend, case = request.backend, request.case
    if backend.broken is not None:
        return Outcome.ERROR, f"the backend cannot be used: {backend.broken}"
    if backend.unavailable is not None:
        return Outcome.SKIP, backend.unavailable
    # A backend that does not claim to draw the same random numbers is still judged on all else.
    if missing := request.needs - backend.capabilities - {Capability.RNG}:
        return Outcome.UNSUPPORTED, f"needs {', '.join(sorted(missing))}"
    if not holds(case.torch, torch_version):
        return Outcome.SKIP, f"needs torch {case.torch}, this is {torch_version}"
    return None


def is_smoke(request: Request) -> bool:
    """Return whether the smoke gate uses a request."""
    return SMOKE in request.case.tags


def digest(keys: Iterable[tuple[str, str, str]]) -> str:
    """Return twelve digits that are the same for plans with the same requests, in whatever order."""
    lines = sorted("\t".join(key) for key in keys)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _within(extent: Extent, cases: list[Case]) -> list[Case]:
    """Return the cases that an extent includes."""
    if extent is not Extent.QUICK:
        return cases
    if quick := [case for case in cases if Extent.QUICK in case.tags]:
        return quick
    message = f"none of the {len(cases)} cases that are asked for has the tag {Extent.QUICK}"
    raise SelectionError(message)


def _is_due(case: Case, variant: Variant, backend: BackendInfo, globs: Sequence[str], tags: Sequence[str]) -> bool:
    """Return whether a variant runs on a backend: by its tag and tier, unless its case is selected by full id."""
    if case.id in globs:
        return True
    if not case.tags.isdisjoint(ON_REQUEST) and case.tags.isdisjoint(tags):
        return False
    if variant.tier is Tier.DEFAULT:
        return True
    return variant.tier is Tier.FAST and SLOW_COMPILE not in backend.tags


def _choose(
    cases: tuple[Case, ...], globs: Sequence[str], tags: Sequence[str], exclude_tags: Sequence[str]
) -> list[Case]:
    require_matches(cases, globs, (*tags, *exclude_tags))
    chosen = [
        case
        for case in cases
        if (not globs or any(fnmatchcase(case.id, glob) for glob in globs))
        and (not tags or not case.tags.isdisjoint(tags))
        and case.tags.isdisjoint(exclude_tags)
    ]
    if not chosen:
        message = f"no case is left: of {len(cases)} cases none has the ids and the tags asked for"
        raise SelectionError(message)
    return sorted(chosen, key=lambda case: SMOKE not in case.tags)


def require_matches(cases: Sequence[Case], globs: Sequence[str], tags: Sequence[str]) -> None:
    """Refuse a glob that no id matches, and a tag that no case has, with similar names.

    Raises:
        SelectionError: there is one; where it asks for cases on request, the message names the folder that has them.
    """
    known = {tag for case in cases for tag in case.tags}
    # An area on request has the name of its tag.
    if unread := {*tags, *(glob.partition(".")[0] for glob in globs)} & ON_REQUEST - known:
        message = f"the cases of {', '.join(unread)} are in a folder of their own: add --cases cases/operations"
        raise SelectionError(message)
    for glob in globs:
        _require(any(fnmatchcase(case.id, glob) for case in cases), "case", glob, _case_names(cases))
    for tag in tags:
        _require(tag in known, "tag", tag, known)


def _case_names(cases: Iterable[Case]) -> set[str]:
    """Return the ids of cases, and the globs for all cases of an area or topic."""
    ids = [case.id.split(".") for case in cases]
    folders = {".".join([*parts[:depth], "*"]) for parts in ids for depth in range(1, len(parts))}
    return folders | {".".join(parts) for parts in ids}


def _choose_variants(
    cases: Sequence[Case], texts: Sequence[str], case_globs: Sequence[str]
) -> list[tuple[Case, Variant]]:
    pairs = [(case, variant) for case in cases for variant in case.variants]
    for text in texts:
        known = {f"{axis}={value}" for _, variant in pairs for axis, value in variant.axes.items()}
        axes = tuple(f"{pair.partition('=')[0]}=" for pair in text.split(","))
        near = {value for value in known if value.startswith(axes)} or known
        _require(any(_fits(variant, text) for _, variant in pairs), "variant", text, near)
    return [(case, variant) for case, variant in pairs if not texts or _is_asked(case, variant, texts, case_globs)]


def _is_asked(case: Case, variant: Variant, texts: Sequence[str], case_globs: Sequence[str]) -> bool:
    """For a case named in full, an id selects that variant; otherwise it selects all variants with its values."""
    ids = {each.id for each in case.variants} if case.id in case_globs else set()
    return any(text == variant.id if text in ids else _fits(variant, text) for text in texts)


def _fits(variant: Variant, text: str) -> bool:
    # An id fits itself even where the value of a parameter holds a comma.
    return text == variant.id or {tuple(pair.split("=", 1)) for pair in text.split(",")} <= set(variant.axes.items())


def _requests(
    backend: BackendInfo, pairs: Sequence[tuple[Case, Variant]], seed: int, timeout_s: float | None
) -> Iterator[Request]:
    # A broken backend is one row, not hundreds.
    for case, variant in pairs[:1] if backend.broken is not None else pairs:
        limit = time_limit(case, backend, timeout_s)
        yield Request(case=case, backend=backend, variant=variant, seed=seed, timeout_s=limit)


def of_plain_calls(plan: Plan) -> Plan:
    """Return a plan without the requests in which the caller makes moves: those are not timed."""
    plain = tuple(request for request in plan.requests if not request.moves)
    return replace(plan, requests=plain, total=len(plain), digest=digest(request.key for request in plain))


def plan_of(requests: Collection[Request]) -> Plan:
    """Return a plan of given requests, whatever they were selected from."""
    return Plan(
        requests=tuple(requests),
        backends=tuple({request.backend.name: request.backend for request in requests}.values()),
        selection=Selection(),
        total=len(requests),
        digest=digest(request.key for request in requests),
    )


def time_limit(case: Case, backend: BackendInfo, asked: float | None) -> float:
    """Return the seconds one request may compute or sleep: the given limit, else the case's, the backend's, or 120."""
    return asked or case.timeout_s or backend.compile_timeout_s or TIMEOUT_S


def _plan(whole: tuple[Request, ...], shard: tuple[int, int] | None, **given: Any) -> Plan:  # noqa: ANN401 - of Plan
    part = whole if shard is None else _part(whole, *shard)
    mine = {request.key for request in part}
    return Plan(
        requests=part,
        scouts=tuple(request for request in whole if is_smoke(request) and request.key not in mine),
        total=len(whole),
        digest=digest(request.key for request in whole),
        shard=shard,
        **given,
    )


def _part(whole: tuple[Request, ...], index: int, count: int) -> tuple[Request, ...]:
    if not 1 <= index <= count:
        message = f"shard {index}/{count} does not exist: the first is 1/{count}, the last {count}/{count}"
        raise SelectionError(message)
    part = whole[index - 1 :: count]
    if not part:
        message = f"shard {index}/{count} is empty: there are only {len(whole)} requests"
        raise SelectionError(message)
    return part


def _require(found: bool, what: str, given: str, known: Collection[str]) -> None:
    """Refuse what matches nothing, with similar names, or with all names if there are few.

    Raises:
        SelectionError: nothing was found.
    """
    if found:
        return
    hint = nearest(given, sorted(known))
    if not hint:
        few = f"Known: {', '.join(sorted(known))}." if len(known) <= _FEW else ""
        hint = few or "`conformance list` shows what there is."
    message = f"no {what} matches {given!r}.\n  {hint}"
    raise SelectionError(message)

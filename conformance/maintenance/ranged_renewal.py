"""Expectations that follow from runs on several releases of torch: one file that is green on all of them.

An entry that holds on all of them stays as it is written. One that holds on some gets the range of releases on which it
does, and each new failure an entry with the range on which it was seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from conformance.catalogue.yaml_source import compose
from conformance.maintenance.expectation_entries import Failure, How, Seen, Why, as_entries, dumped
from conformance.maintenance.ranges import fits, fitting
from conformance.maintenance.renewal import (
    Renewal,
    Shown,
    blocks_of,
    described_as,
    explained,
    is_as,
    narrowed,
    put_together,
    settled,
)
from conformance.model.errors import UsageError
from conformance.verdict.changes import transition
from conformance.verdict.expectations import applies, entries, match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.case import Variant
    from conformance.model.request import Expectation

__all__ = ["renew_ranged"]

_SHOWN = 5  # requests of which builds disagree that are named

Entries = list[tuple["Expectation", ...]]
Pair = tuple[str, str]


class _Claim(NamedTuple):
    """A failure that an entry has to be about, and the release that showed it."""

    failure: Failure
    release: str


@dataclass(kw_only=True)
class _Where:
    """The releases on which something holds, and those on which it was seen not to."""

    holding: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)

    @property
    def mixed(self) -> bool:
        """Whether it holds in part on one release."""
        return bool(self.holding & self.failing)

    def fits(self, torch: str | None) -> bool:
        """Whether an entry with this range says what was seen."""
        return not self.mixed and fits(torch, self.holding, self.failing)


@dataclass(kw_only=True)
class _Entry:
    """What was seen of an entry: of each request that it is about, and the records that are as it says."""

    where: dict[Pair, _Where] = field(default_factory=lambda: defaultdict(_Where))
    expected: list[tuple[Seen, str]] = field(default_factory=list)
    idle: set[str] = field(default_factory=set)  # releases on which it is about nothing that was or may be seen

    def cases(self) -> dict[str, _Where]:
        """The same of each case."""
        found: dict[str, _Where] = defaultdict(_Where)
        for (case_id, _), where in self.where.items():
            found[case_id].holding |= where.holding
            found[case_id].failing |= where.failing | self.idle
        return found


def renew_ranged(text: str, file: str, runs: Sequence[Shown]) -> Renewal:
    """Make a file of expectations say what runs on several releases showed.

    Args:
        text: the file as it is; may be empty.
        file: its name, for messages.
        runs: what each showed; several may be of builds of one release.

    Raises:
        UsageError: builds of one release disagree, which no range can say.
        ExpectationError: the file is malformed.
    """
    _refuse_disagreement(entries(compose(text if text.strip() else "[]", file)), runs)
    return settled(text, lambda now: _pass(now, file, runs))


def _release(run: Shown) -> str:
    return Version(run.host.versions["torch"]).public


def _refuse_disagreement(written: Entries, runs: Sequence[Shown]) -> None:
    """Two builds of a release have to do the same, or both what one entry says."""
    found = []
    firsts: dict[tuple[str, Pair], tuple[Seen, Shown]] = {}
    for run in runs:
        for one in run.seen:
            first, other = firsts.setdefault((_release(run), _pair(one)), (one, run))
            if transition(first.record, one.record) and not _covered(written, (first, other), (one, run)):
                ends = [
                    f"{each.record.outcome} on {where.host.versions['torch']}"
                    for each, where in ((first, other), (one, run))
                ]
                found.append(f"{one.record.case_id} {one.record.variant}: {', '.join(ends)}")
    if found:
        more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        said = "\n  ".join(found[:_SHOWN])
        message = (
            f"builds of one release disagree, which an entry cannot say of a range of releases:\n  {said}{more}\n"
            "  Give the records of one of them, or write these entries by hand (`packages`, `platform`)."
        )
        raise UsageError(message)


def _covered(written: Entries, *both: tuple[Seen, Shown]) -> bool:
    """Whether one entry says what either of two records is."""
    owners = {_owner(one, _about(written, one), run) for one, run in both}
    return len(owners) == 1 and None not in owners


def _pass(text: str, file: str, runs: Sequence[Shown]) -> Renewal:
    """Renew once, each entry held against what it is about as the file stands."""
    document = compose(text if text.strip() else "[]", file)
    written = entries(document)
    seen, claims = _seen(written, runs)
    head, blocks = blocks_of(document)
    counts, left = dict.fromkeys(("kept", "narrowed", "ranged", "removed"), 0), list[str]()
    for index, block in enumerate(blocks):
        word, renewed, spoilt = _renewed(block, document.data[index], written[index][0], seen[index])  # type: ignore[index]
        counts[word] += 1
        left += [renewed] if renewed else []
        rescued = [(one, release) for one, release in seen[index].expected if one.record.case_id in spoilt]
        claims += [_Claim(described_as(one, written[index][0]), release) for one, release in rescued]
    variants = {_pair(one): one for run in runs for one in run.seen}
    return put_together(head, as_entries(_with_ranges(claims, runs), variants.values()), left, **counts)


def _pair(one: Seen) -> Pair:
    return (one.record.case_id, one.record.variant)


def _about(written: Entries, one: Seen) -> list[tuple[int, Expectation]]:
    """The entries about a request, whatever their conditions."""
    pairs = ((index, match(entry, one.record.case_id, one.variant)) for index, entry in enumerate(written))
    return [(index, entry) for index, entry in pairs if entry is not None]


def _is_for(entry: Expectation, run: Shown) -> bool:
    """Whether an entry is for a run, whatever releases it is for."""
    return applies(replace(entry, torch=None), run.host)


def _owner(one: Seen, about: Sequence[tuple[int, Expectation]], run: Shown) -> int | None:
    """The entry that a failure belongs to: that which is consulted today, else the first that says what it is."""
    if not one.record.outcome.is_failure:
        return None
    consulted = [(index, entry) for index, entry in about if applies(entry, run.host)][:1]
    others = [(index, entry) for index, entry in about if _is_for(entry, run)]
    return next((index for index, entry in (*consulted, *others) if is_as(one.record, entry)), None)


def _seen(written: Entries, runs: Sequence[Shown]) -> tuple[list[_Entry], list[_Claim]]:
    """What was seen of each entry, and the failures that belong to none."""
    found, claims = [_Entry() for _ in written], list[_Claim]()
    matching = {_pair(one): _about(written, one) for run in runs for one in run.seen}
    for run in runs:
        release = _release(run)
        for one in run.seen:
            about = matching[_pair(one)]
            owner = _owner(one, about, run)
            for index, entry in about:
                # An entry above takes a request from those below it.
                if _is_for(entry, run) and (owner is None or owner >= index):
                    where = found[index].where[_pair(one)]
                    (where.holding if owner == index else where.failing).add(release)
            if owner is not None:
                found[owner].expected.append((one, release))
            elif one.record.outcome.is_failure:
                claims.append(_Claim(_told(one, run, written), release))
    for parts, mine in zip(written, found, strict=True):
        mine.idle = {_release(run) for run in runs if _is_idle(parts, mine, run)}
    return found, claims


def _is_idle(entry: Sequence[Expectation], seen: _Entry, run: Shown) -> bool:
    """Whether a run has nothing that an entry is about, though it was to be expected: then it would be stale."""
    is_used = any(release == _release(run) for _, release in seen.expected)
    return _is_for(entry[0], run) and not is_used and not any(match(entry, *pair) for pair in run.not_run)


def _told(one: Seen, run: Shown, written: Entries) -> Failure:
    """A new failure, with the reason of another backend's, or of an entry about the same case that fails so too."""
    failure = explained(one, run.like)
    if failure.why != Why():
        return failure
    same = (each for entry in written for each in entry if match([replace(each, variants={})], *_named(one)))
    model = next((each for each in same if is_as(one.record, each)), None)
    return failure if model is None else described_as(one, model)


def _named(one: Seen) -> tuple[str, Variant]:
    return one.record.case_id, one.variant


def _renewed(block: str, data: dict[str, Any], first: Expectation, seen: _Entry) -> tuple[str, str, set[str]]:
    """What becomes of an entry: a word, its text, and the cases that it is no longer about."""
    cases, torch = seen.cases(), first.torch
    if all(where.fits(torch) for where in cases.values()) and fits(torch, (), seen.idle):
        return "kept", block, set()
    patterns = Counter(
        (frozenset(where.holding), frozenset(where.failing))
        for where in cases.values()
        if where.holding and not where.mixed
    )
    if not patterns:
        return "removed", "", {*cases}
    (holding, failing), _ = patterns.most_common(1)[0]
    made = fitting(torch, holding, failing | seen.idle)
    spoilt = {case_id for case_id, where in cases.items() if not where.fits(made)}
    if not spoilt:
        return "ranged", _with_torch(block, data, made), spoilt
    renewed = {key: value for key, value in narrowed(data, spoilt).items() if key != "torch"}
    return "narrowed", dumped(renewed | ({"torch": made} if made else {})) + "\n", spoilt


def _with_torch(block: str, data: Mapping[str, Any], torch: str | None) -> str:
    """The text of an entry with another range; the rest of it stays as it is written."""
    lines = block.splitlines(keepends=True)
    first = next(line for line in lines if line.lstrip().startswith("- "))
    key = first.lstrip().removeprefix("- ").lstrip()
    indent = " " * (len(first) - len(key))
    if key.startswith(("{", "torch:", "reason:")):
        renewed = {name: value for name, value in data.items() if name != "torch"}
        return dumped(renewed | ({"torch": torch} if torch else {})) + "\n"
    others = [line for line in lines if not line.startswith(f"{indent}torch:")]
    place = next(at for at, line in enumerate(others) if line.startswith(f"{indent}reason:"))
    return "".join([*others[:place], *([f'{indent}torch: "{torch}"\n'] if torch else []), *others[place:]])


def _with_ranges(claims: Iterable[_Claim], runs: Sequence[Shown]) -> Iterator[Failure]:
    """Each failure once, with the releases on which it was seen and not on those on which it was not."""
    scored: dict[Pair, set[str]] = defaultdict(set)
    for run in runs:
        for one in run.seen:
            scored[_pair(one)].add(_release(run))
    alike: dict[tuple[Pair, How, Why], list[_Claim]] = defaultdict(list)
    for claim in claims:
        alike[_pair(claim.failure.seen), claim.failure.how, claim.failure.why].append(claim)
    for (pair, _, why), own in alike.items():
        holding = {claim.release for claim in own}
        made = fitting(why.torch, holding, scored[pair] - holding)
        yield own[0].failure._replace(why=why._replace(torch=made))

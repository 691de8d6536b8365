"""Updating an expectations file from runs on several releases of torch, so that it is green on all of them.

An entry that holds on all of them is kept unchanged. One that holds on some gets the range of these releases, and each
new failure gets an entry with the range of the releases that show it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.version import Version

from conformance.catalogue.yaml_source import compose
from conformance.maintenance.expectation_entries import Failure, How, Observed, Why, as_entries, dumped
from conformance.maintenance.ranges import fits, fitting
from conformance.maintenance.renewal import (
    ObservedRun,
    Renewal,
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

_SHOWN = 5  # requests on which builds disagree that a message lists

Entries = list[tuple["Expectation", ...]]
Pair = tuple[str, str]


class _NewFailure(NamedTuple):
    """A failure that needs an entry, and the release that shows it."""

    failure: Failure
    release: str


@dataclass(kw_only=True)
class _Releases:
    """The releases on which an entry holds, and those on which it does not."""

    holding: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)

    @property
    def mixed(self) -> bool:
        """Whether it holds only in part on some release."""
        return bool(self.holding & self.failing)

    def fits(self, torch: str | None) -> bool:
        """Whether an entry with this range agrees with the runs."""
        return not self.mixed and fits(torch, self.holding, self.failing)


@dataclass(kw_only=True)
class _Entry:
    """The evidence of runs on an entry: where it holds for each request that it matches, and what it describes."""

    where: dict[Pair, _Releases] = field(default_factory=lambda: defaultdict(_Releases))
    expected: list[tuple[Observed, str]] = field(default_factory=list)
    idle: set[str] = field(default_factory=set)  # releases on which it matches no request, run or not

    def cases(self) -> dict[str, _Releases]:
        """The releases of each case."""
        found: dict[str, _Releases] = defaultdict(_Releases)
        for (case_id, _), where in self.where.items():
            found[case_id].holding |= where.holding
            found[case_id].failing |= where.failing | self.idle
        return found


def renew_ranged(text: str, file: str, runs: Sequence[ObservedRun]) -> Renewal:
    """Update an expectations file to agree with runs on several releases.

    Args:
        text: the current file; may be empty.
        file: its name, for messages.
        runs: one for each run; several may be of builds of one release.

    Raises:
        UsageError: builds of one release disagree, which no range can express.
        ExpectationError: the file is malformed.
    """
    _refuse_disagreement(entries(compose(text if text.strip() else "[]", file)), runs)
    return settled(text, lambda now: _pass(now, file, runs))


def _release(run: ObservedRun) -> str:
    return Version(run.host.versions["torch"]).public


def _refuse_disagreement(written: Entries, runs: Sequence[ObservedRun]) -> None:
    """Refuse builds of one release that differ, unless one entry describes both."""
    disagreements = []
    firsts: dict[tuple[str, Pair], tuple[Observed, ObservedRun]] = {}
    for run in runs:
        for observed in run.seen:
            first, first_run = firsts.setdefault((_release(run), _pair(observed)), (observed, run))
            if transition(first.record, observed.record) and not _covered(written, (first, first_run), (observed, run)):
                ends = [
                    f"{each.record.outcome} on {where.host.versions['torch']}"
                    for each, where in ((first, first_run), (observed, run))
                ]
                disagreements.append(f"{observed.record.case_id} {observed.record.variant}: {', '.join(ends)}")
    if disagreements:
        more = f"\n  and {len(disagreements) - _SHOWN} more" if len(disagreements) > _SHOWN else ""
        listed = "\n  ".join(disagreements[:_SHOWN])
        message = (
            f"builds of one release disagree, which an entry for a range cannot express:\n  {listed}{more}\n"
            "  Give the records of one of them, or write these entries by hand (`packages`, `platform`)."
        )
        raise UsageError(message)


def _covered(written: Entries, *both: tuple[Observed, ObservedRun]) -> bool:
    """Whether one entry describes both of two records."""
    owners = {_owner(observed, _matches(written, observed), run) for observed, run in both}
    return len(owners) == 1 and None not in owners


def _pass(text: str, file: str, runs: Sequence[ObservedRun]) -> Renewal:
    """Update once, comparing each entry with the requests that it matches in the current file."""
    document = compose(text if text.strip() else "[]", file)
    current = entries(document)
    evidence, new_failures = _evidence(current, runs)
    head, blocks = blocks_of(document)
    counts, left = dict.fromkeys(("kept", "narrowed", "ranged", "removed"), 0), list[str]()
    for index, block in enumerate(blocks):
        word, renewed, refuted = _renewed(block, document.data[index], current[index][0], evidence[index])  # type: ignore[index]
        counts[word] += 1
        left += [renewed] if renewed else []
        rescued = [
            (observed, release) for observed, release in evidence[index].expected if observed.record.case_id in refuted
        ]
        new_failures += [
            _NewFailure(described_as(observed, current[index][0]), release) for observed, release in rescued
        ]
    variants = {_pair(observed): observed for run in runs for observed in run.seen}
    return put_together(head, as_entries(_with_ranges(new_failures, runs), variants.values()), left, **counts)


def _pair(observed: Observed) -> Pair:
    return (observed.record.case_id, observed.record.variant)


def _matches(written: Entries, observed: Observed) -> list[tuple[int, Expectation]]:
    """The entries that match a request, whatever their conditions."""
    pairs = ((index, match(entry, observed.record.case_id, observed.variant)) for index, entry in enumerate(written))
    return [(index, entry) for index, entry in pairs if entry is not None]


def _is_for(entry: Expectation, run: ObservedRun) -> bool:
    """Whether an entry applies to a run, apart from its range of releases."""
    return applies(replace(entry, torch=None), run.host)


def _owner(observed: Observed, matches: Sequence[tuple[int, Expectation]], run: ObservedRun) -> int | None:
    """The entry that describes a failure: the one that applies now, else the first of the others."""
    if not observed.record.outcome.is_failure:
        return None
    consulted = [(index, entry) for index, entry in matches if applies(entry, run.host)][:1]
    others = [(index, entry) for index, entry in matches if _is_for(entry, run)]
    return next((index for index, entry in (*consulted, *others) if is_as(observed.record, entry)), None)


def _evidence(written: Entries, runs: Sequence[ObservedRun]) -> tuple[list[_Entry], list[_NewFailure]]:
    """The evidence on each entry, and the failures that no entry describes."""
    found, new_failures = [_Entry() for _ in written], list[_NewFailure]()
    matching = {_pair(observed): _matches(written, observed) for run in runs for observed in run.seen}
    for run in runs:
        release = _release(run)
        for observed in run.seen:
            matches = matching[_pair(observed)]
            owner = _owner(observed, matches, run)
            for index, entry in matches:
                # An entry above takes a request from those below it.
                if _is_for(entry, run) and (owner is None or owner >= index):
                    where = found[index].where[_pair(observed)]
                    (where.holding if owner == index else where.failing).add(release)
            if owner is not None:
                found[owner].expected.append((observed, release))
            elif observed.record.outcome.is_failure:
                new_failures.append(_NewFailure(_with_reason(observed, run, written), release))
    for parts, own in zip(written, found, strict=True):
        own.idle = {_release(run) for run in runs if _is_idle(parts, own, run)}
    return found, new_failures


def _is_idle(entry: Sequence[Expectation], evidence: _Entry, run: ObservedRun) -> bool:
    """Whether an entry would be stale on a run: it applies, and no request matches it."""
    is_used = any(release == _release(run) for _, release in evidence.expected)
    return _is_for(entry[0], run) and not is_used and not any(match(entry, *pair) for pair in run.not_run)


def _with_reason(observed: Observed, run: ObservedRun, written: Entries) -> Failure:
    """A new failure with the reason of another backend's, or of an entry that describes it for the same case."""
    failure = explained(observed, run.like)
    if failure.why != Why():
        return failure
    same = (
        each for entry in written for each in entry if match([replace(each, variants={})], *_case_and_variant(observed))
    )
    model = next((each for each in same if is_as(observed.record, each)), None)
    return failure if model is None else described_as(observed, model)


def _case_and_variant(observed: Observed) -> tuple[str, Variant]:
    return observed.record.case_id, observed.variant


def _renewed(block: str, data: dict[str, Any], first: Expectation, evidence: _Entry) -> tuple[str, str, set[str]]:
    """Return what was done to an entry, as a word, its new text, and the cases that it no longer matches."""
    cases, torch = evidence.cases(), first.torch
    if all(where.fits(torch) for where in cases.values()) and fits(torch, (), evidence.idle):
        return "kept", block, set()
    patterns = Counter(
        (frozenset(where.holding), frozenset(where.failing))
        for where in cases.values()
        if where.holding and not where.mixed
    )
    if not patterns:
        return "removed", "", {*cases}
    (holding, failing), _ = patterns.most_common(1)[0]
    made = fitting(torch, holding, failing | evidence.idle)
    refuted = {case_id for case_id, where in cases.items() if not where.fits(made)}
    if not refuted:
        return "ranged", _with_torch(block, data, made), refuted
    renewed = {key: value for key, value in narrowed(data, refuted).items() if key != "torch"}
    return "narrowed", dumped(renewed | ({"torch": made} if made else {})) + "\n", refuted


def _with_torch(block: str, data: Mapping[str, Any], torch: str | None) -> str:
    """The text of an entry with another range, otherwise unchanged."""
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


def _with_ranges(new_failures: Iterable[_NewFailure], runs: Sequence[ObservedRun]) -> Iterator[Failure]:
    """Each failure once, with a range of the releases that show it, without those that do not."""
    scored: dict[Pair, set[str]] = defaultdict(set)
    for run in runs:
        for observed in run.seen:
            scored[_pair(observed)].add(_release(run))
    alike: dict[tuple[Pair, How, Why], list[_NewFailure]] = defaultdict(list)
    for new_failure in new_failures:
        alike[_pair(new_failure.failure.seen), new_failure.failure.how, new_failure.failure.why].append(new_failure)
    for (pair, _, why), own in alike.items():
        holding = {new_failure.release for new_failure in own}
        made = fitting(why.torch, holding, scored[pair] - holding)
        yield own[0].failure._replace(why=why._replace(torch=made))

"""Updating an expectations file from a run: entries that no longer hold are removed, new failures get entries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from conformance.catalogue.yaml_source import compose
from conformance.maintenance.expectation_entries import Failure, Observed, Why, as_entries, dumped, how
from conformance.maintenance.rejudge import judge_again
from conformance.model.enums import Outcome, Verdict
from conformance.verdict.expectations import TODO, Host, applies, entries, match

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from conformance.catalogue.yaml_source import Document
    from conformance.model.case import Case, Variant
    from conformance.model.request import Expectation
    from conformance.model.result import Record

__all__ = [
    "ObservedRun",
    "Renewal",
    "blocks_of",
    "described_as",
    "explained",
    "is_as",
    "narrowed",
    "observed_run",
    "put_together",
    "renew",
    "settled",
]


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """The new text of a file, and how many of its entries were kept, narrowed, removed and added.

    `ranged` are those of which only the range of releases changed. `unexplained` of those that were added have no
    reason yet.
    """

    text: str
    kept: int = 0
    narrowed: int = 0
    ranged: int = 0
    removed: int = 0
    added: int = 0
    unexplained: int = 0


class ObservedRun(NamedTuple):
    """The records of a run, what it did not run, its host, and the entries whose reasons may apply here too."""

    seen: Sequence[Observed]
    not_run: Sequence[tuple[str, Variant]]
    host: Host
    like: Sequence[Expectation]


@dataclass(kw_only=True)
class _Held:
    """The records that an entry matches: those that it describes, and others."""

    expected: list[Observed] = field(default_factory=list)
    otherwise: list[Observed] = field(default_factory=list)

    @property
    def refuted(self) -> set[str]:
        """The cases for which the entry is wrong."""
        return {observed.record.case_id for observed in self.otherwise}


def renew(
    text: str,
    file: str,
    records: Iterable[Record],
    cases: Iterable[Case],
    *,
    host: Host,
    like: Sequence[Expectation] = (),
) -> Renewal:
    """Update an expectations file to agree with a run.

    An entry is kept unchanged where it describes every record that it matches. One that holds in part is narrowed, and
    one that does not hold, or matches nothing, is removed. Reasons and issues are kept with what is left.

    Args:
        text: the current file; may be empty.
        file: its name, for messages.
        records: what was run on the backend.
        cases: every case there is.
        host: where it was run; entries for others stay.
        like: the expectations of another backend, whose reasons apply to what fails in the same way.

    Raises:
        ExpectationError: the file is malformed.
    """
    run = observed_run(tuple(records), tuple(cases), host, like)
    return settled(text, lambda now: _pass(now, file, run))


def observed_run(
    records: Sequence[Record], cases: Sequence[Case], host: Host, like: Sequence[Expectation] = ()
) -> ObservedRun:
    """Return the parts of a run that `renew` uses; the arguments are those of `renew`."""
    return ObservedRun(list(_scored(records, cases)), _not_run(records, cases), host, like)


def settled(text: str, once: Callable[[str], Renewal]) -> Renewal:
    """Update a text until it no longer changes, and add up the counts."""
    made = once(text)
    while made.text != text:
        # Where an entry was removed, one below it may now match its requests.
        text, earlier = made.text, made
        made = once(text)
        made = replace(
            made,
            kept=earlier.kept - made.narrowed - made.ranged - made.removed,
            narrowed=earlier.narrowed + made.narrowed,
            ranged=earlier.ranged + made.ranged,
            removed=earlier.removed + made.removed,
            added=earlier.added + made.added,
            unexplained=earlier.unexplained + made.unexplained,
        )
    return made


def _pass(text: str, file: str, run: ObservedRun) -> Renewal:
    """Update once, comparing each entry with the records that it matches in the current file."""
    document = compose(text if text.strip() else "[]", file)
    all_entries = entries(document)
    current = [tuple(each for each in entry if applies(each, run.host)) for entry in all_entries]
    held, failing = _held(current, run.seen)
    failures = [explained(observed, run.like) for observed in failing]
    head, blocks = blocks_of(document)
    counts, left = dict.fromkeys(("kept", "narrowed", "removed"), 0), list[str]()
    for index, block in enumerate(blocks):
        refuted = held[index].refuted
        unseen = (pair for pair in run.not_run if pair[0] not in refuted)
        about_more = current[index] == () or any(match(current[index], *pair) for pair in unseen)
        word, renewed = _renewed(block, document.data[index], held[index], about_more=about_more)  # type: ignore[index]
        counts[word] += 1
        left += [renewed] if renewed else []
        failures += _rescued(all_entries[index], held[index])
        failures += [
            explained(observed, run.like) for observed in held[index].otherwise if observed.record.outcome.is_failure
        ]
    return put_together(head, as_entries(failures, run.seen), left, **counts)


def put_together(head: str, added: Sequence[Mapping[str, Any]], left: Sequence[str], **counts: int) -> Renewal:
    """Return the new text and the counts.

    Args:
        head: the text above the first entry.
        added: new entries. The first entry that matches counts, so these, which match less, are first.
        left: the texts of the entries that stay, in their order.
        counts: numbers of existing entries, by what was done to them.
    """
    return Renewal(
        text=head + "".join([*(f"{dumped(entry)}\n" for entry in added), *left]).rstrip("\n") + "\n",
        **counts,
        added=len(added),
        unexplained=sum(entry["reason"] == TODO for entry in added),
    )


def _scored(records: Iterable[Record], cases: Iterable[Case]) -> Iterator[Observed]:
    """The records that passed or failed."""
    variants = {(case.id, variant.id): variant for case in cases for variant in case.variants}
    for record in records:
        variant = variants.get((record.case_id, record.variant))
        if variant is not None and (record.outcome is Outcome.PASS or record.outcome.is_failure):
            yield Observed(record, variant)


def _not_run(records: Iterable[Record], cases: Iterable[Case]) -> list[tuple[str, Variant]]:
    run = {(record.case_id, record.variant) for record in records}
    return [(case.id, variant) for case in cases for variant in case.variants if (case.id, variant.id) not in run]


def _held(current: Sequence[Sequence[Expectation]], seen: Iterable[Observed]) -> tuple[list[_Held], list[Observed]]:
    """Assign each record to the first entry that matches it; failures without an entry are the second result."""
    held, unexpected = [_Held() for _ in current], list[Observed]()
    for observed in seen:
        for index, entry in enumerate(current):
            expectation = match(entry, observed.record.case_id, observed.variant)
            if expectation is not None:
                own = held[index]
                (own.expected if is_as(observed.record, expectation) else own.otherwise).append(observed)
                break
        else:
            unexpected += [observed] if observed.record.outcome.is_failure else []
    return held, unexpected


def is_as(record: Record, expectation: Expectation) -> bool:
    """Whether an entry describes a record."""
    return judge_again(record, expectation).verdict is Verdict.XFAIL


def _renewed(block: str, data: dict[str, Any], held: _Held, *, about_more: bool) -> tuple[str, str]:
    """Return what was done to an entry, as a word, and its new text.

    `about_more`: it matches requests that were not run, of cases for which it is not known to be wrong.
    """
    if not held.otherwise:
        return ("kept", block) if held.expected or about_more else ("removed", "")
    if held.refuted >= {observed.record.case_id for observed in held.expected} and not about_more:
        return "removed" if not held.expected else "narrowed", ""
    return "narrowed", dumped(narrowed(data, held.refuted)) + "\n"


def narrowed(data: Mapping[str, Any], refuted: Collection[str]) -> dict[str, Any]:
    """An entry without the cases for which it does not hold."""
    globs = [data["cases"]] if isinstance(data["cases"], str) else data["cases"]
    left = [glob for glob in globs if glob not in refuted]
    excluded = [case_id for case_id in sorted(refuted) if any(fnmatchcase(case_id, glob) for glob in left)]
    about = {"cases": left, "except": [*data.get("except", []), *excluded]}
    every = about | {key: value for key, value in data.items() if key not in about}
    return {key: value for key, value in every.items() if value != []}


def _rescued(entry: Sequence[Expectation], held: _Held) -> Iterator[Failure]:
    """The records that an entry describes in cases that it is narrowed to exclude."""
    refuted = held.refuted
    for observed in held.expected:
        if observed.record.case_id in refuted:
            yield described_as(observed, entry[0])


def explained(observed: Observed, like: Sequence[Expectation]) -> Failure:
    """A failure with the reason of another backend's entry that describes it, if there is one."""
    model = match(like, observed.record.case_id, observed.variant)
    if model is None or not is_as(observed.record, model):
        return Failure(observed, how(observed.record), Why())
    return described_as(observed, model)


def described_as(observed: Observed, entry: Expectation) -> Failure:
    """A failure with the reason and the error pattern of an entry."""
    packages = tuple(entry.packages.items())
    why = Why(entry.kind.value, entry.reason, entry.issue, entry.torch, packages, entry.platform)
    return Failure(observed, how(observed.record)._replace(raises=entry.raises), why)


def blocks_of(document: Document) -> tuple[str, list[str]]:
    """The text above the first entry, and that of each entry with the comments above it, up to the next."""
    lines = document.text.splitlines(keepends=True)
    starts = [node.start_mark.line for node in document.root.value] if document.root else []
    if not starts:
        return "".join(line for line in lines if line.strip() != "[]"), []
    for number, start in enumerate(starts[1:], 1):
        above = range(start - 1, starts[number - 1], -1)
        starts[number] -= len(list(takewhile(lambda line: lines[line].lstrip().startswith("#"), above)))
    bounds = zip(starts, [*starts[1:], len(lines)], strict=True)
    return "".join(lines[: starts[0]]), ["".join(lines[start:end]) for start, end in bounds]

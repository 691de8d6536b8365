"""Expectations that follow from a run: what is no longer so goes, and what is new waits for somebody to say why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from conformance.catalogue.yaml_source import compose
from conformance.maintenance.expectation_entries import Failure, Seen, Why, as_entries, dumped, how
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
    "Renewal",
    "Shown",
    "blocks_of",
    "described_as",
    "explained",
    "is_as",
    "narrowed",
    "put_together",
    "renew",
    "settled",
    "shown_by",
]


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """The new text of a file, and how many of its entries were kept, narrowed, removed and added.

    `ranged` are those of which only the releases changed that they are for. `unexplained` of those that were added have
    no reason yet.
    """

    text: str
    kept: int = 0
    narrowed: int = 0
    ranged: int = 0
    removed: int = 0
    added: int = 0
    unexplained: int = 0


class Shown(NamedTuple):
    """What a run showed, what it left out, where it was made, and the entries whose reasons may hold here too."""

    seen: Sequence[Seen]
    not_run: Sequence[tuple[str, Variant]]
    host: Host
    like: Sequence[Expectation]


@dataclass(kw_only=True)
class _Held:
    """The records that an entry is about: those that do what it says, and others."""

    expected: list[Seen] = field(default_factory=list)
    otherwise: list[Seen] = field(default_factory=list)


def renew(
    text: str,
    file: str,
    records: Iterable[Record],
    cases: Iterable[Case],
    *,
    host: Host,
    like: Sequence[Expectation] = (),
) -> Renewal:
    """Make a file of expectations say what a run showed.

    An entry stays as it is written where all that was run of what it is about did what it says. One that is partly true
    is narrowed, and one that is not, or is about nothing, is removed. Reasons and issues go on with what is left.

    Args:
        text: the file as it is; may be empty.
        file: its name, for messages.
        records: what was run on the backend.
        cases: every case there is.
        host: where it was run; entries for others stay.
        like: the expectations of another backend, whose reasons hold for what fails in the same way.

    Raises:
        ExpectationError: the file is malformed.
    """
    shown = shown_by(tuple(records), tuple(cases), host, like)
    return settled(text, lambda now: _pass(now, file, shown))


def shown_by(records: Sequence[Record], cases: Sequence[Case], host: Host, like: Sequence[Expectation] = ()) -> Shown:
    """What the records of a run show; the arguments are those of `renew`."""
    return Shown(list(_scored(records, cases)), _not_run(records, cases), host, like)


def settled(text: str, once: Callable[[str], Renewal]) -> Renewal:
    """Renew a text until it stays, and count what was done in all."""
    made = once(text)
    while made.text != text:
        # Where an entry went, one below it may now be about what that one was about.
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


def _pass(text: str, file: str, shown: Shown) -> Renewal:
    """Renew once, each entry held against what it is about as the file stands."""
    document = compose(text if text.strip() else "[]", file)
    written = entries(document)
    current = [tuple(each for each in entry if applies(each, shown.host)) for entry in written]
    held, failing = _held(current, shown.seen)
    failures = [explained(one, shown.like) for one in failing]
    head, blocks = blocks_of(document)
    counts, left = dict.fromkeys(("kept", "narrowed", "removed"), 0), list[str]()
    for index, block in enumerate(blocks):
        about_more = current[index] == () or any(match(current[index], *pair) for pair in shown.not_run)
        word, renewed = _renewed(block, document.data[index], held[index], about_more=about_more)  # type: ignore[index]
        counts[word] += 1
        left += [renewed] if renewed else []
        failures += _rescued(written[index], held[index])
        failures += [explained(one, shown.like) for one in held[index].otherwise if one.record.outcome.is_failure]
    return put_together(head, as_entries(failures, shown.seen), left, **counts)


def put_together(head: str, added: Sequence[Mapping[str, Any]], left: Sequence[str], **counts: int) -> Renewal:
    """The new text, and what became of entries.

    Args:
        head: what stands above the first entry.
        added: new entries. The first entry that matches counts, so these, which name what they are about, stand before
            wider ones.
        left: the texts of those that stay, in their order.
        counts: of what was done with the entries that there were, by word.
    """
    return Renewal(
        text=head + "".join([*(f"{dumped(entry)}\n" for entry in added), *left]).rstrip("\n") + "\n",
        **counts,
        added=len(added),
        unexplained=sum(entry["reason"] == TODO for entry in added),
    )


def _scored(records: Iterable[Record], cases: Iterable[Case]) -> Iterator[Seen]:
    """The records of what passed or failed."""
    variants = {(case.id, variant.id): variant for case in cases for variant in case.variants}
    for record in records:
        variant = variants.get((record.case_id, record.variant))
        if variant is not None and (record.outcome is Outcome.PASS or record.outcome.is_failure):
            yield Seen(record, variant)


def _not_run(records: Iterable[Record], cases: Iterable[Case]) -> list[tuple[str, Variant]]:
    run = {(record.case_id, record.variant) for record in records}
    return [(case.id, variant) for case in cases for variant in case.variants if (case.id, variant.id) not in run]


def _held(current: Sequence[Sequence[Expectation]], seen: Iterable[Seen]) -> tuple[list[_Held], list[Seen]]:
    """Give each record to the first entry that is about it; the failures of which there is none come last."""
    held, unforeseen = [_Held() for _ in current], list[Seen]()
    for one in seen:
        for index, entry in enumerate(current):
            expectation = match(entry, one.record.case_id, one.variant)
            if expectation is not None:
                mine = held[index]
                (mine.expected if is_as(one.record, expectation) else mine.otherwise).append(one)
                break
        else:
            unforeseen += [one] if one.record.outcome.is_failure else []
    return held, unforeseen


def is_as(record: Record, expectation: Expectation) -> bool:
    """Whether a record is what an entry says."""
    return judge_again(record, expectation).verdict is Verdict.XFAIL


def _renewed(block: str, data: dict[str, Any], held: _Held, *, about_more: bool) -> tuple[str, str]:
    """What becomes of an entry, as a word and as its text; `about_more`: than what was run."""
    if not held.otherwise:
        return ("kept", block) if held.expected or about_more else ("removed", "")
    spoilt = {one.record.case_id for one in held.otherwise}
    if spoilt >= {one.record.case_id for one in held.expected}:
        return "removed" if not held.expected else "narrowed", ""
    return "narrowed", dumped(narrowed(data, spoilt)) + "\n"


def narrowed(data: Mapping[str, Any], spoilt: Collection[str]) -> dict[str, Any]:
    """An entry without the cases of which it is not true."""
    globs = [data["cases"]] if isinstance(data["cases"], str) else data["cases"]
    left = [glob for glob in globs if glob not in spoilt]
    excluded = [case_id for case_id in sorted(spoilt) if any(fnmatchcase(case_id, glob) for glob in left)]
    about = {"cases": left, "except": [*data.get("except", []), *excluded]}
    every = about | {key: value for key, value in data.items() if key not in about}
    return {key: value for key, value in every.items() if value != []}


def _rescued(entry: Sequence[Expectation], held: _Held) -> Iterator[Failure]:
    """What an entry says rightly of cases of which it says something else wrongly."""
    spoilt = {one.record.case_id for one in held.otherwise}
    for one in held.expected:
        if one.record.case_id in spoilt:
            yield described_as(one, entry[0])


def explained(one: Seen, like: Sequence[Expectation]) -> Failure:
    """A failure with the reason that another backend gives for the same one, if there is one."""
    model = match(like, one.record.case_id, one.variant)
    if model is None or not is_as(one.record, model):
        return Failure(one, how(one.record), Why())
    return described_as(one, model)


def described_as(one: Seen, entry: Expectation) -> Failure:
    """A failure for the reason of an entry, and known by the same words."""
    packages = tuple(entry.packages.items())
    why = Why(entry.kind.value, entry.reason, entry.issue, entry.torch, packages, entry.platform)
    return Failure(one, how(one.record)._replace(raises=entry.raises), why)


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

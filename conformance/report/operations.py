"""The page of operations: which ones conform on each backend, by module, and what fails of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from conformance.model.enums import OPERATIONS, Outcome
from conformance.model.ladder import by_ladder
from conformance.report import markdown
from conformance.report.links import NOWHERE, Links
from conformance.report.overview import environments, run_commands
from conformance.verdict.first_seen import broken_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.result import Record
    from conformance.report.overview import Source

__all__ = ["operations_page", "what_fails"]

_ABOUT = """\
Operations of PyTorch, as its own descriptions (`op_db`) call them: as function, method, in place and with `out=`, on
several layouts and dtypes, under every ambient mode, forward and backward. An operation conforms on a backend where
each of its requests does that is scored; a request that a backend does not claim, or that is skipped, is not."""
_WORDS = """\
What fails, with the number of requests: *wrong number* (also NaN or an infinite number in another place), *wrong
dtype*, *wrong shape*, *wrong stride*, *no gradient* (there is none, or one where there is none uncompiled), *refused*
(it raises), *not compiled* (PyTorch, or a fallback, did the work), *crash*, *timeout*, or the name of the check."""

_OUTCOMES = {
    Outcome.ERROR: "refused",
    Outcome.VACUOUS: "not compiled",
    Outcome.CRASH: "crash",
    Outcome.TIMEOUT: "timeout",
}
_KINDS = {
    "values": "wrong number",
    "nonfinite": "wrong number",
    "value": "wrong number",
    "dtype": "wrong dtype",
    "shape": "wrong shape",
    "evidence": "not compiled",
}
_CHECKS = {"layout": "wrong stride"}


def operations_page(records: Iterable[Record], sources: Sequence[Source] = (), links: Links = NOWHERE) -> str:
    """The page; empty if no record is of an operation. `sources` are the runs that the records are from."""
    own = [record for record in records if record.case_id.startswith(f"{OPERATIONS}.")]
    if not own:
        return ""
    backends = by_ladder({record.backend for record in own})
    by_group: defaultdict[str, list[Record]] = defaultdict(list)
    for record in own:
        by_group[_group(record)].append(record)
    headers = ["module", "operations", *map(links.backend, backends)]
    rows = [(markdown.code(group), *_counts(by_group[group], backends)) for group in sorted(by_group)]
    return markdown.page(
        "# Operations",
        _ABOUT,
        markdown.table(headers, [*rows, ("total", *_counts(own, backends))], right=range(1, len(headers))),
        _WORDS,
        *(block for group in sorted(by_group) for block in _failing(group, by_group[group], backends, links)),
        *_origin(sources),
    )


def _origin(sources: Sequence[Source]) -> Iterator[str]:
    """What the records were made with, and the commands that make them again."""
    if sources:
        yield "## Environment"
        yield environments(sources)
        yield "## Make the records again"
        yield markdown.fenced("\n".join(run_commands(sources)), "sh")


def what_fails(record: Record) -> str:
    """What fails of a request, in the words of the page; empty if it conforms or is not scored."""
    if not record.outcome.is_failure:
        return ""
    if record.outcome in _OUTCOMES:
        return _OUTCOMES[record.outcome]
    broken = next(iter(broken_in_order(record.checks)), None)
    if broken is None:
        return str(record.outcome)
    first = broken.differences[0] if broken.differences else None
    if first is not None and first.kind == "presence" and broken.check == "gradients":
        return "no gradient"
    return _CHECKS.get(broken.check) or _KINDS.get(first.kind if first else "") or broken.check


def _group(record: Record) -> str:
    return record.case_id.split(".")[1]


def _operation(record: Record) -> str:
    return ".".join(record.case_id.split(".")[1:3])


def _counts(records: Sequence[Record], backends: Sequence[str]) -> Iterator[int | str]:
    """How many operations there are, and of each backend how many conform of those that are scored."""
    yield len({_operation(record) for record in records})
    for backend in backends:
        scored: defaultdict[str, list[bool]] = defaultdict(list)
        for record in records:
            if record.backend == backend and record.verdict.scored:
                scored[_operation(record)].append(not record.outcome.is_failure)
        yield f"{sum(map(all, scored.values()))}/{len(scored)}" if scored else ""


def _failing(group: str, records: Sequence[Record], backends: Sequence[str], links: Links) -> Iterator[str]:
    """The operations of a module that fail on any backend."""
    failures: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for record in records:
        if word := what_fails(record):
            failures[_operation(record)][record.backend][word] += 1
    if failures:
        yield f"## {group}"
        rows = [
            (markdown.code(name), *(_words(failures[name], backend) for backend in backends))
            for name in sorted(failures)
        ]
        yield markdown.table(["operation", *map(links.backend, backends)], rows)


def _words(failures: Mapping[str, Counter[str]], backend: str) -> str:
    counts = failures.get(backend, Counter[str]())
    return ", ".join(f"{word} {count}" for word, count in counts.most_common())

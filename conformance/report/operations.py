"""The page of operations: which ones conform on each backend, by module, and what fails of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from conformance.model.attribution import Cause
from conformance.model.enums import OPERATIONS, Outcome
from conformance.model.ladder import by_ladder
from conformance.report import markdown
from conformance.report.links import NOWHERE, Links
from conformance.report.matrix import panels
from conformance.report.operation_uses import read_uses
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
(it raises), *not compiled* (PyTorch, or a fallback, did the work), *crash*, *timeout*, or the name of the check. In
parentheses, whose fault it is, where that was asked: *mode* (it shows only under a mode), *base* (also without any),
*backward* (also without any, and only where one goes backward), *inherited* (the rung below shows it too), *harness*
(that of the backend: it uses memory of results again, or left the work to something else)."""
_LEFT = """\
Operations that a backend refused, or left to PyTorch or to a fallback, in any of their requests; first those that real
models call most: how many of {functions} functions and modules as published models have them
(`conformance/tests/jobs/practice`) call it, each run once, uncompiled. What the rung below leaves undone too is listed
there alone."""
_SHOWN = 10

_OUTCOMES = {
    Outcome.ERROR: "refused",
    Outcome.VACUOUS: "not compiled",
    Outcome.CRASH: "crash",
    Outcome.TIMEOUT: "timeout",
}
_LEFT_UNDONE = {Outcome.ERROR, Outcome.VACUOUS}
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
    shown = panels(backends)
    return markdown.page(
        "# Operations",
        _ABOUT,
        *(_overview(by_group, names, links) for names in shown),
        *_faults(own, shown, links),
        _WORDS,
        *(block for group in sorted(by_group) for block in _failing(group, by_group[group], shown, links)),
        *_left(own, backends, links),
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


def _overview(by_group: Mapping[str, Sequence[Record]], backends: Sequence[str], links: Links) -> str:
    """How many operations of each module conform on these backends."""
    headers = ["module", "operations", *map(links.backend, backends)]
    rows = [(markdown.code(group), *_counts(by_group[group], backends)) for group in sorted(by_group)]
    total = ("total", *_counts([record for records in by_group.values() for record in records], backends))
    return markdown.table(headers, [*rows, total], right=range(1, len(headers)))


def _counts(records: Sequence[Record], backends: Sequence[str]) -> Iterator[int | str]:
    """How many operations there are, and of each backend how many conform of those that are scored."""
    yield len({_operation(record) for record in records})
    for backend in backends:
        scored: defaultdict[str, list[bool]] = defaultdict(list)
        for record in records:
            if record.backend == backend and record.verdict.scored:
                scored[_operation(record)].append(not record.outcome.is_failure)
        yield f"{sum(map(all, scored.values()))}/{len(scored)}" if scored else ""


def _faults(records: Iterable[Record], shown: Iterable[Sequence[str]], links: Links) -> Iterator[str]:
    """What the failures of each backend are attributed to, a table for each of these groups; nothing if none is."""
    counts = Counter((each.attribution.cause, each.backend) for each in records if each.attribution)
    if counts:
        yield "Failing requests by what they are attributed to:"
    for backends in shown:
        causes = [cause for cause in Cause if any(counts[cause, backend] for backend in backends)]
        rows = [(cause, *(counts[cause, backend] or "" for backend in backends)) for cause in causes]
        if rows:
            yield markdown.table(["", *map(links.backend, backends)], rows, right=range(1, len(backends) + 1))


def _left(records: Iterable[Record], backends: Sequence[str], links: Links) -> Iterator[str]:
    """The operations that each backend refused or left to something else, those first that most models call."""
    left: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for record in records:
        if record.outcome in _LEFT_UNDONE and not _is_inherited(record):
            left[record.backend][_operation(record)][what_fails(record)] += 1
    if not left:
        return
    uses = read_uses()
    yield f"## Left undone\n\n{_LEFT.format(functions=uses.functions)}"
    for backend in [each for each in backends if each in left]:
        names = sorted(left[backend], key=lambda name: (-uses.of(name), name))
        lines = [
            f"{place}. {markdown.code(name)} ({uses.of(name)}): {_listed(left[backend][name])}"
            for place, name in enumerate(names, 1)
        ]
        yield f"### {links.backend(backend)}: {markdown.plural(len(names), 'operation')}"
        yield from markdown.shortened(lines, _SHOWN)


def _is_inherited(record: Record) -> bool:
    return record.attribution is not None and record.attribution.cause is Cause.INHERITED


def _failing(group: str, records: Sequence[Record], shown: Iterable[Sequence[str]], links: Links) -> Iterator[str]:
    """The operations of a module that fail on any backend, a table for each of these groups of backends."""
    failures: defaultdict[str, defaultdict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.outcome.is_failure:
            failures[_operation(record)][record.backend].append(record)
    if failures:
        yield f"## {group}"
    for backends in shown:
        rows = [
            (markdown.code(name), *(_words(failures[name].get(backend, [])) for backend in backends))
            for name in sorted(failures)
            if not failures[name].keys().isdisjoint(backends)
        ]
        if rows:
            yield markdown.table(["operation", *map(links.backend, backends)], rows)


def _words(failures: Sequence[Record]) -> str:
    """What fails of an operation on a backend, and whose fault it is."""
    causes = Counter(str(record.attribution.cause) for record in failures if record.attribution)
    fault = ", ".join(causes) if len(causes) == 1 and causes.total() == len(failures) else _listed(causes)
    words = _listed(Counter(map(what_fails, failures)))
    return f"{words} ({fault})" if fault else words


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in counts.most_common())

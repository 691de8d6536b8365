"""Two runs held against each other: what fails anew, what was fixed, what became slower, what is counted otherwise.

Runs are of two versions of torch, two commits, or two backends. What is compared is what happened, whatever the
expectations say of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from conformance import record, stats, timing_file
from conformance.errors import UsageError
from conformance.frame import find_kinds
from conformance.model import Outcome, Record, Verdict
from conformance.report import markdown
from conformance.timing import GATES, Speed, Timing
from conformance.timing_frame import smallest_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.stats import Estimate
    from conformance.timing import Phase

__all__ = ["Comparison", "Run", "compare", "load"]

_MOST = 50  # rows of a table
_INSTRUCTIONS = 0.01  # by which Callgrind's counts of one program may differ, as a share
_EVIDENCE = ("graphs", "graph_breaks", "recompiles")
_KEPT = "saved_bytes"

Key = tuple[str, ...]
Row = tuple[str, ...]
Pair = tuple[Key, Record, Record] | tuple[Key, Timing, Timing]


class Count(NamedTuple):
    """Something that is counted, in two runs."""

    key: Key
    name: str
    before: float
    after: float


class Change(NamedTuple):
    """A ratio to eager in two runs, and the one over the other with its interval."""

    key: Key
    phase: Phase
    before: float
    after: float
    found: Estimate
    speed: Speed


@dataclass(frozen=True, kw_only=True)
class Run:
    """One side of a comparison: records and timings by case and variant, and by backend where there are several."""

    name: str
    records: Mapping[Key, Record]
    timings: Mapping[Key, Timing]
    backends: Sequence[str]
    quiet: bool
    smallest: float

    def without_backend(self) -> Run:
        """The same, where it has one backend only, by case and variant alone."""
        return Run(
            name=self.name,
            records={key[1:]: each for key, each in self.records.items()},
            timings={key[1:]: each for key, each in self.timings.items()},
            backends=self.backends,
            quiet=self.quiet,
            smallest=self.smallest,
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two runs. Pairs are before and after; `matched` counts what both have."""

    before: Run
    after: Run
    smallest: float
    matched: int
    broken: Sequence[Pair]
    fixed: Sequence[Pair]
    changed: Sequence[Pair]
    dropped: Sequence[Pair]
    gone: Sequence[Key]
    added: Sequence[Key]
    timed: Sequence[Change]
    counted: Sequence[Count]

    def red(self, gates: Iterable[str] = GATES) -> bool:
        """Whether one of the gates is closed."""
        closed = {
            "failures": bool(self.broken or self.changed or self.dropped),
            "timing": any(change.speed is Speed.SLOWER for change in self.timed),
            "metrics": any(count.after > count.before for count in self.counted),
        }
        return any(closed[gate] for gate in gates)

    def markdown(self) -> str:
        """The comparison as it may stand in a comment of a pull request."""
        return "\n\n".join(block for block in self._blocks() if block) + "\n"

    def _blocks(self) -> Iterator[str]:
        decided = [change for change in self.timed if change.speed is not Speed.UNDECIDED]
        yield f"### {markdown.plain(self.before.name)} against {markdown.plain(self.after.name)}"
        yield self._summary()
        yield from _section("New failures", ("", "before", "after", "why"), map(_what_broke, self.broken))
        yield from _section("Fixed", ("", "before", "after"), map(_what_was, self.fixed))
        yield from _section("Fails otherwise", ("", "before", "after"), map(_what_was, self.changed))
        yield from _section("No longer run", ("", "before", "after", "why"), map(_what_broke, self.dropped))
        headers = ("", "phase", "ratio before", "after", f"change ({stats.LEVEL:.0%} interval)", "")
        yield from _section("Timing", headers, map(_how_fast, decided))
        yield from _section("Counted", ("", "what", "before", "after"), map(_how_many, self.counted))
        yield from _section("Only before", ("",), [(_words(key),) for key in self.gone])
        yield from _section("Only after", ("",), [(_words(key),) for key in self.added])

    def _summary(self) -> str:
        speeds = [change.speed for change in self.timed]
        slower, faster = speeds.count(Speed.SLOWER), speeds.count(Speed.FASTER)
        parts = [
            f"{markdown.plural(self.matched, 'request')} in both",
            f"**{markdown.plural(len(self.broken), 'new failure')}**",
            f"{len(self.fixed)} fixed",
            f"{len(self.changed)} failing otherwise",
            f"{len(self.dropped)} no longer run",
            f"{markdown.plural(len(self.counted), 'count')} changed",
            f"{len(self.gone)} only before",
            f"{len(self.added)} only after",
        ]
        if speeds:
            parts.append(f"of {markdown.plural(len(speeds), 'timing')} {slower} slower and {faster} faster")
            parts.append(f"each by {self.smallest:.0%} or more")
        loud = [run.name for run in (self.before, self.after) if run.timings and not run.quiet]
        refused = f" {' and '.join(loud)}: too noisy for verdicts on speed." if loud else ""
        return f"{', '.join(parts)}.{refused}"


def load(text: str) -> Run:
    """One side as a command line names it: a file or folder, or `PATH@BACKEND` for one backend of it.

    Raises:
        UsageError: there is no such backend in it.
        RecordError: there is no such file, or one cannot be read.
    """
    path, backend = (text, "") if Path(text).exists() else (text.rpartition("@")[0] or text, text.rpartition("@")[2])
    files, timed_files = find_kinds(path)
    timings = [timing_file.read(file) for file in timed_files]
    records = [each for file in files for each in record.read(file).records]
    timed = [each for run in timings for each in run.timings]
    names = sorted({*(each.backend for each in records), *(each.backend for each in timed)})
    if backend and backend not in names:
        message = f"{path} holds nothing of backend {backend!r}; it has {', '.join(names)}"
        raise UsageError(message)
    chosen = [backend] if backend else names
    return Run(
        name=text,
        records={each.key: each for each in records if each.backend in chosen},
        timings={each.key: each for each in timed if each.backend in chosen},
        backends=chosen,
        quiet=all(math.isfinite(smallest_told(run)) for run in timings),
        smallest=max((run.header.smallest for run in timings), default=0.0),
    )


def compare(before: Run, after: Run) -> Comparison:
    """Hold two runs against each other, matched by case and variant, and by backend unless each has only one.

    Raises:
        UsageError: they have nothing in common.
    """
    if len(before.backends) == len(after.backends) == 1:
        before, after = before.without_backend(), after.without_backend()
    old, new = ({**run.timings, **run.records} for run in (before, after))
    shared = sorted(old.keys() & new.keys())
    if not shared:
        message = f"{before.name} and {after.name} have no case and variant in common"
        raise UsageError(message)
    both = list(_pairs(shared, before, after))
    return Comparison(
        before=before,
        after=after,
        smallest=max(before.smallest, after.smallest),
        matched=len(shared),
        broken=[each for each in both if _passes(each[1]) and _fails(each[2])],
        fixed=[each for each in both if _fails(each[1]) and _passes(each[2])],
        changed=[each for each in both if _fails(each[1]) and _fails(each[2]) and _how(each[1]) != _how(each[2])],
        dropped=[each for each in both if _runs(each[1]) and not _runs(each[2])],
        gone=sorted(old.keys() - new.keys()),
        added=sorted(new.keys() - old.keys()),
        timed=list(_changes(before, after)),
        counted=list(_counts(before, after)),
    )


def _pairs(shared: Iterable[Key], before: Run, after: Run) -> Iterator[Pair]:
    """What both runs have of one kind: records, or timings, which say too whether what was to be timed conforms."""
    for key in shared:
        if key in before.records and key in after.records:
            yield key, before.records[key], after.records[key]
        elif key in before.timings and key in after.timings:
            yield key, before.timings[key], after.timings[key]


def _passes(one: Record | Timing) -> bool:
    return one.outcome is Outcome.PASS if isinstance(one, Record) else bool(one.blocks)


def _fails(one: Record | Timing) -> bool:
    return _runs(one) and not _passes(one)


def _runs(one: Record | Timing) -> bool:
    if isinstance(one, Record):
        return one.outcome not in {Outcome.UNSUPPORTED, Outcome.SKIP}
    return one.verdict not in {Verdict.UNSUPPORTED, Verdict.SKIP}


def _how(one: Record | Timing) -> str:
    """The outcome and the checks that decide it; a timing knows neither of a failure."""
    if not isinstance(one, Record):
        return "timed" if one.blocks else "not timed"
    checks = ", ".join(sorted(check.check for check in one.checks if check.breaks))
    return f"{one.outcome}: {checks}" if checks else str(one.outcome)


def _changes(before: Run, after: Run) -> Iterator[Change]:
    quiet, smallest = before.quiet and after.quiet, max(before.smallest, after.smallest)
    for key in sorted(before.timings.keys() & after.timings.keys()):
        old = {blocks.phase: blocks for blocks in before.timings[key].blocks}
        for blocks in after.timings[key].blocks:
            if blocks.phase in old:
                found = stats.change(old[blocks.phase], blocks)
                speed = stats.speed(found, smallest) if quiet else Speed.UNDECIDED
                earlier, later = (stats.ratio(each).value for each in (old[blocks.phase], blocks))
                yield Change(key, blocks.phase, earlier, later, found, speed)


def _counts(before: Run, after: Run) -> Iterator[Count]:
    for key in sorted(before.records.keys() & after.records.keys() | before.timings.keys() & after.timings.keys()):
        old, new = _counted(before, key), _counted(after, key)
        for name in old:
            if name in new and old[name] != new[name]:
                yield Count(key, name, old[name], new[name])
        for phase, ours in _instructions(before, key).items():
            theirs = _instructions(after, key).get(phase, ours)
            if not math.isclose(ours, theirs, rel_tol=_INSTRUCTIONS):
                yield Count(key, f"instructions of {phase}", ours, theirs)


def _counted(run: Run, key: Key) -> dict[str, float]:
    """What does not depend on the clock; eager's own numbers are no matter of the backend's."""
    found: dict[str, float] = {}
    if key in run.records:
        one = run.records[key]
        found |= {name: getattr(one.evidence, name) for name in _EVIDENCE} if one.evidence else {}
        found |= {_KEPT: one.metrics[_KEPT]} if _KEPT in one.metrics else {}
    if key in run.timings:
        metrics = run.timings[key].metrics
        found |= {name: value for name, value in metrics.items() if not name.startswith("eager_")}
    return found


def _instructions(run: Run, key: Key) -> dict[Phase, int]:
    """Those of the backend's program, as Callgrind counted them."""
    found = run.timings[key].instructions if key in run.timings else {}
    return {phase: own for phase, (_, own) in found.items()}


def _section(title: str, headers: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    found = list(rows)
    if not found:
        return
    yield f"#### {title}"
    yield markdown.table(headers, found[:_MOST])
    if len(found) > _MOST:
        yield f"... and {len(found) - _MOST} more."


def _words(key: Key) -> str:
    return markdown.code(" ".join(key))


def _what_was(each: Pair) -> Row:
    key, before, after = each
    return _words(key), _how(before), _how(after)


def _what_broke(each: Pair) -> Row:
    return *_what_was(each), markdown.plain(each[2].message.split("\n", 1)[0])


def _how_fast(change: Change) -> Row:
    found = change.found
    told = f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return _words(change.key), change.phase, f"{change.before:.3f}", f"{change.after:.3f}", told, change.speed


def _how_many(count: Count) -> Row:
    return _words(count.key), count.name, f"{count.before:,.0f}", f"{count.after:,.0f}"

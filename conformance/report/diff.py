"""Two runs compared: what fails anew, what was fixed, what became slower, which counts changed.

Runs are of two versions of torch, two commits, or two backends. Outcomes are compared, not expectations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from conformance.model.errors import UsageError
from conformance.model.result import Record
from conformance.records import record_file
from conformance.records.find import find_kinds
from conformance.records.releases import ordered, refuse_mixed
from conformance.report import markdown
from conformance.timing import stats, timing_file
from conformance.timing.model import GATES, Speed, Timing
from conformance.timing.timing_frame import smallest_detectable
from conformance.verdict import changes
from conformance.verdict.changes import Transition, how

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.timing.model import Phase
    from conformance.timing.stats import Estimate

__all__ = ["Comparison", "Run", "compare", "load"]

_MOST = 50  # rows of a table
_INSTRUCTIONS = 0.01  # by which Callgrind's counts of one program may differ, as a share
_EVIDENCE = ("graphs", "graph_breaks", "recompiles")
_KEPT = "saved_bytes"

_BROKEN = (Transition.REGRESSED, Transition.NOW_VACUOUS)
_RED = (*_BROKEN, Transition.FAILS_OTHERWISE, Transition.NO_LONGER_RUN, Transition.NO_LONGER_JUDGED)
_SECTIONS = {
    "New failures": _BROKEN,
    "Fixed": (Transition.FIXED,),
    "Fails otherwise": (Transition.FAILS_OTHERWISE,),
    "No longer run": (Transition.NO_LONGER_RUN,),
    "Newly run": (Transition.NEWLY_RUN,),
    "No longer judged": (Transition.NO_LONGER_JUDGED,),
    "Newly judged": (Transition.NEWLY_JUDGED,),
}

Key = tuple[str, ...]
Row = tuple[str, ...]
Either = changes.Change["Record"] | changes.Change[Timing]


class Count(NamedTuple):
    """A count in two runs."""

    key: Key
    name: str
    before: float
    after: float


class Pace(NamedTuple):
    """A ratio to uncompiled in two runs, and the ratio of the two with its interval."""

    key: Key
    phase: Phase
    before: float
    after: float
    found: Estimate
    speed: Speed


@dataclass(frozen=True, kw_only=True)
class Run:
    """One side of a comparison: records and timings by case and variant, and by backend where there are several.

    `torch` are the releases that they were made on.
    """

    name: str
    torch: Sequence[str]
    records: Mapping[Key, Record]
    timings: Mapping[Key, Timing]
    backends: Sequence[str]
    quiet: bool
    smallest: float

    def without_backend(self) -> Run:
        """The same by case and variant alone; it must have one backend only."""
        return replace(
            self,
            records={key[1:]: each for key, each in self.records.items()},
            timings={key[1:]: each for key, each in self.timings.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences between two runs; `matched` counts what both have."""

    before: Run
    after: Run
    smallest: float
    matched: int
    changed: Sequence[Either]
    gone: Sequence[Key]
    added: Sequence[Key]
    timed: Sequence[Pace]
    counted: Sequence[Count]

    def of(self, *transitions: Transition) -> list[Either]:
        """The changes with one of these transitions."""
        return [each for each in self.changed if each.transition in transitions]

    def red(self, gates: Iterable[str] = GATES) -> bool:
        """Whether one of the gates fails."""
        closed = {
            "failures": bool(self.of(*_RED)),
            "timing": any(change.speed is Speed.SLOWER for change in self.timed),
            "metrics": any(count.after > count.before for count in self.counted),
        }
        return any(closed[gate] for gate in gates)

    def markdown(self) -> str:
        """The comparison as markdown, as for a comment on a pull request."""
        return "\n\n".join(block for block in self._blocks() if block) + "\n"

    def _blocks(self) -> Iterator[str]:
        decided = [change for change in self.timed if change.speed is not Speed.UNDECIDED]
        yield f"### {markdown.plain(self.before.name)} against {markdown.plain(self.after.name)}"
        yield self._summary()
        for title, transitions in _SECTIONS.items():
            yield from _section(title, ("", "before", "after", "why"), map(_what_became, self.of(*transitions)))
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
            f"**{markdown.plural(len(self.of(*_BROKEN)), 'new failure')}**",
            f"{len(self.of(Transition.FIXED))} fixed",
            f"{len(self.of(Transition.FAILS_OTHERWISE))} failing otherwise",
            f"{len(self.of(Transition.NO_LONGER_RUN))} no longer run",
            f"{markdown.plural(len(self.counted), 'count')} changed",
            f"{len(self.gone)} only before",
            f"{len(self.added)} only after",
        ]
        if speeds:
            parts.append(f"of {markdown.plural(len(speeds), 'timing')} {slower} slower and {faster} faster")
            parts.append(f"each by {self.smallest:.0%} or more")
        loud = [run.name for run in (self.before, self.after) if run.timings and not run.quiet]
        refused = f" {' and '.join(loud)}: too noisy for verdicts on speed." if loud else ""
        return f"{self._releases()}{', '.join(parts)}.{refused}"

    def _releases(self) -> str:
        """The releases of torch on the two sides."""
        old, new = (" and ".join(run.torch) for run in (self.before, self.after))
        return f"torch {old} on both sides: " if old == new else f"torch {old} before, {new} after: "


def load(text: str) -> Run:
    """Load one side as a command line names it: a file or folder, or `PATH@BACKEND` for one backend of it.

    A folder is read as by `conformance.load`: of release folders in it, the newest.

    Raises:
        UsageError: there is no such backend in it.
        RecordError: there is no such file, one cannot be read, or a backend was run on two releases.
    """
    path, backend = (text, "") if Path(text).exists() else (text.rpartition("@")[0] or text, text.rpartition("@")[2])
    files, timed_files = find_kinds(path)
    timings = [timing_file.read(file) for file in timed_files]
    runs = [(file, record_file.read(file)) for file in files]
    refuse_mixed(runs)
    records = [each for _, run in runs for each in run.records]
    timed = [each for run in timings for each in run.timings]
    names = sorted({*(each.backend for each in records), *(each.backend for each in timed)})
    if backend and backend not in names:
        message = f"{path} holds nothing of backend {backend!r}; it has {', '.join(names)}"
        raise UsageError(message)
    chosen = [backend] if backend else names
    headers = [run.header for _, run in runs] + [run.header for run in timings]
    made = {header.environment.torch for header in headers if {info.name for info in header.backends} & {*chosen}}
    return Run(
        name=text,
        torch=ordered(made),
        records={each.key: each for each in records if each.backend in chosen},
        timings={each.key: each for each in timed if each.backend in chosen},
        backends=chosen,
        quiet=all(math.isfinite(smallest_detectable(run)) for run in timings),
        smallest=max((run.header.smallest for run in timings), default=0.0),
    )


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs, matched by case and variant, and by backend unless each has only one.

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
    return Comparison(
        before=before,
        after=after,
        smallest=max(before.smallest, after.smallest),
        matched=len(shared),
        changed=sorted(_changed(before, after), key=lambda each: each.key),
        gone=sorted(old.keys() - new.keys()),
        added=sorted(new.keys() - old.keys()),
        timed=list(_changes(before, after)),
        counted=list(_counts(before, after)),
    )


def _changed(before: Run, after: Run) -> Iterator[Either]:
    """The changes of records, and of timings without a record, whose verdicts count as well."""
    recorded = before.records.keys() & after.records.keys()
    yield from changes.changes(before.records, after.records)
    timed = changes.changes(before.timings, after.timings)
    yield from (each for each in timed if each.key not in recorded)


def _changes(before: Run, after: Run) -> Iterator[Pace]:
    quiet, smallest = before.quiet and after.quiet, max(before.smallest, after.smallest)
    for key in sorted(before.timings.keys() & after.timings.keys()):
        old = {blocks.phase: blocks for blocks in before.timings[key].blocks}
        for blocks in after.timings[key].blocks:
            if blocks.phase in old:
                found = stats.change(old[blocks.phase], blocks)
                speed = stats.speed(found, smallest) if quiet else Speed.UNDECIDED
                earlier, later = (stats.ratio(each).value for each in (old[blocks.phase], blocks))
                yield Pace(key, blocks.phase, earlier, later, found, speed)


def _counts(before: Run, after: Run) -> Iterator[Count]:
    for key in sorted(before.records.keys() & after.records.keys() | before.timings.keys() & after.timings.keys()):
        old, new = _counted(before, key), _counted(after, key)
        for name in old:
            if name in new and old[name] != new[name]:
                yield Count(key, name, old[name], new[name])
        for phase, earlier in _instructions(before, key).items():
            later = _instructions(after, key).get(phase, earlier)
            if not math.isclose(earlier, later, rel_tol=_INSTRUCTIONS):
                yield Count(key, f"instructions of {phase}", earlier, later)


def _counted(run: Run, key: Key) -> dict[str, float]:
    """The counts that do not depend on the clock, without those of the uncompiled program."""
    found: dict[str, float] = {}
    if key in run.records:
        record = run.records[key]
        found |= {name: getattr(record.evidence, name) for name in _EVIDENCE} if record.evidence else {}
        found |= {_KEPT: record.metrics[_KEPT]} if _KEPT in record.metrics else {}
    if key in run.timings:
        metrics = run.timings[key].metrics
        found |= {name: value for name, value in metrics.items() if not name.startswith("eager_")}
    return found


def _instructions(run: Run, key: Key) -> dict[Phase, int]:
    """The instructions of the compiled program, as Callgrind counted them."""
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


def _what_became(each: Either) -> Row:
    """A pass has no message; then the one that it had before is shown."""
    why = _message(each.after) or _message(each.before)
    return _words(each.key), how(each.before), how(each.after), markdown.plain(why.split("\n", 1)[0])


def _message(side: Record | Timing) -> str:
    return side.full_message if isinstance(side, Record) else side.message


def _how_fast(change: Pace) -> Row:
    found = change.found
    interval = f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return _words(change.key), change.phase, f"{change.before:.3f}", f"{change.after:.3f}", interval, change.speed


def _how_many(count: Count) -> Row:
    return _words(count.key), count.name, f"{count.before:,.0f}", f"{count.after:,.0f}"

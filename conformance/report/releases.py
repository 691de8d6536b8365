"""The page of releases of torch side by side: the score on each, and every cell that changed between two of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from conformance.model.enums import Verdict
from conformance.model.ladder import by_ladder
from conformance.records.confirmations import ScriptRun, key_of
from conformance.records.releases import minor
from conformance.report import markdown
from conformance.report.matrix import counted
from conformance.report.overview import FACTS, run_commands
from conformance.verdict.changes import Transition, changes, grouped, how

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.result import Record
    from conformance.records.confirmations import ScriptResult
    from conformance.report.overview import Source
    from conformance.verdict.changes import Change, Group

    Scripts = Mapping[tuple[str, ...], ScriptResult]

__all__ = ["Release", "releases_page"]

_WIDEST = 300  # characters of a message
_HOW_TO_READ = """\
Cases on releases and builds of torch, the oldest first; what was added after a release was run is *only in one*. A cell
says how many requests conform out of those that are scored, then the mark and the number of everything that is no plain
pass; the [legend](README.md#legend) explains the marks. The tables of other pages are of the newest
release here, but for backends of other makers and for timings, which are of the release that their page names."""
_CHANGES = """\
How many requests ended otherwise than on the release before. A change is of what happened, whatever is expected of it.
A request *fails otherwise* where other checks fail, or with another symptom; it is not *run* where it is unsupported or
skipped, and not *judged* where it is invalid. *Scripts*: of each group of changes one stand-alone script, made from a
record that fails, is run on both releases; it agrees where it shows the failure on the side that failed, and not on the
other if that passed."""
_GROUPS = """\
Requests that changed in the same way, with the same symptom and on the same backends, are one group: one of them is
shown in full, all of them are listed. Commands are for an environment with the release on which the request fails."""
_TITLES = {
    Transition.REGRESSED: "Regressed: passes before, fails after",
    Transition.NOW_VACUOUS: "Now vacuous: passes before, compiles nothing after",
    Transition.FIXED: "Fixed: fails before, passes after",
    Transition.FAILS_OTHERWISE: "Fails otherwise",
    Transition.NO_LONGER_RUN: "No longer run: unsupported or skipped after",
    Transition.NEWLY_RUN: "Newly run: unsupported or skipped before",
    Transition.NO_LONGER_JUDGED: "No longer judged: invalid after",
    Transition.NEWLY_JUDGED: "Newly judged: invalid before",
}


@dataclass(frozen=True, kw_only=True)
class Release:
    """The records of one release and build of torch, and the runs that they are of."""

    name: str
    records: Sequence[Record]
    sources: Sequence[Source]


@dataclass(frozen=True, kw_only=True)
class _Step:
    """From one release to the next."""

    before: Release
    after: Release
    groups: Sequence[Group]
    matched: int

    @property
    def title(self) -> str:
        return f"{self.before.name} to {self.after.name}"

    def release_of(self, change: Change[Record]) -> str:
        """The release on which a change shows its failure."""
        return (self.before if change.failing is change.before else self.after).name


def releases_page(releases: Sequence[Release], scripts: Sequence[ScriptResult], report: str) -> str:
    """The page.

    Args:
        releases: the oldest first; at least one.
        scripts: the results of stand-alone scripts.
        report: the command that makes the pages.
    """
    by_key = {script.key: script for script in scripts}
    steps = [_step(before, after) for before, after in pairwise(releases)]
    return markdown.page(
        "# Releases of torch side by side",
        _HOW_TO_READ,
        _scores(releases),
        *([_CHANGES, _overview(steps, by_key), _GROUPS] if steps else []),
        *(block for step in steps for block in _section(step, by_key)),
        "## Environments",
        _environments(releases),
        "## Make this page again",
        _commands(releases, report),
    )


def _step(before: Release, after: Release) -> _Step:
    old, new = map(_by_key, (before, after))
    found = grouped(changes(old, new))
    return _Step(before=before, after=after, groups=found, matched=len(old.keys() & new.keys()))


def _by_key(release: Release) -> dict[tuple[str, ...], Record]:
    return {record.key: record for record in release.records}


def _scores(releases: Sequence[Release]) -> str:
    names = by_ladder(one.backend for release in releases for one in release.records)
    rows = [
        [
            markdown.code(name),
            *(_score([one for one in release.records if one.backend == name]) for release in releases),
        ]
        for name in names
    ]
    return markdown.table(["backend", *(release.name for release in releases)], rows)


def _score(records: Sequence[Record]) -> str:
    found = Counter(record.verdict for record in records)
    counts = {verdict: found[verdict] for verdict in Verdict if found[verdict]}
    red = sum(number for verdict, number in counts.items() if not verdict.is_green)
    return counted(counts) + (f", **{red} red**" if red else "")


def _overview(steps: Sequence[_Step], scripts: Scripts) -> str:
    rows = []
    for step in steps:
        number = Counter(group.transition for group in step.groups for _ in group.changes)
        only = len(_only(step.before, step.after)) + len(_only(step.after, step.before))
        rows.append((step.title, *(number[each] for each in Transition), only, _confirmed(step, scripts)))
    headers = ("from, to", *map(str, Transition), "only in one", "scripts")
    return markdown.table(headers, rows, right=range(1, len(headers) - 1))


def _confirmed(step: _Step, scripts: Scripts) -> str:
    tried = [(group, found) for group in step.groups if (found := _script(group, step, scripts))]
    held = sum(_is_as_recorded(change, result, step) for _, (change, result) in tried)
    failing = sum(group.changes[0].failing is not None for group in step.groups)
    return f"{held} of {len(tried)} agree; {failing - len(tried)} not tried" if failing else ""


def _section(step: _Step, scripts: Scripts) -> Iterator[str]:
    yield f"## {step.title}"
    yield _matched(step)
    for transition, title in _TITLES.items():
        groups = [group for group in step.groups if group.transition is transition]
        if groups:
            number = sum(len(group.changes) for group in groups)
            yield f"### {title} ({markdown.plural(number, 'request')} in {markdown.plural(len(groups), 'group')})"
        for group in groups:
            yield from _group(group, step, scripts)
    for here, there in ((step.before, step.after), (step.after, step.before)):
        yield from _only_on(here, there)


def _matched(step: _Step) -> str:
    both = f"{markdown.plural(step.matched, 'request')} on both"
    hashes = [{source.environment.suite_hash for source in release.sources} for release in (step.before, step.after)]
    note = "" if hashes[0] == hashes[1] else " The cases were not the same, so some of this may be due to them."
    return f"{both}{'.' if step.groups else '; nothing changed.'}{note}"


def _group(group: Group, step: _Step, scripts: Scripts) -> Iterator[str]:
    script = _script(group, step, scripts)
    shown = script[0] if script else group.example
    names = ", ".join(map(markdown.code, group.backends))
    yield f"#### {markdown.plain(_symptoms(group))} ({markdown.plural(len(group.changes), 'request')} on {names})"
    yield "\n".join(_in_full(shown))
    yield "\n".join(filter(None, [*_expected(group, step), _script_text(script, step)]))
    if len(group.changes) > 1:
        lines = "\n".join(map(_in_short, group.changes))
        yield f"<details><summary>All {len(group.changes)} requests</summary>\n\n{lines}\n\n</details>"


def _symptoms(group: Group) -> str:
    before, after = map(str, group.symptoms)
    failing = {Transition.FIXED: before, Transition.REGRESSED: after, Transition.NOW_VACUOUS: after}
    return failing.get(group.transition, before if before == after else f"{before}, then {after}")


def _side(change: Change[Record]) -> Record:
    """The side of which the message and the command are shown."""
    return change.failing or (change.before if change.transition is Transition.NEWLY_RUN else change.after)


def _in_full(change: Change[Record]) -> Iterator[str]:
    shown = _side(change)
    name = f"{markdown.code(shown.backend)} {markdown.code(shown.case_id)} {markdown.code(shown.variant)}"
    yield f"- {name}: {how(change.before)}, then {how(change.after)}"
    sides = [change.before, change.after] if change.transition is Transition.FAILS_OTHERWISE else [shown]
    for side in sides:
        if side.full_message:
            yield markdown.fenced(_first_line(side), indent="  ")
    yield markdown.fenced(shown.reproduce, "sh", indent="  ")


def _in_short(change: Change[Record]) -> str:
    shown = _side(change)
    name = f"{markdown.code(shown.backend)} {markdown.code(shown.case_id)} {markdown.code(shown.variant)}"
    message = f": {markdown.code(_first_line(shown))}" if shown.full_message else ""
    return f"- {name}: {how(change.before)}, then {how(change.after)}{message}; {markdown.code(shown.reproduce)}"


def _first_line(record: Record) -> str:
    line = record.full_message.partition("\n")[0]
    return line if len(line) <= _WIDEST else f"{line[:_WIDEST]}..."


def _expected(group: Group, step: _Step) -> Iterator[str]:
    """The expectations of failures, and how to change them where these are fixed."""
    sides = [(change, change.failing.expectation) for change in group.changes if change.failing]
    reasons: defaultdict[tuple[str, str], dict[str, list[Change[Record]]]] = defaultdict(dict)
    for change, entry in sides:
        if entry:
            reasons[entry.reason, entry.issue or ""].setdefault(entry.entry, []).append(change)
    for (reason, issue), entries in sorted(reasons.items()):
        known = f"Known as {_entries(entries)}: {markdown.plain(reason.rstrip('.'))}"
        own = [change for each in entries.values() for change in each]
        yield f"{known}{f' ({markdown.plain(issue)})' if issue else ''}.{_range(own, step)}"
    if unknown := sum(not entry for _, entry in sides):
        yield f"In no file of expectations: {markdown.plural(unknown, 'request')}."


def _entries(entries: Mapping[str, Sequence[Change[Record]]]) -> str:
    """The entries of one reason: the first of each file, and how many requests the entries of the file match."""
    files: dict[str, tuple[str, int]] = {}
    for where, own in sorted(entries.items(), key=lambda entry: _place(entry[0])):
        file, *_ = _place(where)
        first, number = files.get(file, (where, 0))
        files[file] = (first, number + len(own))
    return ", ".join(f"{markdown.code(first)} ({number})" for first, number in files.values())


def _place(where: str) -> tuple[str, int, int]:
    """File, line and column."""
    file, line, column = where.split(":")
    return file, int(line), int(column)


def _range(own: Sequence[Change[Record]], step: _Step) -> str:
    """How to change an entry that expects a failure of what passes now."""
    if not any(change.after.verdict is Verdict.XPASS for change in own):
        return ""
    end = minor(step.after.name)
    if end == minor(step.before.name):
        return " **It no longer holds**: remove it, or limit it to the build."
    return f' **It no longer holds**: remove it, or limit it with `torch: "<{end}"`.'


def _script(group: Group, step: _Step, scripts: Scripts) -> tuple[Change[Record], ScriptResult] | None:
    """The change of a group of which the script was tried on both sides, or refused."""
    for change in group.changes:
        result = scripts.get(key_of(change.failing, step.release_of(change))) if change.failing else None
        if result and (result.refused or {step.before.name, step.after.name} <= result.statuses.keys()):
            return change, result
    return None


def _is_as_recorded(change: Change[Record], result: ScriptResult, step: _Step) -> bool:
    """Whether a script shows the failure where it was recorded, and not on the other side if that passes."""
    failing = change.failing
    if failing is None or result.refused:
        return False
    shows = {name: ScriptRun(status=status).shows(failing.outcome) for name, status in result.statuses.items()}
    here = step.release_of(change)
    there = step.before.name if here == step.after.name else step.after.name
    return shows[here] and not (change.passes and shows[there])


def _script_text(found: tuple[Change[Record], ScriptResult] | None, step: _Step) -> str:
    if found is None:
        return ""
    change, result = found
    if result.refused:
        return f"There is no stand-alone script: {markdown.plain(result.refused)}."
    ends = [_end(change, result, name) for name in (step.before.name, step.after.name)]
    verdict = "" if _is_as_recorded(change, result, step) else " **The records disagree.**"
    return f"Its stand-alone script, made from the record of {result.release}, {' and '.join(ends)}.{verdict}"


def _end(change: Change[Record], result: ScriptResult, release: str) -> str:
    ended = ScriptRun(status=result.statuses[release])
    is_shown = change.failing is not None and ended.shows(change.failing.outcome)
    return f"{'shows it' if is_shown else 'does not show it'} on {release} ({ended})"


def _only(here: Release, there: Release) -> list[Record]:
    """The records of one release whose requests the other lacks."""
    keys_there = {record.key for record in there.records}
    return sorted((record for record in here.records if record.key not in keys_there), key=lambda record: record.key)


def _only_on(here: Release, there: Release) -> Iterator[str]:
    if own := _only(here, there):
        numbers = Counter((record.case_id, record.backend) for record in own)
        lines = "\n".join(
            f"- {markdown.code(case)} on {markdown.code(backend)} ({number})"
            for (case, backend), number in sorted(numbers.items())
        )
        summary = f"{markdown.plural(len(own), 'request')} only on {here.name}"
        yield f"<details><summary>{summary}</summary>\n\n{lines}\n\n</details>"


def _environments(releases: Sequence[Release]) -> str:
    machines = [release.sources[0].environment for release in releases]
    rows = [(name, *(markdown.plain(str(getattr(machine, name))) for machine in machines)) for name in FACTS]
    packages = sorted({name for machine in machines for name in machine.packages} - {"torch"})
    rows += [(name, *(markdown.plain(machine.packages.get(name, "")) for machine in machines)) for name in packages]
    rows.append(("started", *(machine.started for machine in machines)))
    return markdown.table(["", *(release.name for release in releases)], rows)


def _commands(releases: Sequence[Release], report: str) -> str:
    lines = []
    for release in releases:
        lines.append(f"# in an environment with torch {release.name}")
        lines += run_commands(release.sources)
    pythons = " ".join(f"--python {release.name}=PYTHON" for release in releases)
    confirm = [f"python -m conformance.tests.jobs.confirm_releases {pythons}"] if len(releases) > 1 else []
    return markdown.fenced("\n".join([*lines, "# in any of them", *confirm, report]), "sh")

"""Runs stand-alone scripts on both sides of each change between releases of torch, for `results/releases.md`.

`python -m conformance.tests.jobs.confirm_releases --python 2.13.0+cpu=PYTHON --python 2.14.1+cu130=PYTHON`: of each
group of changes with the same symptom on the same backends one script is made, from the record that fails, and run as
it is with the Python of either release. Its exit status goes into `confirmations.json` beside the records; scripts that
are there already are not run again. The exit code is 1 where a script disagrees with the records.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.isolation import tasks
from conformance.model.errors import UsageError
from conformance.records import confirmations
from conformance.records.confirmations import ScriptResult, ScriptRun, key_of
from conformance.report.runs import published
from conformance.tests.jobs import scripts
from conformance.triage.repro.running import run_file
from conformance.verdict.changes import changes, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from conformance.model.result import Record
    from conformance.records.record_file import RunFile
    from conformance.triage.lookup import Found
    from conformance.verdict.changes import Change, Group

__all__ = ["Wanted", "confirm", "wanted"]

_LIMIT_S = 120.0
_VERSION = "import torch; print(torch.__version__)"


@dataclass(kw_only=True)
class Wanted:
    """A script to be run.

    Args:
        record: that fails.
        run: that it is of.
        release: that it was made on.
        on: where the script is to be run, and whether it has to show the failure there; None is either way.
    """

    record: Record
    run: RunFile
    release: str
    on: dict[str, bool | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """That of its result."""
        return key_of(self.record, self.release)

    def agrees(self, result: ScriptResult) -> bool:
        """Whether its script showed the failure where it has to, and nowhere else."""
        ends = {
            name: ScriptRun(status=result.statuses[name]).shows(self.record.outcome)
            for name in self.on.keys() & result.statuses.keys()
        }
        return not result.refused and all(self.on[name] in {None, ends[name]} for name in ends)


def wanted(
    releases: Mapping[str, Sequence[RunFile]], known: Mapping[tuple[str, ...], ScriptResult], here: Iterable[str]
) -> list[Wanted]:
    """One script for each group of changes between neighbouring releases: where there is one, that which was tried.

    Args:
        releases: the runs by release, the oldest first.
        known: results that are there already.
        here: the releases that scripts can be run on.
    """
    found: dict[tuple[str, ...], Wanted] = {}
    for before, after in pairwise(releases):
        if not {before, after} <= {*here}:
            continue
        for group in grouped(changes(_by_key(releases[before]), _by_key(releases[after]))):
            if (one := _of_group(group, releases, (before, after), known)) is not None:
                found.setdefault(one.key, one).on.update(one.on)
    return list(found.values())


def _by_key(runs: Iterable[RunFile]) -> dict[tuple[str, ...], Record]:
    return {one.key: one for run in runs for one in run.records}


def _of_group(
    group: Group,
    releases: Mapping[str, Sequence[RunFile]],
    step: tuple[str, str],
    known: Mapping[tuple[str, ...], ScriptResult],
) -> Wanted | None:
    """The script of a group; none where nothing fails, or no case is there any more."""
    every = [_wanted(change, releases, step) for change in (group.example, *group.changes)]
    able = [one for one in every if one is not None and scripts.has_case(one.record)]
    return next((one for one in able if one.key in known), able[0] if able else None)


def _wanted(change: Change[Record], releases: Mapping[str, Sequence[RunFile]], step: tuple[str, str]) -> Wanted | None:
    failing = change.failing
    if failing is None:
        return None
    release, other = step if failing is change.before else step[::-1]
    run = next(run for run in releases[release] if failing.backend in {info.name for info in run.header.backends})
    elsewhere = False if change.passes else None
    return Wanted(record=failing, run=run, release=release, on={release: True, other: elsewhere})


def confirm(
    todo: Sequence[Wanted],
    known: Mapping[tuple[str, ...], ScriptResult],
    pythons: Mapping[str, str],
    write: Callable[[Found], str] = scripts.text_of,
    jobs: int = 1,
) -> Iterator[tuple[Wanted, ScriptResult]]:
    """Run what was not run yet, and give the results as they come, those that were there among them.

    Args:
        todo: the scripts.
        known: results that are there already.
        pythons: the interpreter of each release.
        write: gives the text of a script.
        jobs: how many run at a time.
    """
    with ThreadPoolExecutor(jobs) as executor:
        futures = {executor.submit(_result, one, known.get(one.key), pythons, write): one for one in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _result(
    one: Wanted, known: ScriptResult | None, pythons: Mapping[str, str], write: Callable[[Found], str]
) -> ScriptResult:
    backend, case, variant, release, symptom = one.key
    result = known or ScriptResult(backend=backend, case=case, variant=variant, release=release, symptom=symptom)
    missing = [name for name in one.on if name not in result.statuses]
    if result.refused or not missing:
        return result
    try:
        text = write(scripts.found_of(one.record, one.run))
    except UsageError as error:
        return replace(result, refused=str(error))
    with tempfile.TemporaryDirectory(prefix="conformance-confirm-") as folder:
        path = Path(folder, "repro.py")
        path.write_text(text, encoding="utf-8")
        ends = {name: run_file(path, _LIMIT_S, python=pythons[name]).status for name in missing}
    return replace(result, statuses={**result.statuses, **ends})


class _Python(click.ParamType[tuple[str, str]]):
    """`RELEASE=PYTHON`, of which the Python has that release of torch; `PYTHON` alone, for whichever it has."""

    name = "[release=]python"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The release and its interpreter."""
        release, _, python = str(value).rpartition("=")
        try:
            command = [python, "-c", _VERSION]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            self.fail(f"{value!r}: {python or 'nothing'} does not run as a Python with torch: {error}", param, ctx)
        if release not in {"", found}:
            self.fail(f"{value!r}: its torch is {found}, not {release}", param, ctx)
        return found, python


@click.command()
@click.option("--python", "pythons", multiple=True, type=_Python(), help="The Python of a release. Repeatable.")
@click.option(
    "--records",
    default=scripts.RECORDS,
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of release folders.",
)
@click.option("--jobs", "-j", default=os.cpu_count() or 1, show_default=True, help="Scripts at a time.")
def main(pythons: Sequence[tuple[str, str]], records: Path, jobs: int) -> None:
    """Run the script of each group of changes on both releases, and keep what came of it beside the records."""
    path = records / confirmations.NAME
    known = {one.key: one for one in confirmations.read(path)}
    releases = {name: [run for _, run in groups] for name, groups in published([records]).releases.items()}
    todo = wanted(releases, known, dict(pythons))
    done: dict[tuple[str, ...], ScriptResult] = {}
    wrong = 0
    try:
        for one, result in confirm(todo, known, dict(pythons), jobs=jobs):
            done[result.key] = result
            confirmations.write(path, {**known, **done}.values())
            wrong += not one.agrees(result)
            ends = ", ".join(f"{name}: {ScriptRun(status=end)}" for name, end in result.statuses.items())
            mark = "" if one.agrees(result) else "  DOES NOT AGREE"
            click.echo(f"{'/'.join(one.record.key)} of {one.release}: {result.refused or ends}{mark}")
    finally:
        tasks.shutdown()
    click.echo(f"{len(todo) - wrong} of {len(todo)} scripts show what the records say")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

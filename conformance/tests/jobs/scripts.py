"""Whether the scripts of failing records reproduce: `python -m conformance.tests.jobs.scripts [RECORD_FILE ...]`.

Each script runs in a child of its own, as `python script.py` would run it. It exits with 1 where one disagrees with
its record.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click
from packaging.version import Version

from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.enums import Outcome
from conformance.model.errors import UsageError
from conformance.model.request import Request
from conformance.model.result import Attempt, Ended
from conformance.records import record_file, releases
from conformance.tests.jobs import script_child
from conformance.tests.trial import CASES
from conformance.triage.lookup import Found
from conformance.triage.repro import script
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

__all__ = [
    "RECORDS",
    "ScriptOutcome",
    "failing",
    "found_of",
    "has_case",
    "of_this_release",
    "run",
    "sampled",
    "text_of",
]

RECORDS = Path(__file__).parents[3] / "results" / "records"

_LIMIT_S = 120.0
_BY_ID = {case.id: case for case in CASES}


@dataclass(frozen=True, kw_only=True)
class ScriptOutcome:
    """The result of a script: its exit status, if it had one, how it ended otherwise, and its output."""

    status: int | None = None
    ended: str = ""
    output: str = ""

    def shows(self, outcome: Outcome) -> bool:
        """Whether it ended as the script of a record of this outcome has to."""
        if outcome is Outcome.TIMEOUT:
            return "timed out" in self.ended
        if outcome is Outcome.CRASH:
            return self.ended != "" and "timed out" not in self.ended
        return self.status == 1


def run(text: str, timeout_s: float = _LIMIT_S) -> ScriptOutcome:
    """Run a script in a child of the fork server; an exception is no exit status, though Python's would be 1.

    One that leaves a thread running ends itself by `os._exit`, so that its status is that of the child.
    """
    end = tasks.run_task(f"{script_child.__name__}:execute", text, env={}, timeout_s=timeout_s)
    made = tasks.result(Attempt, end)
    if isinstance(made, Attempt):
        return ScriptOutcome(status=int(made.metrics["status"]), output=end.output)
    status = made.status if isinstance(made, Ended) else None
    return ScriptOutcome(status=status, ended=str(made), output=end.output)


def of_this_release() -> list[Path]:
    """The committed record files of the in-tree backends: on the release that is installed, else on the newest."""
    installed = Version(metadata.version("torch")).public
    fitting = [folder for folder in releases.within(RECORDS) if Version(folder.name).public == installed]
    return releases.files(fitting[-1]) if fitting else releases.newest(RECORDS)


def has_case(of: Record) -> bool:
    """Whether the case of a record, and its variant, still are there."""
    return of.case_id in _BY_ID and any(each.id == of.variant for each in _BY_ID[of.case_id].variants)


def failing(file: RunFile) -> list[Found]:
    """The failures of a run whose cases and variants still are there, each with its request."""
    return [found_of(each, file) for each in file.records if each.outcome.is_failure and has_case(each)]


def found_of(of: Record, file: RunFile) -> Found:
    """A record of a run with its request; its case and variant have to be there."""
    case = _BY_ID[of.case_id]
    variant = next(each for each in case.variants if each.id == of.variant)
    info = next(info for info in file.header.backends if info.name == of.backend)
    return Found(record=of, run=file, request=Request(case=case, backend=info, variant=variant, seed=of.seed))


def text_of(found: Found) -> str:
    """The script of a failing record.

    Raises:
        UsageError: there is none.
    """
    return script.render_script(found, _compiler(found.request.backend.ref))


def sampled(found: Iterable[Found], number: int) -> Iterator[Found]:
    """At most so many of each symptom on each backend; 0 is all."""
    taken: Counter[tuple[Symptom, str]] = Counter()
    for each in found:
        key = Symptom.of_record(each.record), each.record.backend
        taken[key] += 1
        if not number or taken[key] <= number:
            yield each


@cache
def _compiler(ref: str) -> script.Compiler:
    return script.compiler(attempts.describe(ref))


@click.command()
@click.argument("files", metavar="[RECORD_FILE ...]", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--sample", metavar="N", default=0, help="At most N records of each symptom on each backend.")
def main(files: Sequence[Path], sample: int) -> None:
    """Run the scripts, and print which do not reproduce."""
    runs = [record_file.read(path) for path in files or of_this_release()]
    stale = sum(each.outcome.is_failure and not has_case(each) for file in runs for each in file.records)
    chosen = [found for file in runs for found in sampled(failing(file), sample)]
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        tried = list(zip(chosen, executor.map(_tried, chosen), strict=True))
    wrong = [(found, run) for found, run in tried if not run.shows(found.record.outcome)]
    click.echo(f"{len(tried) - len(wrong)} of {len(tried)} scripts reproduce; {stale} records have no case any more")
    for symptom, ends in _by_symptom(wrong).items():
        click.echo(f"\n{len(ends)} do not: {symptom}")
        for name, end in ends:
            click.echo(
                f"  {name}: {end.ended.strip() or f'exits with {end.status}'}\n    {end.output.strip()[-300:]!r}"
            )
    sys.exit(1 if wrong else 0)


def _tried(found: Found) -> ScriptOutcome:
    try:
        made = run(text_of(found))
    except UsageError as error:
        made = ScriptOutcome(ended=f"refused: {error}")
    mark = "" if made.shows(found.record.outcome) else "  DOES NOT REPRODUCE"
    click.echo(f"{'/'.join(found.record.key)}{mark}")
    return replace(made, output=made.output[-2000:])


def _by_symptom(wrong: Iterable[tuple[Found, ScriptOutcome]]) -> dict[str, list[tuple[str, ScriptOutcome]]]:
    by: defaultdict[str, list[tuple[str, ScriptOutcome]]] = defaultdict(list)
    for found, end in wrong:
        by[str(Symptom.of_record(found.record))].append(("/".join(found.record.key), end))
    return by


if __name__ == "__main__":
    main()

"""The programs of the issues on the installed torch: with torch alone, and handed to `conformance check`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from conformance.catalogue import sources
from conformance.catalogue.selection import select
from conformance.execution import attempts, runner
from conformance.isolation import torch_release
from conformance.model.enums import Outcome
from conformance.model.errors import UsageError
from conformance.model.moves import NO_MOVES, move_of
from conformance.records import environment
from conformance.tests.jobs.history import witness
from conformance.tests.jobs.results_file import ResultsFile
from conformance.triage import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.result import Record
    from conformance.tests.jobs.history.issues import Issue

__all__ = ["Result", "kept", "read", "run"]

_LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one release does with one issue.

    Args:
        torch: the release.
        number: of the issue.
        shown: whether the release has the issue, with torch alone.
        seen: what torch alone shows, or how it ended.
        outcomes: of the requests of `conformance check`; none if there were none.
        broken: the checks that do not hold.
        message: the first finding.
        suite: the cases of the issue that are red for its reason.
        asked: the cases of the issue that were run.
    """

    torch: str
    number: int
    shown: bool
    seen: str
    outcomes: tuple[Outcome, ...] = ()
    broken: tuple[str, ...] = ()
    message: str = ""
    suite: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def is_red(self, issue: Issue) -> bool:
        """Whether `conformance check` is red for the reason of the issue."""
        return bool({*self.broken} & {*issue.checks} or {*self.outcomes} & {*issue.outcomes})

    @property
    def is_green(self) -> bool:
        """Whether `conformance check` finds nothing."""
        return bool(self.outcomes) and {*self.outcomes} == {Outcome.PASS}


def kept(file: Path) -> ResultsFile[Result]:
    """The results that are kept in a file."""
    return ResultsFile(TypeAdapter(Result), file)


def read(file: Path) -> dict[tuple[str, int], Result]:
    """The results of a file, by release and issue."""
    return {(one.torch, one.number): one for one in kept(file).read()}


def run(issues: Sequence[Issue], file: Path) -> Iterator[Result]:
    """Run what the file does not have for the installed torch, and add it.

    What neither this release nor one in the file has with torch alone is not checked. Cases that an issue has got since
    are run for a result that is there.
    """
    version = torch_release.installed().version
    known = read(file)
    elsewhere = {number for (_, number), result in known.items() if result.shown}
    results = kept(file)
    for issue in issues:
        result = known.get((version, issue.number))
        if result is None:
            result = _run(issue, version)
            if result.shown or issue.number in elsewhere:
                result = _with_cases(_judged(result, issue), issue)
            yield results.add(result)
        elif result.shown and result.asked != issue.cases:
            yield results.add(_with_cases(result, issue))


def _run(issue: Issue, version: str) -> Result:
    seen = witness.seen(issue, _LIMIT_S)
    words = "; ".join(f"{kind}: {text}" for kind, text in seen.differences.items())
    return Result(torch=version, number=issue.number, shown=seen.shows(issue), seen=seen.ended or words)


def _judged(result: Result, issue: Issue) -> Result:
    """The same with what `conformance check` says; it makes no moves but those that are a declared reason."""
    found: list[Record] = []
    declared = [spec.name for spec in map(move_of, issue.checks) if spec]
    for moves in ([NO_MOVES], declared) if declared else ([NO_MOVES],):
        try:
            found += _checked(issue, moves)
        except UsageError as error:
            return _with(result, found, str(error))
        if _with(result, found).is_red(issue):
            break
    return _with(result, found)


def _with(result: Result, found: Sequence[Record], message: str = "") -> Result:
    failed = [record.message for record in found if record.outcome is not Outcome.PASS]
    return replace(
        result,
        outcomes=tuple(record.outcome for record in found),
        broken=tuple(sorted({each.check for record in found for each in record.checks if each.breaks})),
        message=message or next(iter(failed), ""),
    )


def _checked(issue: Issue, moves: list[str]) -> Sequence[Record]:
    options = check.CheckOptions(
        ref=issue.ref,
        backends=[issue.backend],
        said={"moves": moves},
        records=Path(os.devnull),
        timeout_s=_LIMIT_S,
    )
    return check.run(options, lambda _total, _record: None).records


def _with_cases(result: Result, issue: Issue) -> Result:
    return replace(result, suite=_red_cases(issue), asked=issue.cases)


def _red_cases(issue: Issue) -> tuple[str, ...]:
    """The cases of the issue in which a declared check is broken."""
    backend = attempts.describe(issue.backend)
    plan = select([sources.case_called(name) for name in issue.cases], [backend], timeout_s=_LIMIT_S)
    found = runner.records(plan, environment.capture()) if plan.requests else ()
    red = {one.case_id for one in found for each in one.checks if each.breaks and each.check in issue.checks}
    return tuple(sorted(red))

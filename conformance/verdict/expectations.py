"""The known failures of a backend: read from its `<name>.expected.yaml`, matched, and listed once they are stale."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from conformance.catalogue.documents import ExpectationDocument
from conformance.catalogue.validation import validate
from conformance.catalogue.yaml_source import compose
from conformance.model.case import Location
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import ON_REQUEST, Kind, Outcome
from conformance.model.errors import ExpectationError, Problem, UsageError
from conformance.model.request import Expectation
from conformance.model.result import AppliedExpectation
from conformance.model.suggestions import did_you_mean
from conformance.model.versions import holds
from conformance.verdict.judge import where

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from conformance.catalogue.yaml_source import Document
    from conformance.model.case import Case, Variant
    from conformance.model.request import BackendInfo
    from conformance.model.result import Environment, Record

__all__ = [
    "TODO",
    "Host",
    "applies",
    "areas_of",
    "entries",
    "expectation_summary",
    "is_aside",
    "known_as",
    "known_failures",
    "load_expectations",
    "match",
    "refuse_malformed",
    "stale",
]

TODO = "TODO"
"""The reason of an entry written by a command, for the user to replace; a file that contains it is refused."""

_ISSUE = re.compile(r"https://\S+|none found: \S.*")


class Host(NamedTuple):
    """What expectations may depend on: versions of distributions, including torch, and the platform."""

    versions: Mapping[str, str]
    platform: str = ""

    @classmethod
    def of(cls, environment: Environment, backend: BackendInfo | None = None) -> Host:
        """Return the host of a run; a backend adds the versions of its own packages."""
        packages = backend.packages if backend else {}
        return cls({**environment.packages, **packages, "torch": environment.torch}, environment.platform)


def load_expectations(
    path: Path, *, case_ids: Collection[str], checks: Collection[str], host: Host
) -> tuple[Expectation, ...]:
    """Read and check a file of known failures; those for other versions or platforms are checked and left out.

    Args:
        path: the YAML file.
        case_ids: the ids of all cases; each entry must match at least one, unless it is about cases that run only when
            they are asked for, and none of these is there: it is left out then.
        checks: the names of all checks.
        host: where the run is made.

    Raises:
        ExpectationError: with every problem of the file.
    """
    try:
        document = compose(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeError) as error:
        problem = Problem(Location(file=str(path)), f"cannot read the expectations: {error}")
        raise ExpectationError([problem]) from error
    forms, problems = _forms(document)
    areas = areas_of(case_ids)
    for index, form in forms.items():
        problems += _about_cases(form, document, index, case_ids, areas)
        problems += _contradictions(form, document, index, checks)
    if problems:
        raise ExpectationError(problems)
    every = (each for index, form in forms.items() for each in _expectations(form, document, index))
    return tuple(each for each in every if applies(each, host) and not is_aside(each.cases, areas))


def areas_of(case_ids: Iterable[str]) -> frozenset[str]:
    """Return the areas that cases are of."""
    return frozenset(case_id.partition(".")[0] for case_id in case_ids)


def is_aside(glob: str, areas: Collection[str]) -> bool:
    """Whether a glob is about cases that run only when they are asked for, and not of these areas."""
    area = glob.partition(".")[0]
    return area in ON_REQUEST and area not in areas


def known_failures(
    backends: Iterable[BackendInfo], cases: Iterable[Case], machine: Environment
) -> dict[str, tuple[Expectation, ...]]:
    """Return the known failures of each backend that apply on this machine, by backend name.

    Raises:
        ExpectationError: with every problem of the first file that has any.
    """
    ids = {case.id for case in cases}
    return {
        info.name: load_expectations(
            info.expectations, case_ids=ids, checks=CATALOGUE.keys(), host=Host.of(machine, info)
        )
        for info in backends
        if info.expectations is not None
    }


def known_as(file: Path, backends: Sequence[BackendInfo]) -> list[BackendInfo]:
    """Return the only backend, with the given file in place of its own.

    Raises:
        UsageError: there are several backends.
    """
    _refuse_several(backends)
    return [replace(info, expectations=file) for info in backends]


def refuse_malformed(file: Path, refs: Sequence[str], cases: Iterable[Case]) -> None:
    """Refuse a file that is given for several backends, or that has an invalid entry, even one for other hosts.

    Args:
        file: the file of expectations.
        refs: specs of the backends.
        cases: all cases.

    Raises:
        UsageError: there are several backends.
        ExpectationError: with every problem of the file.
    """
    _refuse_several([*dict.fromkeys(refs)])
    load_expectations(file, case_ids={case.id for case in cases}, checks=CATALOGUE.keys(), host=Host({}))


def _refuse_several(backends: Sequence[object]) -> None:
    if len(backends) > 1:
        message = f"--expectations is for one backend, and {len(backends)} are to run; choose one with --backend"
        raise UsageError(message)


def applies(entry: Expectation, host: Host) -> bool:
    """Whether the conditions of an entry hold; a condition on a package that is not installed does not."""
    required = {**entry.packages, **({"torch": entry.torch} if entry.torch else {})}
    versions = all(holds(required[name], host.versions.get(name, "")) for name in required)
    return versions and (entry.platform is None or fnmatchcase(host.platform, entry.platform))


def entries(document: Document) -> list[tuple[Expectation, ...]]:
    """Read each entry of a file as written: one expectation for each glob, which may match nothing.

    Raises:
        ExpectationError: with every problem of their form.
    """
    forms, problems = _forms(document)
    if problems:
        raise ExpectationError(problems)
    return [_expectations(form, document, index) for index, form in forms.items()]


def match(expectations: Iterable[Expectation], case_id: str, variant: Variant) -> Expectation | None:
    """Return the first entry for a case and variant, or None."""
    for entry in expectations:
        if _about(entry, case_id) and entry.variants.items() <= variant.axes.items():
            return entry
    return None


def stale(
    expectations: Iterable[Expectation], records: Iterable[Record], omitted: Collection[tuple[str, Variant]] = ()
) -> list[Expectation]:
    """Return the entries to delete: they apply to no record of the run, nor to a request that it omitted.

    Args:
        expectations: all entries of the backend.
        records: those of the complete run.
        omitted: cases and variants that only a run of all generated cases includes.
    """
    used = {record.expectation.entry for record in records if record.expectation is not None}
    unused = [entry for entry in expectations if where(entry) not in used]
    return [entry for entry in unused if not any(match((entry,), *request) for request in omitted)]


def expectation_summary(expectation: Expectation | None) -> AppliedExpectation | None:
    """Return what a record stores about the entry that applied to it."""
    if expectation is None:
        return None
    return AppliedExpectation(
        kind=expectation.kind, reason=expectation.reason, entry=where(expectation), issue=expectation.issue
    )


def _about(entry: Expectation, case_id: str) -> bool:
    return fnmatchcase(case_id, entry.cases) and not any(fnmatchcase(case_id, glob) for glob in entry.excluded)


def _forms(document: Document) -> tuple[dict[int, ExpectationDocument], list[Problem]]:
    """The valid entries by number, and the problems of the others."""
    forms, problems = dict[int, ExpectationDocument](), list(document.problems)
    if not isinstance(document.data, list):
        if document.data is not None or not problems:
            hint = "Delete it if it has none."
            problems.append(document.problem((), "a file of expectations is a list of entries", hint))
        return forms, problems
    for index, data in enumerate(document.data):
        form, wrong = validate(ExpectationDocument, document, data, (index,))
        problems += wrong
        if form is not None:
            forms[index] = form
    return forms, problems


def _expectations(entry: ExpectationDocument, document: Document, index: int) -> tuple[Expectation, ...]:
    return tuple(_build(entry, glob, document.location(at)) for at, glob in _globs(entry, index))


def _globs(entry: ExpectationDocument, index: int) -> list[tuple[tuple[int | str, ...], str]]:
    """Each glob with its location; each becomes an entry of its own, which can be stale."""
    if isinstance(entry.cases, str):
        return [((index, "cases"), entry.cases)]
    return [((index, "cases", number), glob) for number, glob in enumerate(entry.cases)]


def _about_cases(
    entry: ExpectationDocument, document: Document, index: int, case_ids: Collection[str], areas: Collection[str]
) -> Iterator[Problem]:
    """Problems with the cases that an entry names, in a suite of these cases, which are of these areas."""
    for at, glob in _globs(entry, index):
        # Most globs are plain ids, and there are hundreds of entries and thousands of cases.
        if glob in case_ids or is_aside(glob, areas):
            continue
        if not any(fnmatchcase(case_id, glob) for case_id in case_ids):
            yield document.problem(at, f"no case matches {glob!r}", did_you_mean(glob, case_ids))
    if not any(is_aside(glob, areas) for _, glob in _globs(entry, index)):
        yield from _unused_excludes(entry, document, index, case_ids)


def _contradictions(
    entry: ExpectationDocument, document: Document, index: int, checks: Collection[str]
) -> Iterator[Problem]:
    """Problems between keys, and with names of checks."""
    for number, check in enumerate(entry.checks):
        if check not in checks:
            yield document.problem((index, "checks", number), f"unknown check {check!r}", did_you_mean(check, checks))
    if entry.also and not entry.checks:
        yield document.problem((index, "also"), "'also' needs 'checks', which name what always fails", key=True)
    if bool(entry.checks) != (entry.outcome == "fail"):
        yield document.problem((index, "checks"), "checks are named where the outcome is fail, and only there")
    if entry.reason.strip() == TODO:
        yield document.problem((index, "reason"), "the reason is still to be written", "Say why it fails.")
    yield from _about_raises(entry, document, index)
    yield from _about_issue(entry, document, index)


def _unused_excludes(
    entry: ExpectationDocument, document: Document, index: int, case_ids: Collection[str]
) -> Iterator[Problem]:
    if not entry.excluded:
        return
    globs = [glob for _, glob in _globs(entry, index)]
    matched = [case_id for case_id in case_ids if any(fnmatchcase(case_id, glob) for glob in globs)]
    for number, glob in enumerate(entry.excluded):
        if not any(fnmatchcase(case_id, glob) for case_id in matched):
            yield document.problem((index, "except", number), f"{glob!r} excludes nothing", did_you_mean(glob, matched))


def _about_raises(entry: ExpectationDocument, document: Document, index: int) -> Iterator[Problem]:
    at = (index, "raises")
    if entry.raises is None:
        if entry.outcome == "error":
            yield document.problem(at, "an expected error needs 'raises'", "A regular expression for 'Type: message'.")
        return
    if entry.outcome not in {"error", "crash"}:
        yield document.problem(at, f"'raises' means nothing where the outcome is {entry.outcome}", key=True)
    try:
        re.compile(entry.raises)
    except re.error as error:
        yield document.problem(at, f"not a regular expression: {error}")


def _about_issue(entry: ExpectationDocument, document: Document, index: int) -> Iterator[Problem]:
    if entry.issue is None and entry.kind != "bug":
        return
    if entry.issue is None or not _ISSUE.fullmatch(entry.issue):
        hint = "the https:// address of an issue, or 'none found: <the words you searched for>'."
        problem = "a bug needs an issue" if entry.issue is None else f"not an issue: {entry.issue!r}"
        yield document.problem((index, "issue"), problem, hint)


def _build(entry: ExpectationDocument, glob: str, location: Location) -> Expectation:
    return Expectation(
        cases=glob,
        outcome=Outcome(entry.outcome),
        kind=Kind(entry.kind),
        reason=entry.reason,
        location=location,
        excluded=tuple(entry.excluded),
        variants={axis: _text(value) for axis, value in entry.variants.items()},
        checks=frozenset(entry.checks),
        also=frozenset(entry.also),
        raises=entry.raises,
        torch=entry.torch,
        packages=entry.packages,
        platform=entry.platform,
        issue=entry.issue,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

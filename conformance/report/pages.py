"""Markdown pages from record files: pure functions of the records, so that drift between the two can be refused.

A folder of pages that has a folder `records` in it is published: only whole runs get there, and each backend gets a
badge. Elsewhere the pages of a partial run state at their top what was run and what was not. `document` makes one text
of all pages.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING

from conformance.model.enums import Capability
from conformance.model.errors import RecordError, RecordFileError
from conformance.records import confirmations, find, frame
from conformance.records.record_file import mixed_with, publishable
from conformance.report import markdown, statement
from conformance.report.backend_page import backend_page
from conformance.report.benchmarks import benchmarks_page
from conformance.report.coverage import coverage
from conformance.report.links import Links
from conformance.report.markdown import MARKER, code, page_name, plain
from conformance.report.operations import operations_page
from conformance.report.overview import Source, overview
from conformance.report.plots import available, draw, draw_profile, profile_plot
from conformance.report.releases import Release, releases_page
from conformance.report.root_causes import profile_table
from conformance.report.runs import gathered, published
from conformance.timing import timing_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.model.case import Family
    from conformance.model.request import BackendInfo
    from conformance.records.record_file import RunFile
    from conformance.report.runs import Group, Published

__all__ = ["changes", "document", "images", "pages", "write"]

_RECORDS = "records"
_BADGES = "badges"
_OVERVIEW = "README.md"
_COVERAGE = "coverage.md"
_BENCHMARKS = "benchmarks.md"
_RELEASES = "releases.md"
_OPERATIONS = "operations.md"
_BESIDE = {
    _BENCHMARKS: "How fast: [benchmarks]({}).",
    _RELEASES: "What changed between releases of torch: [releases]({}).",
    _OPERATIONS: "Which operations conform: [operations]({}).",
}


def write(records: Sequence[Path], folder: Path) -> list[Path]:
    """Bring the pages of a folder up to date with record files.

    Pages that an earlier report made and this one does not are removed; no other file is touched.

    Args:
        records: record files, or folders of them.
        folder: where the pages are; made if it does not exist.

    Returns:
        The pages, and with matplotlib the plots, that were written or removed: none, when nothing changed.

    Raises:
        RecordError: a file is not publishable and the folder is, two files have one backend, or the folder cannot
            be written.
    """
    runs = _runs(records, folder)
    todo = _changes(runs, records, folder) | _plots(runs, records, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in todo.items():
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(text.encode())
    except OSError as error:
        message = f"cannot write the pages: {error}"
        raise RecordError(message) from error
    return list(todo)


def changes(records: Sequence[Path], folder: Path) -> dict[Path, str | None]:
    """Return what `write` would do but for plots: path -> its new text, or None where it would be removed."""
    return _changes(_runs(records, folder), records, folder)


def _changes(runs: Published | None, records: Sequence[Path], folder: Path) -> dict[Path, str | None]:
    made = _pages(runs, records, folder) | (_badges(runs) if runs and (folder / _RECORDS).is_dir() else {})
    rendered = {folder / name: text for name, text in made.items()}
    todo: dict[Path, str | None] = {path: text for path, text in rendered.items() if _read(path) != text}
    earlier = [path for path in sorted(folder.glob("*.md")) if _read(path).startswith(MARKER)]
    earlier += sorted(folder.glob(f"{_BADGES}/*.svg"))
    # Timings alone do not determine which pages of backends there should be.
    return todo | (
        dict.fromkeys(path for path in earlier if path not in rendered) if folder / _OVERVIEW in rendered else {}
    )


def _read(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def pages(records: Sequence[Path], folder: Path) -> dict[str, str]:
    """Return the pages by file name; those that are in `folder` already are not read.

    Records give an overview and a page for each backend, timings a page of their own; either may be missing. Of record
    files in folders named after releases of torch those of the newest count, and all of them give a page of releases.
    Pages in a checkout link to its cases and clauses, of which the lines are read.
    """
    return _pages(_runs(records, folder), records, folder)


def _runs(records: Sequence[Path], folder: Path) -> Published | None:
    """The runs that the pages of a folder are of; None where there are timings alone."""
    if not find.find_kinds(*records)[0]:
        return None
    return published(records) if (folder / _RECORDS).is_dir() else gathered(records)


def _pages(runs: Published | None, records: Sequence[Path], folder: Path) -> dict[str, str]:
    timings = find.find_kinds(*records)[1]
    if runs is None:
        return _benchmarks(timings, folder, Links.beside(folder, ()))
    links = Links.beside(folder, {one.backend for _, run in runs.tables for one in run.records})
    report = _report(records, folder)
    beside = _benchmarks(timings, folder, links) | _releases(runs, records, folder, report)
    beside |= _operations(runs, folder, links)
    return _conformance(runs, folder, report, tuple(beside), links) | beside


def document(records: Sequence[Path], folder: Path) -> str:
    """The pages of record files as one text, partial runs included; links between pages lead to headings."""
    return markdown.joined(pages(records, folder))


def _report(records: Sequence[Path], folder: Path) -> str:
    """The command that makes the pages."""
    named = [word for name in sorted({_name(path, folder) for path in records}) for word in ("--records", name)]
    return shlex.join(["conformance", "report", *named, "--output", folder.resolve().name])


def _plots(runs: Published | None, records: Sequence[Path], folder: Path) -> dict[Path, str | None]:
    """The plots that would be written; another version of matplotlib draws others, so `changes` omits them."""
    return {folder / name: text for name, text in _images(runs, records).items() if _read(folder / name) != text}


def images(records: Sequence[Path], folder: Path) -> dict[str, str]:
    """The plots of the pages of a folder as SVG, by the names that pages have for them; none without matplotlib."""
    return _images(_runs(records, folder), records)


def _images(runs: Published | None, records: Sequence[Path]) -> dict[str, str]:
    if not available():
        return {}
    timings = find.find_kinds(*records)[1]
    return (draw(timing_file.read(timings[0])) if timings else {}) | (_profiles(runs) if runs else {})


def _profiles(runs: Published) -> dict[str, str]:
    """The heat map of each backend that fails anywhere."""
    every = [entry for _, run in runs.tables for entry in run.records]
    rows, checks = frame.of(every), frame.checks_of(every)
    made = {}
    for backend in map(str, rows["backend"].unique()):
        own = rows[rows["backend"] == backend]
        counts = profile_table(own, checks[checks["backend"] == backend])
        if not counts.empty:
            made[profile_plot(backend)] = draw_profile(counts, own.groupby("area").size())
    return made


def _badges(runs: Published) -> dict[str, str]:
    """A badge for each backend of whole runs, by the name of its file."""
    stated = statement.of_runs(run for _, run in runs.tables)
    return {
        f"{_BADGES}/{page_name(backend).removesuffix('.md')}.svg": statement.svg(statement.badge(each))
        for backend, each in stated.items()
    }


def _benchmarks(timings: Sequence[Path], folder: Path, links: Links) -> dict[str, str]:
    if not timings:
        return {}
    if len(timings) > 1:
        message = f"{' and '.join(map(str, timings))}: there is one page of timings, so remove all but one file"
        raise RecordFileError(message)
    (path,) = timings
    run = timing_file.read(path)
    if (folder / _RECORDS).is_dir() and (reason := timing_file.publishable(run)):
        message = f"{path}: cannot be published: {reason}"
        raise RecordFileError(message)
    return {_BENCHMARKS: benchmarks_page(run, _name(path, folder), folder.resolve().name, links)}


def _conformance(
    published: Published, folder: Path, report: str, beside: Sequence[str], links: Links
) -> dict[str, str]:
    runs = [run for _, run in published.tables]
    sources = [_source(group, folder) for group in published.tables]
    rungs = frame.with_torch(run for groups in published.releases.values() for _, run in groups)
    rows = frame.of(frame.with_torch(runs), beside=rungs)
    checks = frame.checks_of(entry for run in runs for entry in run.records)
    made = {
        _OVERVIEW: overview(rows, sources, report, [_BESIDE[page].format(page) for page in beside], published.partial),
        _COVERAGE: coverage(rows, checks, _families(runs), links),
    }
    for run in runs:
        for info in run.header.backends:
            own = rows[rows["backend"] == info.name]
            if len(own):
                about = _about(info, run)
                made[page_name(info.name)] = backend_page(
                    own, checks[checks["backend"] == info.name], about, links, mixed_with(run)
                )
    return made


def _releases(published: Published, records: Sequence[Path], folder: Path, report: str) -> dict[str, str]:
    """The page of releases, if there are folders of them."""
    if not published.releases:
        return {}
    scripts = [one for path in records if path.is_dir() for one in confirmations.read(path / confirmations.NAME)]
    releases = [
        Release(
            name=name,
            records=[entry for _, run in groups for entry in run.records],
            sources=[_source(group, folder) for group in groups],
        )
        for name, groups in published.releases.items()
    ]
    return {_RELEASES: releases_page(releases, scripts, report)}


def _operations(published: Published, folder: Path, links: Links) -> dict[str, str]:
    """The page of operations, if any were run."""
    groups = published.on_request or published.tables
    sources = [_source(group, folder) for group in groups]
    text = operations_page([record for _, run in groups for record in run.records], sources, links)
    return {_OPERATIONS: text} if text else {}


def _families(runs: Sequence[RunFile]) -> list[Family]:
    return list({family.id: family for run in runs for family in run.header.families}.values())


def _source(group: Group, folder: Path) -> Source:
    paths, run = group
    return Source(
        names=tuple(_name(path, folder) for path in paths),
        environment=run.header.environment,
        backends=run.header.backends,
        seed=run.header.seed,
        folders=run.header.folders,
        tags=run.header.selection.tags,
        gated=run.footer.gated if run.footer else {},
    )


def _name(path: Path, folder: Path) -> str:
    """The path relative to the folder's parent, so that pages do not depend on the machine."""
    base = folder.resolve().parent
    return path.resolve().relative_to(base).as_posix() if path.resolve().is_relative_to(base) else path.name


def _mixed(info: BackendInfo, run: RunFile) -> str:
    """How many requests of a backend were run in which environment."""
    counts = Counter(record.fingerprint for record in run.records if record.backend == info.name)
    places = ", ".join(f"{number} in {code(fingerprint)}" for fingerprint, number in counts.most_common())
    return f"**Workers of this run were allowed to differ**; its own environment is {code(mixed_with(run))}: {places}."


def _about(info: BackendInfo, run: RunFile) -> str:
    machine = run.header.environment
    versions = [f"torch {machine.torch}", *(f"{name} {number}" for name, number in sorted(info.packages.items()))]
    parts = ["**Partial run**: see [the overview](README.md)."] if publishable(run) else []
    parts += [_mixed(info, run)] if mixed_with(run) else []
    parts += [f"{plain(info.description)}." if info.description else "", f"Run with {plain(', '.join(versions))}."]
    missing = sorted(Capability.all() - info.capabilities)
    parts.append(f"Not claimed: {', '.join(map(code, missing))}." if missing else "It claims every capability.")
    if info.tolerance:
        claimed = ", ".join(f"{code(dtype)} {error:g}" for dtype, error in sorted(info.tolerance.items()))
        parts.append(f"Relative error it asks to be allowed: {claimed}.")
    if info.bitwise_pointwise:
        parts.append("It claims the bits of uncompiled where all operations are pointwise.")
    if run.footer and (why := run.footer.gated.get(info.name)):
        parts.append(f"**Only the smoke cases were run**: {plain(why)}.")
    return " ".join(part for part in parts if part)

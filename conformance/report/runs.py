"""The runs that pages are made of: whole files, and shards put together.

Partial runs may not be published: `published` refuses them with the reason, `gathered` states how much was run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.model.errors import RecordError, RecordFileError
from conformance.records import record_file, shards
from conformance.records.find import find_every_release, find_kinds
from conformance.records.releases import current, ordered, refuse_misplaced, refuse_mixed, release_of
from conformance.report.markdown import code, page_name, plain, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.records.record_file import RunFile

__all__ = ["Group", "Published", "gathered", "published"]

Group = tuple[tuple["Path", ...], "RunFile"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The runs that pages are made of, each with the files that it comes from, by their names.

    Args:
        tables: those of the tables: the runs in no release folder, and those in that of the newest release.
        releases: those in release folders, by release, the oldest first.
        on_request: those of cases that run only when they are asked for, beside others; of the releases of `tables`.
        partial: of each run that may not be published, what was run and what was not.
    """

    tables: Sequence[Group]
    releases: Mapping[str, Sequence[Group]]
    on_request: Sequence[Group] = ()
    partial: Sequence[str] = ()


def published(paths: Sequence[Path]) -> Published:
    """The runs of record files and of folders of them, those of every release.

    Raises:
        RecordError: a run must not be published, two runs have one backend, or a file is in the folder of another
            release.
    """
    files = sorted(find_every_release(*paths), key=lambda path: (path.name, path))
    runs = {path: record_file.read(path) for path in files}
    for path, run in runs.items():
        refuse_misplaced(path, run)
    on_request = {path: run for path, run in runs.items() if run.header.selection.is_on_request}
    suite = {path: run for path, run in runs.items() if path not in on_request}
    if not suite:
        suite, on_request = on_request, {}
    names = ordered(name for name in map(release_of, suite) if name)
    newest = current({name: max(_started(suite, name)) for name in names})
    return Published(
        tables=_checked(_current(suite, newest)),
        releases={
            name: _checked({path: run for path, run in suite.items() if release_of(path) == name}) for name in names
        },
        on_request=_checked(_current(on_request, newest), record_file.publishable_on_request),
    )


def _started(runs: Mapping[Path, RunFile], release: str) -> list[str]:
    return [run.header.environment.started for path, run in runs.items() if release_of(path) == release]


def _current(runs: Mapping[Path, RunFile], newest: str | None) -> dict[Path, RunFile]:
    """The runs that are in the folder of no release, or of the newest."""
    return {path: run for path, run in runs.items() if release_of(path) in {None, newest}}


def gathered(paths: Sequence[Path]) -> Published:
    """Return what `published` does; where that refuses a run, partial ones too, of the newest release only.

    Raises:
        RecordError: nothing can be read, or two runs have one backend or are of two releases of torch.
    """
    try:
        return published(paths)
    except RecordError:
        return _partial(paths)


def _partial(paths: Sequence[Path]) -> Published:
    files = sorted(find_kinds(*paths)[0], key=lambda path: (path.name, path))
    runs = {path: record_file.read(path) for path in files}
    try:
        groups = _groups(runs)
    except RecordError:  # a shard is missing: each that is there is a run of its own
        groups = [((path,), run) for path, run in runs.items()]
    refuse_mixed([(paths[0], run) for paths, run in groups])
    _refuse_twins(groups)
    partial = [_extent(paths[0], run, reason) for paths, run in groups if (reason := record_file.publishable(run))]
    return Published(tables=groups, releases={}, partial=partial)


def _extent(path: Path, run: RunFile, reason: str) -> str:
    """The extent of a partial run, and what is missing, as markdown."""
    held = Counter(record.backend for record in run.records)
    by_backend = ", ".join(f"{plain(info.name)} {held[info.name]}" for info in run.header.backends)
    chosen = "; ".join(f"{name} {_joined(value)}" for name, value in sorted(run.header.selection.given.items()))
    total = max(run.header.planned, len(run.records))
    missing = total - len(run.records)
    parts = [
        f"{code(path.name)}: {reason}.",
        f"Selection: {plain(chosen)}." if chosen else "",
        f"It holds {len(run.records)} of the {plural(total, 'request')} that were planned ({by_backend});",
        f"{missing} have not been run." if missing else "none of these is missing.",
    ]
    return " ".join(filter(None, parts))


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _checked(
    runs: Mapping[Path, RunFile], unfit: Callable[[RunFile], str | None] = record_file.publishable
) -> list[Group]:
    """The groups of one table, if they may be published; `unfit` says why one may not."""
    groups = _groups(runs)
    for paths, run in groups:
        if reason := unfit(run):
            message = f"{paths[0]}: cannot be published: {reason}"
            raise RecordFileError(message)
    refuse_mixed([(paths[0], run) for paths, run in groups])
    _refuse_twins(groups)
    return groups


def _groups(runs: Mapping[Path, RunFile]) -> list[Group]:
    """Each file alone, but the shards of one plan together."""
    members: dict[object, list[Path]] = {}
    for path, run in runs.items():
        members.setdefault(run.header.digest if run.header.shard else path, []).append(path)
    return [
        (tuple(paths), shards.merge(paths) if runs[paths[0]].header.shard else runs[paths[0]])
        for paths in members.values()
    ]


def _refuse_twins(groups: Iterable[Group]) -> None:
    homes: dict[str, Path] = {}
    for (path, *_), run in groups:
        for info in run.header.backends:
            other = homes.setdefault(page_name(info.name), path)
            if other != path:
                message = f"backend {info.name!r} is in two record files, {other} and {path}: remove one"
                raise RecordFileError(message)

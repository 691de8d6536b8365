"""The runs that may be published: whole files, and shards put together; what may not is refused with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance import record, shards
from conformance.errors import RecordError
from conformance.frame import find_every_release
from conformance.releases import ordered, refuse_misplaced, refuse_mixed, release_of
from conformance.report.markdown import page_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.record import RunFile

__all__ = ["Group", "Published", "published"]

Group = tuple[tuple["Path", ...], "RunFile"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The runs that pages are made of, each with the files that it comes from, by their names.

    Args:
        tables: those of the tables: what stands in no release folder, and what stands in that of the newest release.
        releases: those in release folders, by release, the oldest first.
    """

    tables: Sequence[Group]
    releases: Mapping[str, Sequence[Group]]


def published(paths: Sequence[Path]) -> Published:
    """The runs of record files and of folders of them, those of every release.

    Raises:
        RecordError: a run must not be published, two runs speak of one backend, or a file stands in the folder of
            another release.
    """
    files = sorted(find_every_release(*paths), key=lambda path: (path.name, path))
    runs = {path: record.read(path) for path in files}
    for path, run in runs.items():
        refuse_misplaced(path, run)
    releases = {
        name: _checked({path: run for path, run in runs.items() if release_of(path) == name})
        for name in ordered(name for name in map(release_of, files) if name)
    }
    newest = next(reversed(releases), None)
    tables = {path: run for path, run in runs.items() if release_of(path) in {None, newest}}
    return Published(tables=_checked(tables), releases=releases)


def _checked(runs: Mapping[Path, RunFile]) -> list[Group]:
    """The groups of one table, if they may be published."""
    groups = _groups(runs)
    for paths, run in groups:
        if reason := record.publishable(run):
            message = f"{paths[0]}: cannot be published: {reason}"
            raise RecordError(message)
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
                raise RecordError(message)

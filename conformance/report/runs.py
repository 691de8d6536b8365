"""The runs that may be published: whole files, and shards put together; what may not is refused with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance import record, shards
from conformance.errors import RecordError
from conformance.frame import find_files
from conformance.report.markdown import page_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.record import RunFile

__all__ = ["published"]

Group = tuple[tuple["Path", ...], "RunFile"]


def published(paths: Sequence[Path]) -> list[Group]:
    """The runs of record files, each with the files that it comes from, by their names.

    Raises:
        RecordError: a run must not be published, or two runs speak of one backend.
    """
    files = sorted(find_files(*paths), key=lambda path: (path.name, path))
    groups = _groups({path: record.read(path) for path in files})
    for group, run in groups:
        if reason := record.publishable(run):
            message = f"{group[0]}: cannot be published: {reason}"
            raise RecordError(message)
    _refuse_twins(groups)
    return groups


def _groups(runs: dict[Path, RunFile]) -> list[Group]:
    """Each file alone, but the shards of one plan together."""
    members: dict[object, list[Path]] = {}
    for path, run in runs.items():
        members.setdefault(run.header.digest if run.header.shard else path, []).append(path)
    return [
        (tuple(paths), shards.merge(paths) if runs[paths[0]].header.shard else runs[paths[0]])
        for paths in members.values()
    ]


def _refuse_twins(groups: Sequence[Group]) -> None:
    homes: dict[str, Path] = {}
    for (path, *_), run in groups:
        for info in run.header.backends:
            other = homes.setdefault(page_name(info.name), path)
            if other != path:
                message = f"backend {info.name!r} is in two record files, {other} and {path}: remove one"
                raise RecordError(message)

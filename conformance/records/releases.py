"""Releases of torch: their order, and the folders of records that are named after them.

A folder `2.14.1+cu130` holds the records of runs on that release and build. Of such folders in one place the newest
version counts, and of several builds of it the one that was run last, unless one is given itself.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING

from packaging.version import Version

from conformance.model.errors import RecordFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.records.record_file import RunFile

__all__ = [
    "current",
    "files",
    "minor",
    "newest",
    "ordered",
    "refuse_misplaced",
    "refuse_mixed",
    "release_of",
    "within",
]

_RELEASE = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")


def ordered(releases: Iterable[str]) -> list[str]:
    """Return releases by version, builds of one version by the name of the build; each once."""
    return sorted(set(releases), key=Version)


def minor(release: str) -> str:
    """Return the minor release of a version: `2.14` of `2.14.1+cu130`."""
    version = Version(release)
    return f"{version.major}.{version.minor}"


def release_of(file: Path) -> str | None:
    """Return the release that a file's folder is named after, or None if it is not."""
    name = file.resolve().parent.name
    return name if _RELEASE.fullmatch(name) else None


def within(folder: Path) -> list[Path]:
    """Return the release folders with records in a folder, the oldest first."""
    found = {path.name: path for path in folder.iterdir() if path.is_dir() and _RELEASE.fullmatch(path.name)}
    return [found[name] for name in ordered(found) if files(found[name])]


def current(started: Mapping[str, str]) -> str | None:
    """Return the newest version, in the build on which a run was started last; None if there are no releases.

    Args:
        started: when the last run on a release was started, ISO 8601, by release and build.
    """
    return max(started, key=lambda name: (Version(Version(name).public), started[name], Version(name)), default=None)


def newest(folder: Path) -> list[Path]:
    """Return the files of the newest release folder in a folder, by name; none if there is no such folder."""
    folders = {path.name: path for path in within(folder)}
    last = current({name: _started(path) for name, path in folders.items()})
    return files(folders[last]) if last else []


def files(folder: Path) -> list[Path]:
    """Return the files of records and timings in a folder itself, by name."""
    return sorted(folder.glob("*.jsonl"))


def _started(folder: Path) -> str:
    """When the last run in a folder was started; what cannot be read is refused where it is read whole."""
    last = ""
    for path in files(folder):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError), path.open("rb") as file:
            last = max(last, json.loads(file.readline())["environment"]["started"])
    return last


def refuse_misplaced(path: Path, run: RunFile) -> None:
    """Refuse a file that is in the folder of another release than it was made on.

    Raises:
        RecordError: it is; the message names both.
    """
    folder, made = release_of(path), run.header.environment.torch
    if folder is not None and folder != made:
        message = f"{path}: it was made with torch {made}, and is in the folder of {folder}; move it to {made}/"
        raise RecordFileError(message)


def refuse_mixed(runs: Sequence[tuple[Path, RunFile]]) -> None:
    """Refuse runs of one backend on two releases: their records could not be distinguished.

    Raises:
        RecordError: there are such; the message names both files and both releases.
    """
    homes: dict[str, tuple[Path, str]] = {}
    for path, run in runs:
        torch = run.header.environment.torch
        for info in run.header.backends:
            first, earlier = homes.setdefault(info.name, (path, torch))
            if earlier != torch:
                message = (
                    f"backend {info.name!r} was run on two releases: torch {earlier} in {first}, {torch} in {path}.\n"
                    f"  Name one of them, or put each into a folder named after its release: {earlier}/ and {torch}/"
                )
                raise RecordFileError(message)

"""Find record files: those in a folder, those of one release of torch, and which of them contain timings."""

from __future__ import annotations

from pathlib import Path

from conformance.model.errors import RecordFileError
from conformance.records import releases
from conformance.records.jsonl import reading

__all__ = ["TIMINGS_START", "find_every_release", "find_every_timing", "find_files", "find_kinds", "is_timings"]

TIMINGS_START = b'{"kind":"timings"'
"""Start of every file of timings."""


def is_timings(path: Path) -> bool:
    """Whether a file begins like a file of timings."""
    with reading(f"cannot read {path}"), path.open("rb") as file:
        return file.read(len(TIMINGS_START)) == TIMINGS_START


def find_files(*paths: str | Path) -> list[Path]:
    """Return the files of records or timings at paths; for a folder, every `*.jsonl` in it, by name.

    If a folder contains folders named after releases of torch, those of the newest are included (`releases.py`).

    Raises:
        RecordError: no path is given, or there is no record file at one.
    """
    if not paths:
        message = "no record file is given"
        raise RecordFileError(message)
    return list(dict.fromkeys(file for path in paths for file in _files_at(Path(path))))


def find_kinds(*paths: str | Path) -> tuple[list[Path], list[Path]]:
    """Return the files of `find_files`, separated into records and timings; raises the same."""
    files = find_files(*paths)
    timings = [path for path in files if is_timings(path)]
    return [path for path in files if path not in timings], timings


def find_every_release(*paths: str | Path) -> list[Path]:
    """Return the record files of `find_kinds`, and those of every older release in the folders; raises the same."""
    return _every_release(*paths)[0]


def find_every_timing(*paths: str | Path) -> list[Path]:
    """Return the timings of `find_kinds`, and those of every older release in the folders; raises the same."""
    return _every_release(*paths)[1]


def _every_release(*paths: str | Path) -> tuple[list[Path], list[Path]]:
    older = [folder for path in map(Path, paths) if path.is_dir() for folder in releases.within(path)]
    return find_kinds(*paths, *older)


def _files_at(path: Path) -> list[Path]:
    files = [*releases.files(path), *releases.newest(path)] if path.is_dir() else [path] if path.exists() else []
    if not files:
        message = f"no record file at {path}"
        raise RecordFileError(message)
    return files

"""Files of JSON lines that a run writes as it goes: each line is written at once, whatever happens next."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from conformance.model.errors import RecordError, RecordFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from io import FileIO
    from pathlib import Path

__all__ = [
    "LineFile",
    "as_record_error",
    "conflicts",
    "first_line",
    "is_begun_with",
    "reading",
    "refuse_another",
    "refuse_version",
    "split",
]

_REASON = 300  # characters


class LineFile:
    """A file that is opened at once, so that an unwritable place is known before work starts; a context manager.

    Args:
        path: the file; replaced if it exists and nothing of it is kept.
        start: how a file of this kind begins; a file that begins otherwise is not replaced.
        head: the first line of a file that is begun anew.
        truncate: how many bytes to cut off the end of a file to continue; None begins it anew.

    Raises:
        UsageError: the file exists and is of another kind.
        RecordError: the file cannot be written; so does `put`.
    """

    def __init__(self, path: Path, start: bytes, head: str, *, truncate: int | None = None) -> None:
        self._path = path
        with as_record_error(f"cannot write {path}"):
            if truncate is None:
                _refuse_other_kind(path, start)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: FileIO = path.open("wb" if truncate is None else "r+b", buffering=0)
        try:
            if truncate is None:
                self.put(head)
            else:
                with as_record_error(f"cannot write {path}"):
                    self._file.truncate(self._file.seek(-truncate, os.SEEK_END))
        except RecordError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file, as_record_error(f"cannot write {self._path}"):
            if self._path.is_file():  # /dev/null and pipes have no fsync
                os.fsync(self._file.fileno())

    def put(self, line: str, otherwise: str = "") -> None:
        """Write one line; on failure the error message ends with `otherwise`."""
        data = memoryview(line.encode() + b"\n")
        with as_record_error(f"cannot write {self._path}", otherwise):
            while data:
                data = data[self._file.write(data) :]


def split(path: Path, start: bytes, what: str) -> tuple[list[bytes], int]:
    """Return the complete lines of a file, and the number of bytes of a last line that was cut off.

    Args:
        path: the file.
        start: how a file of this kind begins.
        what: the kind, for error messages.

    Raises:
        RecordFileError: the file cannot be read, or is of another kind.
    """
    with reading(f"cannot read {path}"):
        data = path.read_bytes()
    if not data.startswith(start) and not start.startswith(data):
        message = f"{path}: not {what}"
        raise RecordFileError(message)
    body, newline, rest = data.rpartition(b"\n")
    return (body.split(b"\n") if newline else []), len(rest)


def first_line(path: Path, start: bytes) -> bytes | None:
    """Return the first line of a file, or None if it is cut off, or the file is of another kind or unreadable.

    Args:
        path: the file.
        start: how a file of this kind begins.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError:
        return None
    return line if line.startswith(start) and line.endswith(b"\n") else None


def refuse_another(path: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to continue a file that was started with other parameters.

    Args:
        path: the file.
        before: named parameters that it was started with; a name that only one of the two has is no conflict.
        now: those that it would be continued with.

    Raises:
        UsageError: they conflict; all conflicts are in the message.
    """
    if found := conflicts(before, now):
        differences = "\n  ".join(found)
        message = f"{path}: cannot be continued, it was started with something else:\n  {differences}"
        raise UsageError(message)


def conflicts(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return how the parameters of two runs differ; a name that only one of them has is left out."""
    return [
        f"{name} was {_words(before[name])}, is now {_words(now[name])}"
        for name in before
        if name in now and before[name] != now[name]
    ]


def is_begun_with(
    path: Path, start: bytes, parameters: Callable[[bytes], Mapping[str, object]], now: Mapping[str, object]
) -> bool:
    """Whether a file was started with these parameters, so that it can be continued.

    Args:
        path: the file.
        start: how a file of this kind begins.
        parameters: reads them from its first line; raises ValueError if another version of this package wrote it.
        now: the parameters that it would be continued with.
    """
    line = first_line(path, start)
    if line is None:
        return False
    try:
        return not conflicts(parameters(line), now)
    except ValueError:
        return False


def refuse_version(path: Path, found: int, known: Collection[int]) -> None:
    """Refuse a file in another version of its format.

    Raises:
        RecordFileError: it is.
    """
    if found not in known:
        versions = " and ".join(map(str, sorted(known)))
        message = f"{path}: written in version {found} of the format; this package reads {versions}"
        raise RecordFileError(message)


def _words(value: object) -> object:
    return ", ".join(sorted(map(str, value))) if isinstance(value, frozenset) else value


@contextmanager
def as_record_error(what: str, after: str = "") -> Iterator[None]:
    """Turn an error in a file, or in a line of it, into a RecordError.

    Args:
        what: which file or line.
        after: appended to the reason.
    """
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        message = f"{what}: {_reason(error)}{after}"
        raise RecordError(message) from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn an error in reading a file, or a line of it, into a RecordFileError; `what` is which."""
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        message = f"{what}: {_reason(error)}"
        raise RecordFileError(message) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return str(reason)[:_REASON]


def _refuse_other_kind(path: Path, start: bytes) -> None:
    """Refuse to replace a file of another kind: a mistyped name must not destroy it."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        found = file.read(len(start))
    if not start.startswith(found):
        message = f"{path} is no record file, so it is not replaced; name another with --records"
        raise UsageError(message)

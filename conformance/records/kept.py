"""Default location of runs without `--records`: each has a file of its own in `.conformance`, named by time.

No file is ever replaced, so a pasted command cannot overwrite the records of the run that it came from. The folder may
be deleted at any time.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.errors import UsageError
from conformance.records.jsonl import as_record_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDER", "PUBLISHED", "Kind", "earlier", "last", "last_run", "new", "to_continue"]

FOLDER = Path(".conformance")
"""In the working directory; it contains a .gitignore for itself."""

PUBLISHED = Path("results", "records")
"""The records that the pages of this project are made from, relative to its checkout."""

_STAMP = "%Y%m%d-%H%M%S"
_ATTEMPT_S = 0.002  # names have a resolution of a millisecond


class Kind(StrEnum):
    """The command that made a file."""

    RUN = "run"
    CHECK = "check"
    BENCH = "bench"


def new(kind: Kind) -> Path:
    """Return an empty file for a run that begins now; `last` links to it from now on.

    Raises:
        RecordError: the folder or the file cannot be made.
    """
    with as_record_error(f"cannot write below {FOLDER}", "; --records names another place"):
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / ".gitignore").write_text("*\n", encoding="ascii")
        path = _create_unique(kind)
    _link(kind, path)
    return path


def _create_unique(kind: Kind) -> Path:
    """A new file with a unique name."""
    while True:
        started = datetime.now(UTC)
        path = FOLDER / f"{started.strftime(_STAMP)}-{started.microsecond // 1000:03}-{kind}.jsonl"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            time.sleep(_ATTEMPT_S)
        else:
            return path


def _link(kind: Kind, path: Path) -> None:
    """Point `last` at a file of the folder, atomically."""
    temporary = FOLDER / f".{path.name}.{os.getpid()}"
    with as_record_error(f"cannot write below {FOLDER}"):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(path.name)
        temporary.replace(last(kind))


def last(kind: Kind) -> Path:
    """Return the link to the last run of a kind, whether there is one or not."""
    return FOLDER / f"last-{kind}.jsonl"


def last_run() -> Path:
    """Return the record file of the last `conformance run` in this folder.

    Raises:
        UsageError: there is none.
    """
    try:
        return FOLDER / last(Kind.RUN).readlink()
    except OSError as error:
        message = f"there is no run below {FOLDER} in this folder; --records names a file"
        raise UsageError(message) from error


def to_continue(kind: Kind, belongs: Callable[[Path], bool]) -> Path:
    """Return the file to continue: the newest that belongs to the requested run, else the newest, else a new one.

    Args:
        kind: kind of the run.
        belongs: whether a file is of the requested run.

    Raises:
        RecordError: as for `new`.
    """
    files = earlier(kind)
    if not files:
        return new(kind)
    path = next(filter(belongs, files), files[0])
    _link(kind, path)
    return path


def earlier(*kinds: Kind) -> list[Path]:
    """Return the files of runs, the last first."""
    found = {path for kind in kinds for path in FOLDER.glob(f"[0-9]*-{kind}.jsonl")}
    return sorted(found, reverse=True)

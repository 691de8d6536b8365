"""Every exception of the suite, in one tree.

Which step raises what:

=========  ==================  ==============================================================
step       exception           when
=========  ==================  ==============================================================
load       `CaseError`         a case file is malformed, or a program is outside the subset
plan       `SelectionError`    a name, glob, variant or shard selects nothing
discover   `BackendError`      a backend is unknown, or its module cannot be used
expect     `ExpectationError`  an expectations file is malformed or stale
isolate    `TorchError`        torch is not installed, or older than what the suite supports
isolate    `HarnessError`      the fork server cannot start or died
record     `RecordFileError`   a given file is missing, unreadable, or of another kind
record     `RecordError`       a record file cannot be written, or must not be published
record     `UsageError`        a record file to be continued holds another run
=========  ==================  ==============================================================

A misbehaving backend raises nothing here: what it does is a result, not an error of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.model.case import Location

__all__ = [
    "BackendError",
    "CaseError",
    "ConformanceError",
    "ExpectationError",
    "HarnessError",
    "Problem",
    "ProblemsError",
    "RecordError",
    "RecordFileError",
    "SelectionError",
    "TorchError",
    "UsageError",
]


class ConformanceError(Exception):
    """Base of everything the suite raises on purpose."""

    exit_code: ClassVar[int] = 3


class UsageError(ConformanceError):
    """The caller gave something the suite cannot work with."""

    exit_code = 2


class SelectionError(UsageError):
    """A selection matches nothing, or a shard is malformed."""


class BackendError(UsageError):
    """A backend is unknown or its module cannot be used."""


class TorchError(UsageError):
    """No supported torch is installed."""


class Problem:
    """One mistake at one place of a file.

    Args:
        location: its place.
        message: what is wrong.
        hint: what to do about it; may be empty.
    """

    __slots__ = ("hint", "location", "message")

    def __init__(self, location: Location, message: str, hint: str = "") -> None:
        self.location = location
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}"
        return f"{text}\n  {self.hint}" if self.hint else text


class ProblemsError(UsageError):
    """Bad input files; carries every problem of every file at once.

    Args:
        problems: at least one problem; they are sorted by location.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.location.key))
        super().__init__("\n".join(map(str, self.problems)))


class CaseError(ProblemsError):
    """A case file is malformed or holds a program outside the subset."""


class ExpectationError(ProblemsError):
    """An expectations file is malformed, or an entry matches nothing."""


class RecordError(ConformanceError):
    """A record file cannot be read, continued or written."""


class RecordFileError(RecordError, UsageError):
    """Given record files are missing, unreadable, of another kind, or do not belong together."""

    exit_code = 2


class HarnessError(ConformanceError):
    """The harness itself failed: the fork server did not start, or died."""

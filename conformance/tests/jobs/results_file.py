"""The results of a job in a file, a line of JSON each, so that a job that was killed goes on where it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydantic import TypeAdapter

__all__ = ["ResultsFile"]

T = TypeVar("T")


class ResultsFile(Generic[T]):
    """Results that are read and added; a last line that a killed job has cut is dropped.

    Args:
        kind: of the results.
        path: the file, which need not exist; None keeps nothing.
    """

    def __init__(self, kind: TypeAdapter[T], path: Path | None) -> None:
        self._kind, self._path = kind, path
        text = path.read_bytes() if path and path.exists() else b""
        if path and (cut := len(text.rpartition(b"\n")[2])):
            os.truncate(path, len(text) - cut)

    def read(self) -> list[T]:
        """All results, in their order."""
        lines = self._path.read_bytes().splitlines() if self._path and self._path.exists() else []
        return [self._kind.validate_json(line) for line in lines]

    def rewrite(self, results: Iterable[T]) -> None:
        """Put other results in the place of all that are there."""
        if self._path:
            self._path.write_bytes(b"".join(self._kind.dump_json(each) + b"\n" for each in results))

    def add(self, result: T) -> T:
        """Add a result, and return it."""
        if self._path:
            with self._path.open("ab") as file:
                file.write(self._kind.dump_json(result) + b"\n")
        return result

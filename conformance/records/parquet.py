"""Frames of records as Parquet files, which other tools read and which load fast."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from conformance.model.errors import RecordFileError, UsageError
from conformance.records.jsonl import as_record_error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_named", "read", "write"]

_SUFFIX = ".parquet"


def is_named(path: str | Path) -> bool:
    """Whether a path is that of a Parquet file, by its name."""
    return Path(path).suffix == _SUFFIX


def read(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Return the frame in a file that `write` wrote.

    Args:
        path: of the file.
        columns: that it must have.

    Raises:
        RecordFileError: it cannot be read, or holds another table.
        UsageError: pyarrow is not installed.
    """
    try:
        frame = pd.read_parquet(path, engine=_engine())
    except (OSError, ValueError) as error:
        message = f"cannot read {path}: {error}"
        raise RecordFileError(message) from error
    if missing := [name for name in columns if name not in frame]:
        message = f"{path} is no table of records of this version: it has no column {missing[0]}"
        raise RecordFileError(message)
    return frame


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame, with its dtypes and the order of its categories.

    Raises:
        RecordError: the file cannot be written.
        UsageError: pyarrow is not installed.
    """
    engine = _engine()
    with as_record_error(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, engine=engine, index=False, compression="zstd")


def _engine() -> Literal["pyarrow"]:
    if find_spec("pyarrow") is None:
        message = "Parquet files need pyarrow: pip install 'torch-compile-conformance[parquet]'"
        raise UsageError(message)
    return "pyarrow"

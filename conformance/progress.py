"""A progress bar on a terminal, and silence anywhere else."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from conformance.model import Record, Verdict

__all__ = ["progress", "steps"]


@contextmanager
def progress(total: int, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Callable[[Record], None]]:
    """Give a function to call with each record as it comes; it shows how many there are of each verdict.

    Args:
        total: how many records will come.
        quiet: show nothing.
        stream: where the bar is drawn if that is a terminal; default: stderr, which keeps stdout for results.
    """
    seen: Counter[Verdict] = Counter()
    with steps(total, quiet=quiet, stream=stream) as step:

        def advance(record: Record) -> None:
            seen[record.verdict] += 1
            tally = "  ".join(f"{verdict} {number}" for verdict, number in sorted(seen.items()))
            step(f"{tally}  {record.backend} {record.case_id}")

        yield advance


@contextmanager
def steps(total: int, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Give a function to call after each step, with what was done; the arguments are those of `progress`."""
    stream = stream or sys.stderr
    if quiet or not stream.isatty():
        yield _ignore
        return
    columns = (
        *(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(file=stream)) as bars:
        task = bars.add_task("", total=total)
        yield lambda done: bars.update(task, advance=1, description=done)


def _ignore(_done: str) -> None:
    """Take no notice."""

"""How far a run has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from conformance.model.enums import Verdict
    from conformance.model.result import Record

__all__ = ["Log", "progress", "steps"]

_SHARE = 0.05  # of all, after which a log gets a line
_SHORTEST_S = 5.0  # between two lines: a run of seconds needs none
_SILENCE_S = 30.0  # after which there is a line whatever was done; each time it takes twice as long
_LONGEST_SILENCE_S = 480.0  # since some services end a job that prints nothing for ten minutes
_BAR = 40
_MINUTE_S = 60.0


class Log:
    """Decides when a log gets a line: done of total, a share, what is red so far, and the time that is left.

    A line comes after each 5 %, or after 30 s without one; then after 60 s, 120 s and so on, so that a long run has
    about 25 of them.

    Args:
        total: how many steps there will be.
        clock: gives seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = max(total, 1), clock
        self._began = self._last = clock()
        self._done = self._logged = 0
        self._silence = _SILENCE_S

    def step(self, so_far: str = "") -> str:
        """Count one step; return the line that is due, or ''. `so_far` describes the results so far."""
        self._done += 1
        now = self._clock()
        waited = now - self._last
        has_moved = self._done - self._logged >= self._total * _SHARE and waited >= _SHORTEST_S
        if not has_moved:
            if waited < self._silence:
                return ""
            self._silence = min(2 * self._silence, _LONGEST_SILENCE_S)
        self._logged, self._last = self._done, now
        spent = now - self._began
        left = max(0.0, spent / self._done * (self._total - self._done))
        parts = [f"{self._done}/{self._total} done ({self._done / self._total:.0%})", so_far, _duration(left)]
        return ", ".join(filter(None, parts))


@contextmanager
def progress(
    total: int, *, quiet: bool = False, stream: TextIO | None = None, show: Callable[[Record], str] | None = None
) -> Iterator[Callable[[Record], None]]:
    """Yield a function to call with each record as it comes; it shows how many there are of each verdict.

    Args:
        total: how many records will come.
        quiet: show nothing.
        stream: where it is shown; default: stderr, which keeps stdout for results.
        show: what to print of a record as it comes, if anything; default: nothing.
    """
    counts: Counter[Verdict] = Counter()
    with _shown(total, quiet=quiet, stream=stream) as (step, note):

        def advance(record: Record) -> None:
            counts[record.verdict] += 1
            if show is not None and (text := show(record)):
                note(text)
            tally = "  ".join(f"{verdict} {number}" for verdict, number in sorted(counts.items()))
            red = sum(number for verdict, number in counts.items() if not verdict.is_green)
            step(f"{tally}  {record.backend} {record.case_id}", f"{red} red")

        yield advance


@contextmanager
def steps(total: int, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Yield a function to call after each step, with what was done; the arguments are those of `progress`."""
    with _shown(total, quiet=quiet, stream=stream) as (step, _):
        yield lambda done: step(done, "")


@contextmanager
def _shown(
    total: int, *, quiet: bool, stream: TextIO | None
) -> Iterator[tuple[Callable[[str, str], None], Callable[[str], None]]]:
    """Yield a function that shows a step (as text for a bar and for a log), and one that prints between steps."""
    stream = stream or sys.stderr
    if quiet:
        yield _ignore, _ignore
    elif stream.isatty():
        with _bar(stream) as bar:
            task = bar.add_task("", total=total)

            def moved(now: str, _so_far: str) -> None:
                bar.update(task, advance=1, description=now)

            yield moved, lambda text: bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        log = Log(total)

        def logged(_now: str, so_far: str) -> None:
            if line := log.step(so_far):
                _write(stream, line)

        yield logged, lambda text: _write(stream, text)


def _bar(stream: TextIO) -> Progress:
    """A bar whose numbers are never cut; what is done just now has the rest of the line."""
    console = Console(file=stream, force_jupyter=False)
    whole = Column(no_wrap=True)
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Progress(
        BarColumn(bar_width=min(_BAR, console.width // 5), table_column=whole),
        MofNCompleteColumn(table_column=whole),
        TimeElapsedColumn(table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.description}", markup=False, table_column=rest),
        console=console,
        expand=True,
    )


def _duration(seconds: float) -> str:
    """An approximate duration, for people."""
    if seconds < _MINUTE_S:
        return f"about {seconds:.0f} s left"
    minutes = round(seconds / _MINUTE_S)
    return f"about {minutes} min left" if minutes < _MINUTE_S else f"about {minutes / _MINUTE_S:.1f} h left"


def _write(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _ignore(*_done: str) -> None:
    """Do nothing."""

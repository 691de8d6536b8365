"""The summary that `conformance bench` prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from conformance.report import terminal
from conformance.report.benchmarks import noise, overall, time_of
from conformance.report.run_summary import missing
from conformance.timing import timing_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.timing.bench import BenchResult

__all__ = ["text"]

_FEW = 40  # rows that are shown one by one


def text(result: BenchResult, *, quiet: bool, command: Sequence[str]) -> str:
    """The table of backends, what was not timed, the noise of the machine, and where the timings are.

    Args:
        result: of the run.
        quiet: give the last line only.
        command: the words after `conformance` that started the run, to print how to resume it.
    """
    run = result.run
    timed = sum(bool(timing.blocks) for timing in run.timings)
    last = f"{timed} of {run.header.planned} requests timed; timings in {result.path}"
    if result.interrupted:
        last += f"\nInterrupted; {missing(len(run.timings), run.header.planned, command)}"
    if quiet or not run.timings:
        return last
    headers, rows = overall(run)
    table = terminal.grouped(headers, rows, by=1)
    return "\n\n".join([*_each(result), table, *_untimed(result), noise(run).replace("**", ""), last])


def _each(result: BenchResult) -> Iterator[str]:
    """Each phase of each request, where there are few."""
    rows = timing_frame.of(result.run)
    if rows.empty or len(rows) > _FEW:
        return
    cells = [
        [row["backend"], row["case"], row["variant"], row["phase"], time_of(row["seconds"]), *_ratio(row)]
        for _, row in rows.iterrows()
    ]
    headers = ("backend", "case", "variant", "phase", "time", "ratio to uncompiled", "interval", "")
    yield terminal.grouped(headers, cells, by=3)


def _ratio(row: pd.Series) -> list[str]:
    if pd.isna(row["ratio"]):
        return ["", "", ""]
    return [f"{row['ratio']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", str(row["speed"])]


def _untimed(result: BenchResult) -> Iterator[str]:
    counts = Counter((timing.backend, timing.verdict) for timing in result.run.timings if not timing.blocks)
    for (backend, verdict), number in sorted(counts.items()):
        yield f"{backend}: {number} not timed: {verdict}"
    for timing in result.run.timings:
        if timing.message and timing.verdict.conforms:
            yield f"{' '.join(timing.key)}: {timing.message.partition(chr(10))[0]}"

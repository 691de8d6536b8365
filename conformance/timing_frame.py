"""Files of timings, and of pytest-benchmark, as one tidy pandas frame: a row for each phase of a request."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from conformance import stats, timing_file
from conformance.discover import by_ladder
from conformance.errors import RecordFileError
from conformance.frame import axes_of, categorical, find_files
from conformance.linefile import reading
from conformance.timing import Phase, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from conformance.stats import Estimate
    from conformance.timing import Blocks, Timing
    from conformance.timing_file import TimingRun

__all__ = ["REFERENCE", "by_number", "load_timing", "of", "smallest_told"]

REFERENCE = "uncompiled"
"""The name under which pytest-benchmark times eager itself, which every ratio is to."""

_KEY = ("backend", "area", "case", "variant")
_AXES = ("grad", "autocast", "dtype", "dynamic", "params")
_MEASURED = (
    *("phase", "seconds", "eager_s", "ratio", "low", "high", "speed"),
    *("difference_s", "difference_low", "difference_high", "rounds", "calls", "tool", "instructions"),
)
_RUN = ("threads", "torch", "run_id")
_COLUMNS = (*_KEY, *_AXES, *_MEASURED, *_RUN)
_MEDIAN = "median"


def load_timing(*paths: str | Path) -> pd.DataFrame:
    """One row for each phase that was timed, sorted by backend (in ladder order), case, variant and phase.

    Columns: backend, area, case, variant, the axes as in `load`; phase; seconds (median of one call) and eager_s (that
    of eager beside it); ratio (seconds over eager's, below 1 is faster) with the interval low to high; speed (faster,
    slower, undecided); difference_s (seconds a call takes longer than eager's) with its interval; rounds, calls (of a
    block); tool (`conformance bench` or `pytest-benchmark`); instructions (of one call over eager's); threads, torch,
    run_id; then one column for each metric. Compiling is not paired: it has neither eager_s nor ratio. What
    pytest-benchmark timed is not paired either: its ratio is of two medians, and has no interval and no verdict.

    Args:
        paths: files of `conformance bench`, JSON files of `pytest --benchmark-json`, or folders of which every
            `*.jsonl` is read that holds timings.

    Raises:
        RecordError: a file cannot be read, or none holds timings.
    """
    files = find_files(*paths)
    ours = [path for path in files if path.suffix == ".json" or timing_file.is_timings(path)]
    if not ours:
        message = f"{', '.join(map(str, files))}: no timings, and nothing of pytest-benchmark"
        raise RecordFileError(message)
    return _frame(row for path in ours for row in _rows(path))


def of(run: TimingRun) -> pd.DataFrame:
    """The frame of `load_timing`, from a run in memory."""
    return _frame(_of_run(run))


def _rows(path: Path) -> Iterator[dict[str, object]]:
    if path.suffix == ".json":
        with reading(f"cannot read {path}"):
            yield from _of_pytest(path, json.loads(path.read_text(encoding="utf-8")))
    else:
        yield from _of_run(timing_file.read(path))


def _of_run(run: TimingRun) -> Iterator[dict[str, object]]:
    header = run.header
    told = {"threads": header.conditions.threads, "torch": header.environment.torch, "run_id": header.run_id}
    smallest = smallest_told(run)
    for timing in run.timings:
        for row in _of_timing(timing, smallest):
            yield {**timing.metrics, **_named(timing.backend, timing.case_id, timing.variant), **row, **told}


def smallest_told(run: TimingRun) -> float:
    """The smallest effect that a run can tell: the one that counts, infinite where the machine was ever too noisy."""
    return run.header.smallest if stats.is_quiet(run.noises, run.header.smallest) else math.inf


def _of_timing(timing: Timing, smallest: float) -> Iterator[dict[str, object]]:
    for phase, taken in timing.compiles.items():
        yield {"phase": phase, "seconds": float(pd.Series(taken).median()), "rounds": len(taken), "tool": "bench"}
    for blocks in timing.blocks:
        ratio, instructions = stats.ratio(blocks), timing.instructions.get(blocks.phase)
        yield {
            **_of_blocks(blocks, ratio),
            "speed": stats.speed(ratio, smallest),
            "tool": "bench",
            "instructions": instructions[1] / instructions[0] if instructions else None,
        }


def _of_blocks(blocks: Blocks, ratio: Estimate) -> dict[str, object]:
    eager, candidate = stats.seconds(blocks)
    apart = stats.difference(blocks)
    return {
        "phase": blocks.phase,
        "seconds": candidate,
        "eager_s": eager,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "difference_s": apart.value,
        "difference_low": apart.low,
        "difference_high": apart.high,
        "rounds": len(blocks.ns) // 4,
        "calls": blocks.calls,
    }


def _of_pytest(path: Path, data: Any) -> Iterator[dict[str, object]]:  # noqa: ANN401 - whatever JSON holds
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list):
        message = f"{path}: neither a file of timings nor of pytest-benchmark"
        raise RecordFileError(message)
    ours = [each for each in benchmarks if {"backend", "case", "phase", "variant"} <= each["extra_info"].keys()]
    eager = {_place(each["extra_info"]): each["stats"][_MEDIAN] for each in ours if _backend(each) == REFERENCE}
    for each in ours:
        if _backend(each) == REFERENCE:
            continue
        told, timed = each["extra_info"], each["stats"]
        base = eager.get(_place(told))
        yield {
            **told.get("metrics", {}),
            **_named(told["backend"], told["case"], told["variant"]),
            "phase": told["phase"],
            "seconds": timed[_MEDIAN],
            "eager_s": base,
            "ratio": timed[_MEDIAN] / base if base else None,
            "rounds": timed["rounds"],
            "calls": timed.get("iterations"),
            "tool": "pytest-benchmark",
            "threads": told.get("threads"),
            "torch": told.get("torch"),
            "run_id": data.get("datetime"),
        }


def _backend(benchmark: Mapping[str, Any]) -> str:
    return str(benchmark["extra_info"]["backend"])


def _place(told: Mapping[str, Any]) -> tuple[str, str, str]:
    return told["case"], told["variant"], told["phase"]


def _named(backend: str, case: str, variant: str) -> dict[str, object]:
    return {
        "backend": backend,
        "area": case.partition(".")[0],
        "case": case,
        "variant": variant,
        **axes_of(variant),
    }


def _frame(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    found = list(rows)
    metrics = sorted({name for row in found for name in row}.difference(_COLUMNS))
    frame = pd.DataFrame(found, columns=[*_COLUMNS, *metrics])
    frame["phase"] = categorical(frame["phase"], [str(phase) for phase in Phase])
    frame["speed"] = categorical(frame["speed"], [str(speed) for speed in Speed])
    frame["backend"] = categorical(frame["backend"], by_ladder(frame["backend"]))
    by = ["backend", "case", "variant", "phase"]
    return frame.sort_values(by, ignore_index=True, kind="stable", key=_by_size)


def by_number(text: str) -> tuple[str | int, ...]:
    """What texts are sorted by so that `rows=8` stands before `rows=128`."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text))


def _by_size(column: pd.Series) -> pd.Series:
    return column.map(by_number) if column.name == "variant" else column

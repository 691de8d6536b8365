"""Files of timings, and of pytest-benchmark, as one tidy pandas frame: a row for each phase of a request."""

from __future__ import annotations

import json
import math
import re
import statistics
from typing import TYPE_CHECKING, Any

from conformance.isolation.garbage import uncollected
from conformance.model.errors import RecordFileError
from conformance.model.ladder import by_ladder
from conformance.records import find
from conformance.records.find import find_files
from conformance.records.frame import BY_LADDER, axes_of, table
from conformance.records.jsonl import reading
from conformance.timing import stats, timing_file
from conformance.timing.model import Phase, Speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

    from conformance.records.frame import Types
    from conformance.timing.model import Blocks, Timing
    from conformance.timing.timing_file import TimingRun

__all__ = ["REFERENCE", "TYPES", "by_number", "load_timing", "of", "smallest_detectable"]

REFERENCE = "uncompiled"
"""The name under which pytest-benchmark times the uncompiled program, the baseline of ratios."""

TYPES: Types = {
    "backend": BY_LADDER,
    **dict.fromkeys(("area", "case", "variant", "grad", "autocast", "dtype", "dynamic", "params"), "str"),
    "phase": Phase,
    **dict.fromkeys(("seconds", "eager_s", "ratio", "low", "high"), "float64"),
    "speed": Speed,
    **dict.fromkeys(("difference_s", "difference_low", "difference_high"), "float64"),
    **dict.fromkeys(("rounds", "calls"), "Int64"),
    "tool": "str",
    "instructions": "float64",
    "threads": "Int64",
    **dict.fromkeys(("torch", "run_id"), "str"),
    **dict.fromkeys(("eager_peak_bytes", "eager_saved_bytes", "fx_nodes", "graph_breaks", "graphs"), "float64"),
    **dict.fromkeys(("guards", "kernels", "peak_bytes", "recompiles", "saved_bytes"), "float64"),
}
"""The columns of `load_timing`."""

_MEDIAN = "median"


def load_timing(*paths: str | Path) -> pd.DataFrame:
    """Read files of timings as a frame: a row for each phase, sorted by backend (in ladder order), case and variant.

    The columns and their dtypes are the same whatever is read; the axes are those of `load`.

    =================  ===========  ===================================================================================
    column             dtype        meaning
    =================  ===========  ===================================================================================
    backend            category     name of the backend
    area               str          first part of the case id
    case               str          id of the case
    variant            str          id of the variant
    grad               str          ambient grad mode
    autocast           str          ambient autocast
    dtype              str          dtype of inputs that do not set one
    dynamic            str          value for `torch.compile(dynamic=...)`
    params             str          a case's own axes
    phase              category     timed phase: compile_cold, compile_warm, forward, backward, step, dispatch
    seconds            float64      median seconds of one call
    eager_s            float64      the same uncompiled, paired; NaN for compiling, which is not paired
    ratio              float64      seconds over eager_s: below 1 is faster
    low                float64      lower end of the 95 % interval of the ratio
    high               float64      upper end
    speed              category     faster, slower, undecided; missing without an interval
    difference_s       float64      seconds that a call takes longer than uncompiled
    difference_low     float64      lower end of its interval
    difference_high    float64      upper end
    rounds             Int64        number of measurements
    calls              Int64        calls in a block
    tool               str          bench or pytest-benchmark
    instructions       float64      of one call, over those uncompiled, counted by Callgrind
    threads            Int64        threads of kernels
    torch              str          version and build of torch
    run_id             str          id of the run
    eager_peak_bytes   float64      peak bytes of an uncompiled step; this and all below are counted, not timed
    eager_saved_bytes  float64      bytes that the uncompiled program saves for backward
    fx_nodes           float64      nodes of the captured graphs
    graph_breaks       float64      graph breaks
    graphs             float64      captured graphs
    guards             float64      guards that are checked before each call
    kernels            float64      kernels of Inductor; NaN if there are none
    peak_bytes         float64      peak bytes of a step
    recompiles         float64      compilations after the first
    saved_bytes        float64      bytes that are saved for backward
    =================  ===========  ===================================================================================

    Times of pytest-benchmark are not paired either: their ratio is of two medians, without interval and speed. A metric
    that this version does not know becomes one more column of float64 after these.

    >>> frame = conformance.load_timing("results/records/timings.jsonl")
    >>> frame["tool"].unique().tolist()
    ['bench']

    Args:
        paths: files of `conformance bench`, JSON files of `pytest --benchmark-json`, or folders, in which every
            `*.jsonl` with timings is read.

    Raises:
        RecordError: a file cannot be read, or none contains timings.
    """
    files = find_files(*paths)
    timed = [path for path in files if path.suffix == ".json" or find.is_timings(path)]
    if not timed:
        message = f"{', '.join(map(str, files))}: no timings, and nothing of pytest-benchmark"
        raise RecordFileError(message)
    with uncollected():  # as in `load`
        return _frame(row for path in timed for row in _rows(path))


def of(run: TimingRun) -> pd.DataFrame:
    """Return the frame of `load_timing`, from a run in memory."""
    return _frame(_of_run(run))


def _rows(path: Path) -> Iterator[dict[str, object]]:
    if path.suffix == ".json":
        with reading(f"cannot read {path}"):
            yield from _of_pytest(path, json.loads(path.read_text(encoding="utf-8")))
    else:
        yield from _of_run(timing_file.read(path))


def _of_run(run: TimingRun) -> Iterator[dict[str, object]]:
    header = run.header
    shared = {"threads": header.conditions.threads, "torch": header.environment.torch, "run_id": header.run_id}
    smallest = smallest_detectable(run)
    rows = [(timing, row) for timing in run.timings for row in _of_compiles(timing)]
    each = [(timing, blocks) for timing in run.timings for blocks in timing.blocks]
    each.sort(key=lambda pair: len(pair[1].ns))  # equal sample sizes share cached bootstrap draws
    rows += [(timing, _of_blocks(timing, blocks, smallest)) for timing, blocks in each]
    for timing, row in rows:
        yield {**timing.metrics, **_named(timing.backend, timing.case_id, timing.variant), **row, **shared}


def smallest_detectable(run: TimingRun) -> float:
    """Return the smallest detectable effect of a run: the one that counts, or infinity if noise was ever above it."""
    return run.header.smallest if stats.is_quiet(run.noises, run.header.smallest) else math.inf


def _of_compiles(timing: Timing) -> Iterator[dict[str, object]]:
    for phase, taken in timing.compiles.items():
        yield {"phase": phase, "seconds": statistics.median(taken), "rounds": len(taken), "tool": "bench"}


def _of_blocks(timing: Timing, blocks: Blocks, smallest: float) -> dict[str, object]:
    uncompiled, candidate = stats.seconds(blocks)
    ratio, difference = stats.ratio(blocks), stats.difference(blocks)
    instructions = timing.instructions.get(blocks.phase)
    return {
        "phase": blocks.phase,
        "seconds": candidate,
        "eager_s": uncompiled,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "speed": stats.speed(ratio, smallest),
        "difference_s": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "rounds": len(blocks.ns) // 4,
        "calls": blocks.calls,
        "tool": "bench",
        "instructions": instructions[1] / instructions[0] if instructions else None,
    }


def _of_pytest(path: Path, data: Any) -> Iterator[dict[str, object]]:  # noqa: ANN401 - any JSON
    benchmarks = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(benchmarks, list):
        message = f"{path}: neither a file of timings nor of pytest-benchmark"
        raise RecordFileError(message)
    suite = [each for each in benchmarks if {"backend", "case", "phase", "variant"} <= each["extra_info"].keys()]
    bases = {_place(each["extra_info"]): each["stats"][_MEDIAN] for each in suite if _backend(each) == REFERENCE}
    for each in suite:
        if _backend(each) == REFERENCE:
            continue
        info, timed = each["extra_info"], each["stats"]
        base = bases.get(_place(info))
        yield {
            **info.get("metrics", {}),
            **_named(info["backend"], info["case"], info["variant"]),
            "phase": info["phase"],
            "seconds": timed[_MEDIAN],
            "eager_s": base,
            "ratio": timed[_MEDIAN] / base if base else None,
            "rounds": timed["rounds"],
            "calls": timed.get("iterations"),
            "tool": "pytest-benchmark",
            "threads": info.get("threads"),
            "torch": info.get("torch"),
            "run_id": data.get("datetime"),
        }


def _backend(benchmark: Mapping[str, Any]) -> str:
    return str(benchmark["extra_info"]["backend"])


def _place(info: Mapping[str, Any]) -> tuple[str, str, str]:
    return info["case"], info["variant"], info["phase"]


def _named(backend: str, case: str, variant: str) -> dict[str, object]:
    return {
        "backend": backend,
        "area": case.partition(".")[0],
        "case": case,
        "variant": variant,
        **{name: value for name, value in axes_of(variant).items() if name != "moves"},  # none is timed
    }


def _frame(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    found = list(rows)
    backends = {name: rank for rank, name in enumerate(by_ladder(str(row["backend"]) for row in found))}
    phases: dict[object, int] = {phase: rank for rank, phase in enumerate(Phase)}

    def place(row: Mapping[str, object]) -> tuple[object, ...]:
        phase = phases.get(row["phase"], len(phases))
        return backends[str(row["backend"])], row["case"], by_number(str(row["variant"])), phase

    return table(sorted(found, key=place), TYPES)


def by_number(text: str) -> tuple[str | int, ...]:
    """Return a sort key by which `rows=8` is before `rows=128`."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text))

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

import conformance
from conformance.model.errors import RecordError
from conformance.tests.fakes import a_timing, some_blocks
from conformance.tests.records.test_frame import documented, dtypes
from conformance.tests.runs import a_run, some_timings
from conformance.timing.model import Noise, Phase
from conformance.timing.timing_frame import TYPES

if TYPE_CHECKING:
    from pathlib import Path


def test_each_phase_is_a_row(tmp_path: Path) -> None:
    """A row has case, variant, axes, backend and phase, and times, ratio, interval, verdict and metrics."""
    timing = a_timing(variant="grad=enabled,n=8", instructions={Phase.STEP: (1000, 1500)})
    rows = conformance.load_timing(some_timings(tmp_path / "t.jsonl", timing))
    assert list(rows["phase"]) == ["compile_cold", "compile_warm", "forward", "step"]
    step = rows.iloc[-1]
    assert (step["backend"], step["area"], step["case"], step["params"]) == ("fake", "demo", "demo.first.one", "n=8")
    assert step["eager_s"] == pytest.approx(1e-4, rel=0.01)
    assert step["seconds"] == pytest.approx(5e-5, rel=0.01)
    assert step["low"] < step["ratio"] < step["high"]
    assert step["ratio"] == pytest.approx(0.5, rel=0.01)
    assert step["difference_s"] == pytest.approx(-5e-5, rel=0.01)
    assert (step["speed"], step["rounds"], step["calls"], step["tool"]) == ("faster", 40, 10, "bench")
    assert (step["guards"], step["instructions"], step["threads"], step["torch"]) == (12, 1.5, 1, "2.13.0")


def test_compiling_is_the_median_and_has_no_ratio(tmp_path: Path) -> None:
    """A first call is not paired with an uncompiled one."""
    cold = conformance.load_timing(some_timings(tmp_path / "t.jsonl", a_timing())).iloc[0]
    assert (cold["phase"], cold["seconds"], cold["rounds"]) == ("compile_cold", 2.25, 3)
    assert math.isnan(cold["ratio"])


@pytest.mark.parametrize("noise", [Noise(), Noise(ratios={"demo": (0.9, 1.1)})])
def test_a_noisy_machine_decides_nothing(tmp_path: Path, noise: Noise) -> None:
    """If noise is above the smallest effect that counts, or unknown, all is undecided."""
    rows = conformance.load_timing(some_timings(tmp_path / "t.jsonl", a_timing(), noise=noise))
    assert set(rows["speed"].dropna()) == {"undecided"}


def test_rows_are_sorted_by_the_ladder_and_the_phases(tmp_path: Path) -> None:
    """In a frame as in a page, in whatever order the work was done."""
    timings = [a_timing(backend=name, blocks=(some_blocks(),), compiles={}) for name in ("inductor", "own", "eager")]
    rows = conformance.load_timing(some_timings(tmp_path / "t.jsonl", *timings))
    assert list(rows["backend"]) == ["eager", "inductor", "own"]


def a_benchmark(backend: str, median: float, **info: Any) -> dict[str, Any]:
    """One entry of pytest-benchmark's JSON."""
    names = {"case": "demo.first.one", "variant": "grad=enabled", "phase": "step", "backend": backend, "threads": 1}
    return {"extra_info": names | info, "stats": {"median": median, "rounds": 9, "iterations": 2}}


def test_what_pytest_benchmark_wrote_is_read(tmp_path: Path) -> None:
    """Its ratio is of medians, unpaired: there is no interval and no verdict."""
    others = {"extra_info": {}, "stats": {"median": 1.0, "rounds": 1}}
    found = [a_benchmark("own", 3.0, metrics={"guards": 7}), a_benchmark("uncompiled", 2.0), others]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"datetime": "2026-01-01", "benchmarks": found}))
    (_, row), *rest = conformance.load_timing(path).iterrows()
    assert rest == []
    assert (row["backend"], row["seconds"], row["eager_s"], row["ratio"]) == ("own", 3.0, 2.0, 1.5)
    assert (row["tool"], row["rounds"], row["calls"], row["guards"]) == ("pytest-benchmark", 9, 2, 7)
    assert math.isnan(row["low"])
    assert row["speed"] != row["speed"]


def test_without_its_baseline_pytest_benchmark_has_no_ratio(tmp_path: Path) -> None:
    """A selection may leave the baseline out."""
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"benchmarks": [a_benchmark("own", 3.0)]}))
    assert conformance.load_timing(path)["ratio"].isna().all()


def test_a_folder_holds_both_kinds(tmp_path: Path) -> None:
    """Of a folder of records and timings each loader reads its own; what is named must be of its kind."""
    records = a_run(tmp_path / "records.jsonl")
    timings = some_timings(tmp_path / "timings.jsonl", a_timing())
    assert len(conformance.load(tmp_path)) == 1
    assert len(conformance.load_timing(tmp_path)) == 4
    with pytest.raises(RecordError, match="timings, which conformance"):
        conformance.load(timings)
    with pytest.raises(RecordError, match="no timings"):
        conformance.load_timing(records)


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    """It is named."""
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"b\.json"):
        conformance.load_timing(path)


def test_columns_and_dtypes_do_not_depend_on_what_was_timed(tmp_path: Path) -> None:
    """Code that reads a column works on the frame of any file, and of an interrupted run that timed nothing."""
    full = conformance.load_timing(some_timings(tmp_path / "full.jsonl", a_timing()))
    bare = conformance.load_timing(some_timings(tmp_path / "bare.jsonl", a_timing(blocks=(), metrics={})))
    empty = conformance.load_timing(some_timings(tmp_path / "empty.jsonl"))
    for frame in (full, bare, empty):
        assert list(frame.columns) == list(TYPES)
        assert dtypes(frame) == documented(conformance.load_timing)


def test_sizes_are_sorted_by_number(tmp_path: Path) -> None:
    """A table reads from small to large."""
    sizes = [a_timing(variant=f"grad=enabled,rows={rows}") for rows in (128, 8, 16)]
    frame = conformance.load_timing(some_timings(tmp_path / "t.jsonl", *sizes))
    assert list(dict.fromkeys(frame["params"])) == ["rows=8", "rows=16", "rows=128"]

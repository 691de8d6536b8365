from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import conformance
from conformance.model.errors import RecordError
from conformance.records import releases
from conformance.records.find import find_every_release, find_kinds
from conformance.report import runs
from conformance.tests.fakes import a_record, a_timing, an_environment
from conformance.tests.runs import a_run, red, some_timings
from conformance.triage import lookup
from conformance.triage.fuzz import known

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record

CASE = "grad_mode.nesting.enable_in_no_grad"


def on(torch: str, folder: Path, *records: Record, name: str = "in-tree.jsonl") -> Path:
    """A run on a release, in its folder."""
    return a_run(folder / torch / name, *records, environment=an_environment(torch=torch))


def test_releases_are_in_order_of_version_and_then_of_build() -> None:
    """2.9 comes before 2.13, and a release candidate before its release."""
    given = ["2.13.0+cu130", "2.13.0", "2.9.1+cpu", "2.15.0rc1+cu132", "2.15.0+cpu", "2.13.0+cpu", "2.13.0"]
    expected = ["2.9.1+cpu", "2.13.0", "2.13.0+cpu", "2.13.0+cu130", "2.15.0rc1+cu132", "2.15.0+cpu"]
    assert releases.ordered(given) == expected
    assert [releases.minor(each) for each in expected[-2:]] == ["2.15", "2.15"]


def test_a_folder_is_its_own_files_and_those_of_the_newest_release(tmp_path: Path) -> None:
    """What is no release, what is empty and what is older is left out, unless it is named."""
    own = a_run(tmp_path / "vendor.jsonl", a_record(backend="vendor"))
    old, new = on("2.9.0+cpu", tmp_path), on("2.13.0+cpu", tmp_path)
    timings = some_timings(tmp_path / "2.13.0+cpu" / "timings.jsonl", a_timing())
    a_run(tmp_path / "attic" / "a.jsonl")
    (tmp_path / "2.15.0+cpu").mkdir()
    (tmp_path / "confirmations.json").write_text("[]\n")
    assert find_kinds(tmp_path) == ([own, new], [timings])
    assert find_kinds(tmp_path, tmp_path / "2.9.0+cpu")[0] == [own, new, old]
    assert find_every_release(tmp_path) == [own, new, old]
    assert list(conformance.load(tmp_path)["torch"]) == ["2.13.0+cpu", "2.13.0"]
    assert list(conformance.load(tmp_path / "2.9.0+cpu")["torch"]) == ["2.9.0+cpu"]


def test_of_two_builds_of_the_newest_release_the_one_that_was_run_last_counts(tmp_path: Path) -> None:
    """Who runs the suite on the CPU build sees that run in the pages, not the published one on another build."""
    for torch, started in {"2.15.0+cu132": "2026-05-01", "2.15.0+cpu": "2026-06-01", "2.14.0": "2026-07-01"}.items():
        environment = an_environment(torch=torch, started=f"{started}T00:00:00+00:00")
        a_run(tmp_path / torch / "in-tree.jsonl", a_record(), environment=environment)
    assert list(conformance.load(tmp_path)["torch"]) == ["2.15.0+cpu"]
    assert [run.header.environment.torch for _, run in runs.published([tmp_path]).tables] == ["2.15.0+cpu"]
    (tmp_path / "2.15.0+cpu" / "in-tree.jsonl").write_text("{}\n")
    assert [path.parent.name for path in find_kinds(tmp_path)[0]] == ["2.15.0+cu132"]


def test_the_rungs_below_a_failure_are_those_of_its_own_release(tmp_path: Path) -> None:
    """A backend that was run on an older release is compared with the ladder there, not with the newest."""
    ladder = ("eager", "pre_dispatch_eager", "aot_eager", "aot_eager_decomp_partition", "inductor")
    on(
        "2.13.0",
        tmp_path,
        *(a_record(red().case_id, name) for name in ladder[:2]),
        *(red(backend=name) for name in ladder[2:]),
    )
    on("2.15.0", tmp_path, *(a_record(red().case_id, name) for name in ladder))
    a_run(tmp_path / "vendor.jsonl", red(backend="vendor"))
    rows = conformance.load(tmp_path).set_index("backend")
    assert (rows.loc["vendor", "first_rung"], rows.loc["aot_eager", "torch"]) == ("aot_eager", "2.15.0")


def test_a_name_means_the_record_of_the_newest_release(tmp_path: Path) -> None:
    """That of another is found in its folder; where both are named nobody knows which is meant."""
    old = on("2.13.0+cpu", tmp_path, red(CASE))
    on("2.15.0+cpu", tmp_path, a_record(CASE))
    assert lookup.find(f"fake/{CASE}", [tmp_path]).run.header.environment.torch == "2.15.0+cpu"
    assert lookup.find(f"fake/{CASE}", [old.parent]).run.header.environment.torch == "2.13.0+cpu"
    with pytest.raises(RecordError, match=r"two releases: torch 2\.15\.0\+cpu in .*, 2\.13\.0\+cpu in ") as refused:
        lookup.find(f"fake/{CASE}", [tmp_path, old])
    assert "put each into a folder named after its release: 2.15.0+cpu/ and 2.13.0+cpu/" in str(refused.value)
    with pytest.raises(RecordError, match="two releases"):
        known.known_failures([tmp_path, old])

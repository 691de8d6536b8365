from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from conformance.cli.main import main
from conformance.model.enums import Outcome, Verdict
from conformance.model.errors import RecordError, UsageError
from conformance.model.result import Evidence
from conformance.report.diff import Comparison, compare, load
from conformance.tests.fakes import a_record, a_timing, an_environment, some_blocks
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red, some_timings
from conformance.timing.model import Noise, Phase
from conformance.verdict.changes import Transition

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record
    from conformance.timing.model import Timing


def compared(folder: Path, before: list[Record], after: list[Record]) -> Comparison:
    """Two runs of these records."""
    return compare(load(str(a_run(folder / "a.jsonl", *before))), load(str(a_run(folder / "b.jsonl", *after))))


def timed(folder: Path, before: Timing, after: Timing, **header: Any) -> Comparison:
    """Two runs of these timings."""
    files = some_timings(folder / "a.jsonl", before), some_timings(folder / "b.jsonl", after, **header)
    return compare(*(load(str(file)) for file in files))


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    """Nothing is listed, and every gate is open."""
    records = [a_record(), red(), an_xfail()]
    found = compared(tmp_path, records, records)
    assert not found.red()
    assert "3 requests in both, **0 new failures**, 0 fixed" in found.markdown()
    assert "####" not in found.markdown()


def test_what_fails_anew_closes_the_gate(tmp_path: Path) -> None:
    """It is listed with what it did, what it does now, and why."""
    found = compared(tmp_path, [a_record("demo.first.two")], [red("demo.first.two")])
    assert found.red()
    assert found.red(["failures"])
    assert not found.red(["timing", "metrics"])
    assert "| `demo.first.two grad=enabled` | pass" in found.markdown()
    assert "fail: gradients, values | values differ in output\\[0\\]: 3 of 12 elements." in found.markdown()


def test_a_failure_that_is_expected_is_a_failure(tmp_path: Path) -> None:
    """An entry in a file of expectations hides nothing from a comparison."""
    assert compared(tmp_path, [a_record("demo.first.three")], [an_xfail("demo.first.three")]).red(["failures"])


def test_what_was_fixed_closes_nothing(tmp_path: Path) -> None:
    """It is listed."""
    found = compared(tmp_path, [red("demo.first.two")], [a_record("demo.first.two")])
    assert not found.red()
    assert "#### Fixed" in found.markdown()


def test_what_fails_otherwise_closes_the_gate(tmp_path: Path) -> None:
    """Another check that fails is another fault."""
    values = [check for check in red().checks if check.check != "gradients"]
    found = compared(tmp_path, [red()], [red(checks=tuple(values))])
    assert found.red(["failures"])
    assert "fail: gradients, values | fail: values |" in found.markdown()


def test_what_is_claimed_no_longer_closes_the_gate(tmp_path: Path) -> None:
    """It is no failure, and still something that is lost; the other way round nothing is."""
    ran, left = a_record("demo.first.four"), an_unsupported("demo.first.four")
    found = compared(tmp_path, [ran], [left])
    assert (found.red(["failures"]), found.of(Transition.REGRESSED)) == (True, [])
    assert "#### No longer run" in found.markdown()
    assert not compared(tmp_path / "x", [left], [ran]).red()


def test_what_only_one_run_has_is_reported(tmp_path: Path) -> None:
    """It is in neither's favour."""
    found = compared(tmp_path, [a_record(), a_record("demo.first.old")], [a_record(), a_record("demo.first.new")])
    assert not found.red()
    assert (found.gone, found.added) == ([("demo.first.old", "grad=enabled")], [("demo.first.new", "grad=enabled")])
    assert "#### Only before" in found.markdown()


def test_more_of_what_is_counted_closes_its_gate(tmp_path: Path) -> None:
    """A graph break more is worse, one less is not; of timings every count but the uncompiled one is compared."""
    more = a_record(evidence=Evidence(graphs=2, graph_breaks=1))
    found = compared(tmp_path, [a_record()], [more])
    assert found.red(["metrics"])
    assert not found.red(["failures", "timing"])
    assert "| graph_breaks | 0        | 1       |" in found.markdown()
    (tmp_path / "x").mkdir()
    assert not compared(tmp_path / "x", [more], [a_record()]).red()
    metrics = {"guards": 13, "graphs": 1, "eager_saved_bytes": 9}
    counts = timed(tmp_path / "y", a_timing(), a_timing(metrics=metrics)).counted
    assert [(count.name, count.before, count.after) for count in counts] == [("guards", 12, 13)]


def test_what_is_slower_closes_its_gate(tmp_path: Path) -> None:
    """The change is of ratios to uncompiled, so a machine that is slower throughout changes nothing."""
    slower = a_timing(blocks=(some_blocks(Phase.STEP, 0.6), some_blocks(Phase.BACKWARD)))
    found = timed(tmp_path, a_timing(), slower)
    (change,) = found.timed
    assert change.found.value == pytest.approx(1.2, rel=0.01)
    assert found.red(["timing"])
    assert "of 1 timing 1 slower and 0 faster, each by 3% or more" in found.markdown()
    assert "| step    | 0.500" in found.markdown()
    (step,) = [blocks for blocks in a_timing().blocks if blocks.phase is Phase.STEP]
    heated = a_timing(blocks=(replace(step, ns=tuple(3 * ns for ns in step.ns)),))
    assert not timed(tmp_path / "x", a_timing(), heated).red()


def test_what_conforms_no_longer_closes_the_gate_of_timings_too(tmp_path: Path) -> None:
    """A request that is no longer timed is a new failure, unless its capability is no longer claimed."""
    failing = a_timing(verdict=Verdict.FAIL, message="values differ", blocks=(), compiles={}, metrics={})
    found = timed(tmp_path, a_timing(), failing)
    assert (found.red(["failures"]), found.red(["timing", "metrics"])) == (True, False)
    assert "| timed    | not timed | values differ |" in found.markdown()
    both = (timed(tmp_path, failing, a_timing()), found)
    assert [len(each.of(Transition.FIXED)) for each in both] == [1, 0]
    left = replace(failing, verdict=Verdict.UNSUPPORTED)
    found = timed(tmp_path, a_timing(), left)
    assert [each.transition for each in found.changed] == [Transition.NO_LONGER_RUN]


def test_instructions_are_counted(tmp_path: Path) -> None:
    """One in a hundred more is worse; less than that is Callgrind's own."""
    one, same, more = (a_timing(instructions={Phase.STEP: (1000, own)}) for own in (5000, 5040, 5100))
    (count,) = timed(tmp_path, one, more).counted
    assert (count.name, count.before, count.after) == ("instructions of step", 5000, 5100)
    assert timed(tmp_path, one, same).counted == []


def test_noise_in_either_run_refuses_verdicts(tmp_path: Path) -> None:
    """The summary states which of the two it was."""
    slower = a_timing(blocks=(some_blocks(Phase.STEP, 0.6),))
    found = timed(tmp_path, a_timing(), slower, noise=Noise(ratios={"demo": (0.9, 1.1)}))
    assert not found.red()
    assert f"{tmp_path / 'b.jsonl'}: too noisy for verdicts on speed." in found.markdown()


def test_two_backends_of_one_run_are_compared(tmp_path: Path) -> None:
    """`PATH@BACKEND` is one of them; where each side has one, names need not be the same."""
    file = a_run(
        tmp_path / "a.jsonl", a_record("demo.first.two", backend="eager"), red("demo.first.two", backend="own")
    )
    assert compare(load(f"{file}@eager"), load(f"{file}@own")).red()
    assert not compare(load(f"{file}@eager"), load(f"{file}@eager")).red()
    with pytest.raises(UsageError, match="nothing of backend 'egaer'; it has eager, own"):
        load(f"{file}@egaer")


def test_several_backends_are_matched_by_name(tmp_path: Path) -> None:
    """And listed with it."""
    names = ("eager", "own")
    found = compared(
        tmp_path,
        [a_record("demo.first.two", backend=name) for name in names],
        [a_record("demo.first.two"), red("demo.first.two", backend="own")],
    )
    assert [each.key for each in found.of(Transition.REGRESSED)] == [("own", "demo.first.two", "grad=enabled")]


def test_long_lists_are_cut(tmp_path: Path) -> None:
    """A comment on a pull request has its limits."""
    ids = [f"demo.first.c{number}" for number in range(60)]
    found = compared(tmp_path, list(map(a_record, ids)), list(map(red, ids)))
    assert "... and 10 more." in found.markdown()


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    """So is what does not exist."""
    with pytest.raises(UsageError, match="no case and variant in common"):
        compared(tmp_path, [a_record("demo.first.one")], [a_record("demo.first.two")])
    with pytest.raises(RecordError, match="no record file at"):
        load(str(tmp_path / "none.jsonl"))


def test_the_command_prints_markdown_and_is_a_gate(tmp_path: Path) -> None:
    """0 where every requested gate passes, 1 where one fails, 2 where the usage is wrong."""
    one = a_run(tmp_path / "a.jsonl", a_record("demo.first.two"))
    other = a_run(tmp_path / "b.jsonl", red("demo.first.two"))
    same = CliRunner().invoke(main, ["compare", str(one), str(one)])
    assert (same.exit_code, same.stdout.startswith("### ")) == (0, True)
    assert CliRunner().invoke(main, ["compare", str(one), str(other)]).exit_code == 1
    assert CliRunner().invoke(main, ["compare", str(one), str(other), "--gate", "timing"]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", str(one), f"{other}@none"]).exit_code == 2


def on(torch: str, path: Path, *records: Record) -> Path:
    """A run on a release of torch."""
    return a_run(path, *records, environment=an_environment(torch=torch))


def test_the_releases_of_both_sides_are_named(tmp_path: Path) -> None:
    """Or the one release of both; files and folders alike."""
    old = on("2.13.0+cpu", tmp_path / "2.13.0+cpu" / "a.jsonl", a_record("demo.first.two"))
    new = on("2.14.1+cu130", tmp_path / "2.14.1+cu130" / "a.jsonl", red("demo.first.two"))
    found = compare(load(str(old)), load(str(new.parent)))
    assert "torch 2.13.0+cpu before, 2.14.1+cu130 after: 1 request in both, **1 new failure**" in found.markdown()
    assert compare(load(str(new)), load(str(tmp_path))).markdown().count("torch 2.14.1+cu130 on both sides: ") == 1


def test_a_release_of_another_backend_is_not_named(tmp_path: Path) -> None:
    """Of a folder in which backends were run on several, those count that are compared."""
    on("2.13.0", tmp_path / "vendor.jsonl", a_record(backend="vendor"))
    on("2.15.0", tmp_path / "2.15.0" / "a.jsonl", a_record())
    assert load(f"{tmp_path}@vendor").torch == ["2.13.0"]
    assert load(str(tmp_path)).torch == ["2.13.0", "2.15.0"]


def test_two_releases_on_one_side_are_refused(tmp_path: Path) -> None:
    """Records of one backend on both would be taken for one run; both are named."""
    on("2.13.0", tmp_path / "a.jsonl")
    on("2.14.1", tmp_path / "b.jsonl")
    with pytest.raises(
        RecordError, match=r"'fake' was run on two releases: torch 2\.13\.0 in .*a\.jsonl, 2\.14\.1 in .*b"
    ):
        load(str(tmp_path))


def test_what_is_vacuous_newly_run_or_invalid_is_distinguished(tmp_path: Path) -> None:
    """The first is a new failure; the second fails no gate; the third is no result of the backend, and fails one."""
    vacuous = {"outcome": Outcome.VACUOUS, "verdict": Verdict.VACUOUS, "message": "nothing was compiled"}
    found = compared(tmp_path, [a_record("demo.first.four")], [a_record("demo.first.four", checks=(), **vacuous)])
    assert (found.red(["failures"]), "| vacuous | nothing was compiled |" in found.markdown()) == (True, True)
    newly = compared(tmp_path / "x", [an_unsupported("demo.first.four")], [red("demo.first.four")])
    assert (newly.red(), "#### Newly run" in newly.markdown()) == (False, True)
    invalid = {"outcome": Outcome.INVALID, "verdict": Verdict.INVALID, "message": "it differs from itself"}
    unknown = a_record("demo.first.four", checks=(), **invalid)
    assert compared(tmp_path / "y", [a_record("demo.first.four")], [unknown]).red(["failures"])
    assert not compared(tmp_path / "z", [unknown], [a_record("demo.first.four")]).red()

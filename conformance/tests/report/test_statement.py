from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from conformance.catalogue.levels import levels
from conformance.catalogue.specification import clauses
from conformance.cli.main import main
from conformance.model.enums import Outcome, Verdict
from conformance.report import statement
from conformance.tests.fakes import a_record, a_request
from conformance.tests.runs import a_run, red, skipped
from conformance.triage import lookup

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

MODES = ("GM-1", "RS-2")
INFERENCE = ("IM-1", "GM-1")
MOVES = "grad=enabled,moves=usual"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A whole run: core conforms, inference mode does not, one move does not, and nothing is of autocast."""
    return a_run(
        tmp_path / "a.jsonl",
        a_record(clauses=MODES),
        a_record("demo.first.five", clauses=("CS-1", "BD-1")),
        skipped("no device", case_id="demo.first.two", clauses=MODES),
        red(case_id="demo.first.three", clauses=INFERENCE),
        a_record("demo.first.four", clauses=("AG-1",)),
        red(case_id="demo.first.four", clauses=("AG-1",), variant=MOVES),
        a_record(backend="other", clauses=INFERENCE),
    )


def _conformance(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def test_levels_are_made_of_chapters_that_there_are() -> None:
    """The last one has them all, and each other one fewer."""
    chapters = {clause.partition("-")[0] for clause in clauses()}
    assert levels()[-1].chapters == chapters
    assert all(level.chapters < chapters for level in levels()[:-1])
    assert [level.name for level in levels() if level.moves] == ["Training", "Full"]


def test_a_level_is_reached_when_every_scored_request_conforms(records: Path) -> None:
    """What is skipped is not scored; what makes moves counts where the level has them."""
    stated = statement.make(records, "fake")
    found = {each["level"]: (each["conforming"], each["scored"], each["reached"]) for each in stated["levels"]}
    assert found == {
        "Core": (2, 2, True),
        "Inference mode": (2, 3, False),
        "Mixed precision": (2, 2, False),
        "Training": (3, 4, False),
        "Full": (3, 5, False),
    }
    assert stated["levels"][2]["chapters_without_a_scored_request"] == ["AC"]
    assert stated["verdicts"] == {"fail": 2, "pass": 3, "skip": 1}


def test_what_is_invalid_or_of_no_clause_reaches_nothing(tmp_path: Path) -> None:
    """A fault of the suite leaves a level open; a request of no clause belongs to none."""
    invalid = {"outcome": Outcome.INVALID, "verdict": Verdict.INVALID}
    path = a_run(
        tmp_path / "a.jsonl",
        a_record(clauses=(*MODES, "CS-1", "BD-1")),
        a_record("demo.first.two", clauses=MODES, **invalid),
        red(case_id="demo.first.three", clauses=()),
    )
    core = statement.make(path, "fake")["levels"][0]
    assert (core["conforming"], core["scored"], core["invalid"], core["reached"]) == (1, 1, 1, False)


def test_a_level_of_nothing_is_not_reached(tmp_path: Path) -> None:
    """No request was scored, so nothing was shown."""
    path = a_run(tmp_path / "a.jsonl", skipped("no device", clauses=MODES))
    assert not any(each["reached"] for each in statement.make(path, "fake")["levels"])


def test_a_statement_holds_for_its_records_and_for_no_others(records: Path, tmp_path: Path) -> None:
    """Each field that differs is named with what the records give."""
    path = tmp_path / "made" / "fake.json"
    assert _conformance("statement", "--backend", "fake", "--records", records, "--output", path).exit_code == 0
    done = _conformance("verify", path, records)
    assert (done.exit_code, done.stdout) == (0, f"{path} holds.\n")
    stated = json.loads(path.read_text(encoding="utf-8"))
    stated["levels"][1] |= {"conforming": 2, "reached": True}
    path.write_text(json.dumps(stated), encoding="utf-8")
    done = _conformance("verify", path, records)
    assert done.exit_code == 1
    assert done.stdout.startswith('levels: stated [{"level": "Core"')
    other = a_run(tmp_path / "b.jsonl", a_record(clauses=MODES))
    assert "digest: stated" in _conformance("verify", path, other).stdout


def test_a_sample_is_run_again(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome that this machine does not give is named."""
    path = tmp_path / "fake.json"
    _conformance("statement", "--backend", "fake", "--records", records, "--output", path)

    def again(given: tuple[Record, RunFile]) -> lookup.Found:
        record, run = given
        outcome = Outcome.CRASH if record.case_id == "demo.first.one" else record.outcome
        made = a_record(record.case_id, outcome=outcome, message="killed")
        return lookup.Found(record=made, run=run, request=a_request())

    monkeypatch.setattr(lookup, "request", lambda record, run: (record, run))
    monkeypatch.setattr(lookup, "with_installed_backend", lambda request: request)
    monkeypatch.setattr(lookup, "rerun", again)
    done = _conformance("verify", path, records, "--rerun", 9, "--seed", 1)
    assert (done.exit_code, done.stdout) == (
        1,
        "fake/demo.first.one/grad=enabled: recorded pass, run again here crash: killed\n",
    )


def test_badges_name_the_levels(records: Path, tmp_path: Path) -> None:
    """As shields.io takes them, and as a picture; where no level is reached, how much of the first one conforms.

    That not every capability was claimed is said too.
    """
    words = ("statement", "--backend", "fake", "--records", records, "--badge", tmp_path / "b.json")
    done = _conformance(*words, "--svg", tmp_path / "b.svg")
    assert json.loads(done.stdout)["backend"] == "fake"
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["message"] == "Core"
    picture = ET.fromstring((tmp_path / "b.svg").read_text(encoding="utf-8"))  # noqa: S314 - made by the line above
    assert picture.get("aria-label") == "torch.compile conformance: Core"
    path = a_run(tmp_path / "c.jsonl", red(clauses=MODES))
    assert statement.badge(statement.make(path, "fake"))["message"] == "Core 0/1"
    stated = statement.make(records, "fake") | {"not_claimed": ["rng"]}
    assert statement.badge(stated)["message"] == "Core, not every capability"
    odd = stated | {"levels": [{"level": "R&D", "reached": True}]}
    assert "R&amp;D" in statement.svg(statement.badge(odd))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"form": "torch-compile-conformance statement", "backend": 1}'])
def test_what_is_no_statement_is_refused(text: str, records: Path, tmp_path: Path) -> None:
    """With its path, and the command that makes one."""
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    done = _conformance("verify", tmp_path / "x.json", records)
    assert (done.exit_code, "is no statement of `conformance statement`" in done.stderr) == (2, True)


def test_only_a_whole_run_of_the_backend_is_stated(records: Path, tmp_path: Path) -> None:
    """Part of a run says nothing of a level."""
    done = _conformance("statement", "--backend", "none", "--records", records)
    assert (done.exit_code, "It has: fake, other." in done.stderr) == (2, True)
    part = a_run(tmp_path / "b.jsonl", finish=False)
    done = _conformance("statement", "--backend", "fake", "--records", part)
    assert (done.exit_code, "it has no footer" in done.stderr) == (2, True)

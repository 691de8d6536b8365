"""The script of each finding is written beside its case, and confirms it only by ending as its record did."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.loader import load_cases
from conformance.catalogue.writer import dump
from conformance.isolation.deadline import Deadline
from conformance.model.case import Variant
from conformance.model.enums import Outcome
from conformance.model.errors import UsageError
from conformance.tests.fakes import a_backend, a_case, failed
from conformance.triage.fuzz.confirm import Confirmation, confirm
from conformance.triage.fuzz.finding import FuzzFinding, write
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from conformance.model.request import Request

PUBLISHED = Path(__file__).parents[4] / "results" / "fuzzing"
BACKEND = a_backend("fake", compile_timeout_s=1.0)
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"


def a_finding(folder: Path, outcome: Outcome = Outcome.FAIL) -> FuzzFinding:
    """A finding whose case is in a folder."""
    case = a_case("fuzz.s0.p1")
    file = write(folder, case, dump)
    symptom = replace(Symptom.of(failed("values")), outcome=outcome)
    return FuzzFinding(symptom=symptom, rung="fake", nest="", case_id=case.id, program=case.program, file=file)


def confirmed(finding: FuzzFinding, folder: Path, text: str) -> Confirmation:
    """Return the confirmation of a script."""
    (one,) = confirm([finding], BACKEND, folder, lambda *_: text, timeout_s=None, jobs=1).values()
    return one


@pytest.mark.parametrize(
    ("outcome", "text", "says", "holds"),
    [
        (Outcome.FAIL, "raise SystemExit(1)", "it exits with 1", True),
        (Outcome.FAIL, "", "NOT CONFIRMED: it exits with 0", False),
        (Outcome.FAIL, KILLED, "NOT CONFIRMED: it exits with -9", False),
        (Outcome.FAIL, "import nowhere", "NOT CONFIRMED: it raises", False),
        (Outcome.CRASH, "import nowhere", "NOT CONFIRMED: it raises", False),
        (Outcome.CRASH, KILLED, "it exits with -9", True),
        (Outcome.CRASH, "raise SystemExit(1)", "NOT CONFIRMED: it exits with 1", False),
        (Outcome.TIMEOUT, "", "NOT CONFIRMED: it exits with 0", False),
    ],
)
def test_a_script_has_to_end_as_the_record_says(
    outcome: Outcome, text: str, says: str, *, holds: bool, tmp_path: Path
) -> None:
    """A difference is an exit with 1, a crash any end that Python would not choose."""
    one = confirmed(a_finding(tmp_path, outcome), tmp_path, text)
    assert (str(one), one.holds, one.script) == (says, holds, "fuzz_s0_p1.py")
    assert (tmp_path / one.script).read_text() == text


@pytest.mark.parametrize(("outcome", "holds"), [(Outcome.TIMEOUT, True), (Outcome.FAIL, False)])
def test_only_a_hang_is_confirmed_by_a_hang(
    outcome: Outcome, *, holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that does not end is ended after the time of its request and that of a start."""
    monkeypatch.setattr("conformance.triage.repro.running._START_S", 0.0)
    one = confirmed(a_finding(tmp_path, outcome), tmp_path, "import time\ntime.sleep(60)\n")
    assert (one.says, one.holds) == ("it does not end", holds)


def test_what_has_no_script_says_why(tmp_path: Path) -> None:
    """A finding that does not show again is not confirmed, and nothing is written."""

    def refuse(_: Request, symptom: Symptom) -> str:
        message = f"run again it does not show {symptom.check}"
        raise UsageError(message)

    (one,) = confirm([a_finding(tmp_path)], BACKEND, tmp_path, refuse, timeout_s=None, jobs=1).values()
    assert str(one) == "NOT CONFIRMED: no script: run again it does not show values"
    assert not list(tmp_path.glob("*.py"))


def test_a_finding_of_a_move_is_confirmed_by_the_move(tmp_path: Path) -> None:
    """Its case makes it in a variant of its own."""
    case = a_case("fuzz.s0.p1", variants=(Variant(moves="leaf_hooks"),))
    asked: list[str] = []

    def script(request: Request, _: Symptom) -> str:
        asked.append(request.variant.moves)
        return "raise SystemExit(1)"

    finding = replace(a_finding(tmp_path), file=write(tmp_path, case, dump))
    (one,) = confirm([finding], BACKEND, tmp_path, script, timeout_s=None, jobs=1).values()
    assert (one.holds, asked) == (True, ["leaf_hooks"])


@pytest.mark.parametrize("file", ["", "topic: Other\ncases: []\n", "topic: ["])
def test_a_case_that_is_gone_says_so(tmp_path: Path, file: str) -> None:
    """A damaged file of a finding affects that finding alone."""
    finding = a_finding(tmp_path)
    if file:
        (tmp_path / finding.file).write_text(file)
    else:
        (tmp_path / finding.file).unlink()
    one = confirmed(finding, tmp_path, "raise SystemExit(1)")
    assert (one.holds, finding.file in one.says) == (False, True)


def test_only_what_has_a_file_is_confirmed(tmp_path: Path) -> None:
    """A known finding has no case of its own."""
    known = replace(a_finding(tmp_path), file="", known="demo.first.one")
    assert confirm([known], BACKEND, tmp_path, timeout_s=None, jobs=1) == {}


def test_what_there_is_no_time_for_is_not_confirmed(tmp_path: Path) -> None:
    """Neither once the time is up, nor where the script ends too late, nor where a hang would."""
    hang, slow = a_finding(tmp_path, Outcome.TIMEOUT), a_finding(tmp_path)
    texts = {Outcome.FAIL: "import time\ntime.sleep(60)\n"}
    for finding, seconds in ((slow, -1.0), (hang, 0.7), (slow, 5.0)):
        deadline = Deadline()
        deadline.moment = time.monotonic() + seconds
        write_script = lambda _, symptom: texts[symptom.outcome]  # noqa: E731
        made = confirm([finding], BACKEND, tmp_path, write_script, timeout_s=None, jobs=1, deadline=deadline)
        (one,) = made.values()
        assert str(one).startswith("NOT CONFIRMED: the time was up before its script had ended")
    assert one.script == "fuzz_s0_p1.py"


@pytest.mark.parametrize("folder", sorted(PUBLISHED.iterdir()), ids=lambda folder: folder.name)
def test_what_is_published_is_confirmed(folder: Path) -> None:
    """Each finding of a committed report is a case that loads, with a script that showed it."""
    report = (folder / "report.md").read_text(encoding="utf-8")
    cases = {path.stem: load_cases([path])[0] for path in folder.glob("*.yaml")}
    assert cases.keys() == {path.stem for path in folder.glob("*.py")}
    assert "NOT CONFIRMED" not in report
    for stem, case in cases.items():
        assert f"`{case.id}`, script `{stem}.py`: it exits with 1" in report

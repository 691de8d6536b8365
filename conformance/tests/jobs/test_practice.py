from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.model.enums import Outcome
from conformance.tests.fakes import a_record
from conformance.tests.jobs import saboteurs_on_practice
from conformance.tests.jobs.false_alarms import Judged, page
from conformance.tests.jobs.practice_runs import Plain, PlainFile, functions, ref_of
from conformance.tests.runs import red
from conformance.tests.saboteurs import SABOTEURS
from conformance.tests.saboteurs import ref as ref_of_saboteur

if TYPE_CHECKING:
    from pathlib import Path


def test_there_are_two_hundred_functions_of_eight_domains() -> None:
    """Each has inputs, and an argument for `conformance check`."""
    found = functions()
    assert len(found) == len(set(found)) >= 200
    assert len({name.partition(".")[0] for name in found}) == 8
    assert ref_of("vision.mixup_loss").endswith("practice/vision.py:mixup_loss")


def judged(column: str) -> Judged:
    """A verdict that is counted in a column."""
    name = "practice.vision.mixup_loss"
    plain = {
        "confirmed": Plain(differences={"gradients": "call[0].grad(x): off by 1"}),
        "false alarm": Plain(differences={"layout": "call[0].output: (1, 2)"}),
    }
    if column in plain:
        return Judged(record=red(name, "inductor"), plain=plain[column])
    return Judged(record=a_record(name, "inductor", outcome=Outcome(column)))


@pytest.mark.parametrize("column", ["pass", "confirmed", "false alarm", "invalid"])
def test_where_a_verdict_is_counted(column: str) -> None:
    """A red is confirmed by a difference of the kind that it speaks of, and by no other."""
    assert judged(column).column == column


def test_a_red_that_is_unstable_in_eager_is_not_confirmed() -> None:
    """A difference between two uncompiled runs is none of a backend."""
    plain = Plain(differences={"values": "off"}, unstable={"values": "off"})
    assert Judged(record=red(), plain=plain).column == "false alarm"


def test_a_crash_is_confirmed_by_a_crash() -> None:
    """An end that torch alone has as well is no false alarm."""
    record = a_record("practice.vision.mixup_loss", outcome=Outcome.CRASH, checks=())
    assert Judged(record=record, plain=Plain(ended="killed by SIGSEGV")).column == "confirmed"
    assert Judged(record=record, plain=Plain()).column == "false alarm"


def test_the_page_of_false_alarms_counts_and_lists() -> None:
    """One row for each domain and backend, a sum, and each verdict that is no pass with its message."""
    text = page([judged(column) for column in ("pass", "pass", "confirmed", "false alarm", "invalid")])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    assert ["vision", "inductor", "5", "2", "1", "1", "1", ""] in cells
    assert ["all", "inductor", "5", "2", "1", "1", "1", ""] in cells
    assert "**2** of 5 verdicts are false alarms or invalid." in text
    assert sum(row[0] == "vision.mixup_loss" for row in cells) == 3


KIN = a_record("practice.vision.BasicBlock")


def pair(*, shown: bool, caught: bool) -> saboteurs_on_practice.Pair:
    """A model on a saboteur."""
    record = red("practice.vision.BasicBlock") if caught else KIN
    plain = Plain(differences={"values": "off"} if shown else {})
    return saboteurs_on_practice.Pair(
        saboteur="values_off", record=record, plain=plain, kin_record=KIN, kin_plain=Plain()
    )


def test_only_what_torch_alone_shows_has_to_be_caught() -> None:
    """A pair in which the defect has nothing to work on counts neither way."""
    pairs = [pair(shown=True, caught=True)] * 19 + [pair(shown=False, caught=False)] * 9
    missed = pair(shown=True, caught=False)
    assert saboteurs_on_practice.share(pairs) == (19, 19)
    assert saboteurs_on_practice.problems([*pairs, missed]) == []
    assert saboteurs_on_practice.problems([*pairs, missed, missed]) == [
        "19 of 21 pairs are red; missed: values_off on vision.BasicBlock, values_off on vision.BasicBlock"
    ]


def test_what_the_kin_of_a_saboteur_shows_as_well_is_not_its_defect() -> None:
    """PyTorch's own differences show nothing of a saboteur."""
    own = Plain(differences={"values": "off"})
    assert not replace(pair(shown=True, caught=True), kin_plain=own).is_shown
    assert not replace(pair(shown=True, caught=True), kin_record=red("practice.vision.BasicBlock")).is_caught


def test_the_page_of_saboteurs_lists_what_is_missed() -> None:
    """With the message of the judge and the result of torch alone."""
    text = saboteurs_on_practice.page([pair(shown=True, caught=False), pair(shown=False, caught=True)])
    assert "Caught: **0 of 1** (0.0%), 2 pairs" in text
    assert "values: off" in text.partition("## Shown and not caught")[2]


def test_models_are_functions_of_practice() -> None:
    """Ten of them, by the names that the false-alarm job uses."""
    assert len(set(saboteurs_on_practice.MODELS)) == 10
    assert set(saboteurs_on_practice.MODELS) <= set(functions())


@pytest.mark.torch
def test_torch_alone_shows_a_defect_and_nothing_on_an_honest_backend(tmp_path: Path) -> None:
    """Results are kept, so that nothing is run twice."""
    backends = ["eager", *(ref_of_saboteur(SABOTEURS[name].home, name) for name in _DEFECTS)]
    questions = [("language.SwiGLU", backend) for backend in backends]
    path, asked = tmp_path / "plain.jsonl", list[str]()
    honest, *broken = PlainFile(path).all(questions, asked.append)
    assert honest == Plain()
    assert [kind in shown.kinds for shown, kind in zip(broken, _DEFECTS.values(), strict=True)] == [True] * len(
        _DEFECTS
    )
    assert PlainFile(path).all(questions, asked.append) == [honest, *broken]
    assert len(asked) == len(questions)


_DEFECTS = {
    "values_off": "values",
    "gradients_scaled": "gradients",
    "results_detached": "autograd_flags",
    "grad_mode_left_off": "ambient",
    "returned_overwritten": "retention",
    "raises_at_compile": "raised",
    "segfaults_at_run": "ended",
}

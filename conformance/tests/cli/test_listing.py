from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.cli import listing
from conformance.cli.main import main
from conformance.model.errors import SelectionError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
topic: Demonstration
cases:
  - {id: demo.plain.one, title: doubles, inputs: {a: {shape: [1]}}, program: return a * 2, tags: [timing], moves: none}
families:
  - id: demo.modes
    title: modes hold
    inputs: {a: {shape: [4]}}
    probe: a.sin()
    nest: {modes: {no_grad: {with: [], def: []}}, ambient: [enabled, disabled], depth: 1}
  - id: demo.laws
    title: laws hold
    inputs: {a: {shape: [4]}}
    probe: a.sin()
    laws:
      same:
        title: They are the same
        pairs: [{left: [set_true_with], right: [enable_grad_with]}]
"""


@pytest.fixture
def mine(tmp_path: Path) -> list[Path]:
    """A folder of one case and two families."""
    (tmp_path / "demo.yaml").write_text(TEXT)
    return [tmp_path]


def lines(text: str) -> list[list[str]]:
    """The cells of the lines that speak of what a test has written."""
    return [line.split() for line in text.splitlines() if line.startswith("demo.")]


def test_a_family_is_one_line(mine: list[Path]) -> None:
    """Thousands of generated cases do not hide those that people wrote."""
    assert lines(listing.cases(folders=mine)) == [
        ["demo.plain.one", "1", "timing", "doubles"],
        ["demo.modes.*", "4", "exhaustive", "nest", "modes", "hold", "(2", "cases)"],
        ["demo.laws.same.*", "1", "exhaustive", "law", "They", "are", "the", "same", "(1", "cases)"],
    ]


def test_a_glob_or_a_tag_lists_the_cases_themselves(mine: list[Path]) -> None:
    """A selection of cases lists each of them."""
    nests = ["demo.modes.no_grad_def", "demo.modes.no_grad_with"]
    assert [cells[0] for cells in lines(listing.cases(["demo.modes.*"], mine))] == nests
    assert [cells[0] for cells in lines(listing.cases(["demo.*"], mine, ["nest", "timing"]))] == [
        "demo.plain.one",
        *nests,
    ]
    assert lines(listing.cases(folders=mine, tags=["law"])) == lines(listing.cases(["*"], mine, ["law"]))


def test_an_unknown_tag_is_refused(mine: list[Path]) -> None:
    """A misspelt tag does not look like an empty catalogue."""
    with pytest.raises(SelectionError, match=r"no tag matches 'laww'.*\n.*Did you mean 'law'"):
        listing.cases(folders=mine, tags=["laww"])


def test_a_generated_case_is_shown_with_its_family(mine: list[Path]) -> None:
    """The text that it comes from, and the Python that it gives."""
    shown = listing.show("demo.modes.no_grad_def", mine)
    assert shown.startswith(f"# {mine[0]}/demo.yaml:5:5\n- id: demo.modes\n  title: modes hold\n")
    assert "# Python for grad=enabled; grad=disabled\n" in shown
    assert "    @torch.no_grad()\n    def level1():\n        seen.append(a.sin())\n" in shown
    assert "must do the same" not in shown


def test_a_law_is_shown_with_both_its_programs(mine: list[Path]) -> None:
    """One below the other, to be compared by eye."""
    left, right = listing.show("demo.laws.same.set_true_with", mine).split("# Python that must do the same\n")
    assert "    with torch.set_grad_enabled(True):\n" in left
    assert "    with torch.enable_grad():\n" in right


def test_operations_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not below the current folder is what is installed with the suite, as in a wheel."""
    monkeypatch.chdir(tmp_path)
    command = ["list", "ops.torch.add.function.*", "--cases", "cases/operations"]
    assert "ops.torch.add.function.contiguous" in CliRunner().invoke(main, command).stdout
    wrong = CliRunner().invoke(main, ["list", "--cases", "cases/nowhere"])
    assert (wrong.exit_code, "no folder 'cases/nowhere'" in wrong.stderr) == (2, True)

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from click.testing import CliRunner

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Level
from conformance.records.environment import suite_hash
from conformance.tests.jobs.kill_matrix import Kill, Survivor, main, page, problems
from conformance.tests.saboteurs import SABOTEURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEANT = {saboteur.meant for saboteur in SABOTEURS.values()}
LOOKED_FOR = [name for name, spec in CATALOGUE.items() if spec.level is Level.MUST or name in MEANT]


def kills() -> Iterator[Kill]:
    """Each check shows a saboteur that is meant for it, alone."""
    for check in LOOKED_FOR:
        name = next(name for name, saboteur in SABOTEURS.items() if saboteur.meant == check)
        yield Kill(
            name=name,
            shown=Counter({check: 3}),
            first="base.smoke.gradient",
            requests=9,
            is_quick=True,
            suite=suite_hash(),
        )


HONEST = Survivor(name="interpreter", shown=Counter(), requests=9, suite=suite_hash())


def test_a_complete_matrix_has_no_problems() -> None:
    """Every defect is caught by the check meant for it, and every check is the only one somewhere."""
    assert list(problems(list(kills()), [HONEST])) == []


def test_what_is_missing_is_told() -> None:
    """A defect that is not caught, a check that is nowhere alone, and an honest backend that is found guilty."""
    first, second, *others = kills()
    first = Kill(name=first.name, shown=Counter({first.meant: 1, "calls": 1}), first="base.smoke.gradient", requests=9)
    second = Kill(name=second.name, shown=Counter({"calls": 1}), first="", requests=9)
    guilty = Survivor(name="rebuilt", shown=Counter({"layout": 2}), requests=9)
    others = [replace(kill, is_quick=False) for kill in others]
    assert list(problems([first, second, *others], [guilty])) == [
        f"{second.name} is not caught by {second.meant}",
        f"only 0 of {len(others) + 2} show in --tier quick",
        f"no defect is shown by {first.meant} alone",
        f"no defect is shown by {second.meant} alone",
        "rebuilt is right, and shows layout",
    ]


def test_the_page_tells_what_is_of_an_earlier_suite() -> None:
    """Its numbers are of fewer cases."""
    old, *others = kills()
    assert "were run with an earlier version" not in page(others, [])
    assert "Of these 1 were run with an earlier version of the suite" in page([replace(old, suite=""), *others], [])


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    """Saboteurs and honest backends are taken from the file, without a last line that was cut off."""
    done, made = tmp_path / "done.jsonl", tmp_path / "page.md"
    first, *_ = kills()
    known = [vars(first), vars(HONEST)]
    done.write_text("".join(f"{json.dumps(row)}\n" for row in known) + '{"name": "gradi', encoding="utf-8")
    words = [str(made), first.name, HONEST.name, "--done", str(done)]
    assert CliRunner().invoke(main, words).exit_code == 0
    shown = made.read_text(encoding="utf-8")
    assert all(f"| {name} " in shown for name in (first.name, HONEST.name))


def test_the_page_shows_defects_checks_and_honest_backends() -> None:
    """The description of a defect is its docstring, and the number of its intended check is bold."""
    (kill, *_), lines = kills(), page(list(kills()), [HONEST]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    told = {tuple(row) for row in cells}
    first = SABOTEURS[kill.name]
    kin = f"[{first.kin}]({first.kin}.md)"
    assert any(row[:3] == (kill.name, first.home, kin) and row[3].endswith(".") for row in told)
    assert any(row[:3] == (kill.name, "9", "**3**") for row in told)
    assert (kill.meant, kill.name) in told
    assert any(row[0] == "interpreter" and row[-2:] == ("9", "none") for row in told)
    every = len(LOOKED_FOR)
    assert f"Caught by what is meant to catch them: **{every} of {every}**. In `--tier quick`: {every}." in lines

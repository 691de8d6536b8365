from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Level
from conformance.records.environment import suite_hash
from conformance.tests.jobs import kill_matrix
from conformance.tests.jobs.kill_matrix import Kill, Survivor, main, page, problems
from conformance.tests.saboteurs import HONEST as HONEST_BACKENDS
from conformance.tests.saboteurs import SABOTEURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conformance.model.request import BackendInfo
    from conformance.model.result import Record

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


def kept(file: Path, *results: Kill | Survivor) -> Path:
    """A file of results, of which the last line was cut off."""
    rows = [json.dumps(vars(result)) for result in results]
    file.write_text("\n".join([*rows, '{"name": "gradi']), encoding="utf-8")
    return file


def every(suite: str) -> list[Kill | Survivor]:
    """All backends, each as it should be."""
    return [
        *(
            Kill(name=name, shown=Counter({one.meant: 3}), first="base.x.y", requests=9, is_quick=True, suite=suite)
            for name, one in SABOTEURS.items()
        ),
        *(replace(HONEST, name=name) for name in HONEST_BACKENDS),
    ]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the backends that are run from now on, of which none shows anything."""
    names: list[str] = []

    def trial(backend: BackendInfo, **_: object) -> Iterator[Record]:
        names.append(backend.name)
        return iter(())

    monkeypatch.setattr(kill_matrix, "trial", trial)
    monkeypatch.setattr(kill_matrix, "_own", lambda _: {})  # what it keeps would be met by other tests
    return names


def test_what_is_known_is_not_run_again(tmp_path: Path, ran: list[str]) -> None:
    """Saboteurs of an earlier suite, and honest backends of this one, are taken from the file."""
    done, made = kept(tmp_path / "done.jsonl", *every("earlier")), tmp_path / "page.md"
    assert CliRunner().invoke(main, [str(made), "--done", str(done)]).exit_code == 0
    assert ran == []
    shown = made.read_text(encoding="utf-8")
    assert all(f"| {name} " in shown for name in (*SABOTEURS, *HONEST_BACKENDS))


def test_what_is_named_or_stale_is_run_again(tmp_path: Path, ran: list[str]) -> None:
    """Its line takes the place of the one before, and the page says what is not caught any more."""
    first, second, *others = every(suite_hash())
    done = kept(tmp_path / "done.jsonl", first, replace(second, suite="earlier"), *others)
    words = [str(tmp_path / "page.md"), "--done", str(done)]
    again = CliRunner().invoke(main, [*words, first.name])
    assert ran == [first.name]
    assert f"{first.name} is not caught by" in again.output
    assert f"{second.name} is not caught by" in CliRunner().invoke(main, [*words, "--stale"]).output
    assert ran[1:] == [second.name]
    assert len(done.read_text(encoding="utf-8").splitlines()) == len(SABOTEURS) + len(HONEST_BACKENDS)


def test_what_was_never_run_is_told(tmp_path: Path, ran: list[str]) -> None:
    """Some of the backends make no page."""
    first, *_ = every(suite_hash())
    told = CliRunner().invoke(main, [str(tmp_path / "page.md"), first.name])
    assert ran == [first.name]
    lines = told.output.splitlines()
    assert "interpreter was not run" in lines
    assert f"{first.name} was not run" not in lines
    assert not (tmp_path / "page.md").exists()


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

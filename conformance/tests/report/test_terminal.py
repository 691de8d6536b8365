from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rich.text import Text

from conformance.model.enums import Verdict
from conformance.report import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECK = ["grad=enabled,dynamic=auto", "eager", "aot_eager", "aot_eager_decomp_partition", "inductor"]
ROWS = [["verdict", "pass", "fail", "fail", "fail"], ["first differs in", "", "aot_eager", "aot_eager", "aot_eager"]]
AREAS = ["area", "eager", "pre_dispatch_eager", "aot_eager", "aot_eager_decomp_partition", "inductor"]
SCORES = [[area, *["120/143 (2 x, 3 -)"] * 5] for area in ("autocast", "aliasing", "pre_dispatch", "views", "total")]


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """To set how wide the terminal is."""
    return monkeypatch


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160, 240])
@pytest.mark.parametrize(("headers", "rows"), [(CHECK, ROWS), (AREAS, SCORES), (AREAS, SCORES[:1])])
def test_a_table_fits_and_holds_every_cell(
    columns: pytest.MonkeyPatch, width: int, headers: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Whatever it takes: no line is wider than the terminal, and no word is lost."""
    columns.setenv("COLUMNS", str(width))
    drawn = terminal.table(headers, rows)
    assert max(map(len, drawn.splitlines())) <= width
    assert all(drawn.count(row[0]) >= 1 for row in rows)
    assert drawn.count("120/143 (2 x, 3 -)") == sum(row.count("120/143 (2 x, 3 -)") for row in rows)


def test_a_table_with_room_is_one_line_a_row(columns: pytest.MonkeyPatch) -> None:
    """As wide as its cells, and no wider."""
    columns.setenv("COLUMNS", "120")
    assert terminal.table(["area", "mine"], [["pre_dispatch", "2/5 (3 F)"]]) == (
        "area          mine\n------------- ---------\npre_dispatch  2/5 (3 F)"
    )


def test_headers_are_broken_before_anything_else(columns: pytest.MonkeyPatch) -> None:
    """After an underscore, and only as far as it takes."""
    columns.setenv("COLUMNS", "80")
    first, second, *_ = terminal.table(CHECK, ROWS).splitlines()
    assert first.split() == ["aot_eager_decomp_"]
    assert second.split() == ["grad=enabled,dynamic=auto", "eager", "aot_eager", "partition", "inductor"]


def test_backends_become_rows_where_columns_do_not_fit(columns: pytest.MonkeyPatch) -> None:
    """A line for each backend, where there are few areas."""
    columns.setenv("COLUMNS", "60")
    drawn = terminal.table(AREAS, SCORES[:1]).splitlines()
    assert drawn[0].split() == ["area", "autocast"]
    assert [line.split()[0] for line in drawn[2:]] == AREAS[1:]


def test_what_fits_neither_way_is_cut_into_tables(columns: pytest.MonkeyPatch) -> None:
    """Each has the first column."""
    columns.setenv("COLUMNS", "60")
    parts = terminal.table(AREAS, SCORES).split("\n\n")
    assert len(parts) == 3
    assert all(part.count("pre_dispatch ") == 1 for part in parts)


def test_what_is_written_to_a_file_is_80_columns_wide() -> None:
    """There is no terminal here."""
    assert terminal.width() == 80
    assert max(map(len, terminal.prose("word " * 100).splitlines())) <= 80


def test_rows_with_a_text_wrap_it_in_its_column(columns: pytest.MonkeyPatch) -> None:
    """Text before it is not broken."""
    columns.setenv("COLUMNS", "60")
    drawn = terminal.listing(("case", "title"), [("demo.first.one", "word " * 15)]).splitlines()
    assert drawn[2].startswith("demo.first.one  word word")
    assert drawn[3].startswith(" " * 16 + "word")
    assert max(map(len, drawn)) <= 60


def test_rows_without_room_are_paragraphs(columns: pytest.MonkeyPatch) -> None:
    """Each cell under its header; empty ones are left out."""
    columns.setenv("COLUMNS", "40")
    drawn = terminal.listing(
        ("case", "tags", "", "title"), [("a" * 30, "smoke", "x", "word " * 10), ("b", "", "", "t")]
    )
    assert drawn.splitlines()[:4] == ["a" * 30, "  tags: smoke", "  x", "  title: word word word word word word"]
    assert drawn.splitlines()[-2:] == ["b", "  title: t"]


def test_rows_in_a_file_are_lines_to_be_searched() -> None:
    """Where the width is unknown, nothing is broken."""
    assert len(terminal.listing(("case", "title"), [("demo.first.one", "word " * 50)]).splitlines()) == 3


def test_a_table_too_wide_is_grouped_by_what_names_its_rows(columns: pytest.MonkeyPatch) -> None:
    """The first columns are above the rows that have them."""
    rows = [["eager", "training.steps.mlp", phase, "1.0"] for phase in ("forward", "step")]
    headers = ("backend", "case", "phase", "ratio")
    columns.setenv("COLUMNS", "80")
    assert terminal.grouped(headers, rows, by=2) == terminal.table(headers, rows)
    columns.setenv("COLUMNS", "30")
    assert terminal.grouped(headers, rows, by=2) == (
        "eager / training.steps.mlp\nphase    ratio\n-------- -----\nforward  1.0\nstep     1.0"
    )


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Stdout is a terminal with colours."""
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stdout=Terminal()))
    monkeypatch.setenv("TERM", "xterm-256color")
    return monkeypatch


def test_verdicts_have_colours_on_a_terminal(colourful: pytest.MonkeyPatch) -> None:
    """And none where NO_COLOR is set, or in a file; widths are the same."""
    red = terminal.styled("fail", terminal.BAD)
    assert (red != "fail", Text.from_ansi(red).plain) == (True, "fail")
    drawn = terminal.table(["a", "b"], [[red, "1"]])
    assert "\x1b[" in drawn
    colourful.setenv("NO_COLOR", "1")
    assert terminal.styled("fail", terminal.BAD) == "fail"
    assert Text.from_ansi(drawn).plain == terminal.table(["a", "b"], [["fail", "1"]])
    colourful.delenv("NO_COLOR")
    colourful.setattr(terminal, "sys", SimpleNamespace(stdout=io.StringIO()))
    assert terminal.styled("fail", terminal.BAD) == "fail"


def test_the_colour_of_a_verdict_says_what_it_counts_as() -> None:
    """The style is red for exactly the verdicts that the gate calls red."""
    assert {verdict for verdict in Verdict if terminal.style_of(verdict) == terminal.BAD} == {
        verdict for verdict in Verdict if not verdict.is_green
    }
    styles = [terminal.style_of(verdict) for verdict in (Verdict.PASS, Verdict.XFAIL, Verdict.SKIP)]
    assert styles == [terminal.GOOD, terminal.WARN, terminal.QUIET]


def test_a_text_is_folded_in_a_log_of_github_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is plain."""
    assert terminal.folded("3 red", "text") == "text"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert terminal.folded("3 red", "text") == "::group::3 red\ntext\n::endgroup::"

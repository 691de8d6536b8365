"""Text for terminals: its width, its colours, and tables that fit it.

The width is that of the terminal, or COLUMNS; what is written to a file or a pipe is plain, and 80 columns wide.
Colours obey NO_COLOR and FORCE_COLOR as rich reads them. Messages and command lines are never broken: people copy them.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Literal, cast

from rich.box import Box
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from conformance.model.enums import Verdict

    Row = Sequence[str]
    _Colours = Literal["standard", "256", "truecolor", "windows"]

__all__ = [
    "BAD",
    "GOOD",
    "QUIET",
    "WARN",
    "folded",
    "grouped",
    "listing",
    "on_github",
    "prose",
    "style_of",
    "styled",
    "table",
    "width",
]

GOOD, WARN, BAD, QUIET = "green", "yellow", "bold red", "dim"

_WIDE = 10_000  # columns of what has no limit
_ROOM = 24  # columns that text needs to be read
_GAP = 2
_BOX = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
_PIECE = re.compile(r".*?(?:[_,/ .-]+|$)")
"""A piece of a long word, which may be broken after it."""


def width() -> int:
    """The columns of the terminal; 80 where there is none, unless COLUMNS is set."""
    return shutil.get_terminal_size().columns


def styled(text: str, style: str) -> str:
    """The text with the codes of a style, where stdout takes colours; elsewhere the text itself."""
    system = _colours()
    return Style.parse(style).render(text, color_system=COLOR_SYSTEMS[system]) if system and style else text


def style_of(verdict: Verdict) -> str:
    """Red is what the gate calls red; of the rest, what conforms is good, and what is not scored is quiet."""
    if not verdict.is_green:
        return BAD
    if verdict.conforms:
        return GOOD
    return WARN if verdict.scored else QUIET


def prose(text: str) -> str:
    """A paragraph, wrapped to the width of the terminal."""
    return "\n".join(wrap(text, width(), break_long_words=False, break_on_hyphens=False))


def on_github() -> bool:
    """Whether this process is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def folded(title: str, text: str) -> str:
    """The text; in a log of GitHub Actions, folded under its title."""
    return f"::group::{title}\n{text}\n::endgroup::" if on_github() else text


def table(headers: Row, rows: Sequence[Row]) -> str:
    """A table of words and numbers that is as wide as the terminal at most.

    Where it is too wide, headers take several lines; then rows and columns change places; then it is cut into tables
    beside which the first column is repeated.
    """
    limit = width()
    turned = [list(column) for column in zip(headers, *rows, strict=True)]
    for head, body in ((headers, rows), (turned[0], turned[1:])):
        narrow = _broken(head, body, limit)
        if _total(narrow, body) <= limit:
            return _rendered(narrow, body, limit)
    parts = [_taken(headers, rows, columns) for columns in _panels(headers, rows, limit)]
    return "\n\n".join(_rendered(_broken(head, body, limit), body, limit) for head, body in parts)


def grouped(headers: Row, rows: Sequence[Row], by: int) -> str:
    """A table; where it is too wide, one for each value of the first `by` columns, under those."""
    if _total(headers, rows) <= width():
        return table(headers, rows)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[:by]), []).append(row[by:])
    return "\n\n".join(f"{' / '.join(name)}\n{table(headers[by:], part)}" for name, part in groups.items())


def listing(headers: Row, rows: Iterable[Sequence[object]]) -> str:
    """A table whose last column is text, which is broken into lines where it does not fit.

    Where there is no room for it, each row is a paragraph. What is written to a file has no limit unless COLUMNS is
    set: each row is one line, to be searched.
    """
    limit = width() if sys.stdout.isatty() or os.environ.get("COLUMNS") else _WIDE
    texts = [[str(cell) for cell in row] for row in rows]
    *fixed, last = ([header, *(row[place] for row in texts)] for place, header in enumerate(headers))
    room = limit - sum(max(map(_length, column)) + _GAP for column in fixed)
    if room >= min(_ROOM, max(map(_length, last))):
        return _rendered(headers, texts, limit)
    return "\n".join(_paragraph(headers, row, limit) for row in texts)


def _paragraph(headers: Row, row: Row, limit: int) -> str:
    lines = [f"{header}: {cell}" if header else cell for header, cell in zip(headers[1:], row[1:], strict=True) if cell]
    broken = (wrap(line, limit - _GAP, subsequent_indent="  ") for line in lines)
    return "\n".join([row[0], *(f"  {part}" for parts in broken for part in parts)])


def _rendered(headers: Row, rows: Sequence[Row], limit: int) -> str:
    drawn = Table(box=_BOX, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for place, header in enumerate(headers):
        drawn.add_column(Text(header), no_wrap=place < len(headers) - 1, vertical="top")
    for row in rows:
        drawn.add_row(*(Text.from_ansi(cell) for cell in row))
    buffer = io.StringIO()
    system = _colours()
    console = Console(
        file=buffer,
        width=limit,
        color_system=system,
        force_terminal=bool(system),
        force_jupyter=False,  # where it would show the table itself
        highlight=False,
    )
    console.print(drawn)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _colours() -> _Colours | None:
    """The kind of colours that stdout takes, as rich calls it; None where it takes none."""
    console = Console(file=sys.stdout, force_jupyter=False)
    return None if console.no_color else cast("_Colours | None", console.color_system)


def _length(text: str) -> int:
    """Columns of the widest line."""
    return max((line.cell_len for line in Text.from_ansi(text).split("\n", allow_blank=True)), default=0)


def _widths(headers: Row, rows: Iterable[Row]) -> list[int]:
    return [max(map(_length, column)) for column in zip(headers, *rows, strict=True)]


def _total(headers: Row, rows: Sequence[Row]) -> int:
    widths = _widths(headers, rows)
    return sum(widths) + _GAP * (len(widths) - 1)


def _broken(headers: Row, rows: Sequence[Row], limit: int) -> list[str]:
    """Headers that take several lines where the table would be too wide otherwise, the longest first."""
    narrow = list(headers)
    bodies = [max(map(_length, column), default=0) for column in zip(*rows, strict=True)] or [0] * len(narrow)
    for place in sorted(range(len(narrow)), key=lambda place: bodies[place] - _length(narrow[place])):
        excess = _total(narrow, rows) - limit
        if excess > 0:
            narrow[place] = _filled(narrow[place], max(bodies[place], _length(narrow[place]) - excess))
    return narrow


def _filled(text: str, limit: int) -> str:
    """The text in lines of so many columns, or as many as its longest piece needs."""
    lines = [""]
    for piece in filter(None, _PIECE.findall(text)):
        if lines[-1] and len(f"{lines[-1]}{piece}".rstrip()) > limit:
            lines.append(piece)
        else:
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _panels(headers: Row, rows: Sequence[Row], limit: int) -> list[list[int]]:
    """The columns of each part of a table that is cut, without the first."""
    first, *others = _widths(_broken(headers, rows, 0), rows)
    panels: list[list[int]] = [[]]
    room = limit - first
    for place, needed in enumerate(others, start=1):
        if panels[-1] and room < needed + _GAP:
            panels.append([])
            room = limit - first
        panels[-1].append(place)
        room -= needed + _GAP
    return panels


def _taken(headers: Row, rows: Sequence[Row], columns: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    cut = [[row[place] for place in (0, *columns)] for row in (headers, *rows)]
    return cut[0], cut[1:]

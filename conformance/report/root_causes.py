"""The root causes of a backend's failures, each once, and how often each check did not hold in each area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from conformance.model.attribution import Cause
from conformance.model.moves import move_of
from conformance.report import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["profile", "profile_table", "root_causes"]

_SHOWN = 10
_HALF = 0.5
_MOVES = "moves"
_ENDS = ("error", "crash", "timeout")
_ABOUT = """\
What a request shows first, and apart from it what the backend does around every graph; one request may have both. What
it shows later is taken for the consequence. *Without it* is the score with the check set aside that shows the cause:
between what would surely conform and, if all else is its consequence, what might."""
_UNATTRIBUTED = (
    "These failures have no attribution: `conformance attribute` runs the controls that say whose fault they are."
)
_PROFILE = """\
Requests of each area in which a check did not hold, or that ended in another way; bold where they are half of the area
or more."""


def root_causes(rows: pd.DataFrame) -> Iterator[str]:
    """The section, the cause first that takes most requests along; nothing where nothing failed.

    Args:
        rows: the records of one backend.
    """
    failing = rows[rows["root_causes"] != ""]
    if failing.empty:
        return
    exploded = failing.assign(cause=failing["root_causes"].str.split("\n")).explode("cause")
    counts = exploded["cause"].value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    lines = [
        f"{place}. {_line(name, exploded[exploded['cause'] == name], rows)}" for place, name in enumerate(names, 1)
    ]
    unknown = "" if failing["attribution"].notna().any() else f"\n\n{_UNATTRIBUTED}"
    yield f"## Root causes ({len(names)})\n\n{_ABOUT}{unknown}"
    yield from markdown.shortened(lines, _SHOWN)


def _line(name: str, having: pd.DataFrame, rows: pd.DataFrame) -> str:
    """A cause: how many requests it takes along, the score without it, and whose fault they are."""
    conforming, scored = int(rows["conforms"].sum()), int(rows["scored"].sum())
    surely = conforming + int(having["alone"].sum())
    perhaps = conforming + int((having["root_causes"] == name).sum())
    score = f"{perhaps}" if surely == perhaps else f"{surely} to {perhaps}"
    requests = markdown.plural(len(having), "request")
    return f"{markdown.plain(name)}: **{requests}**; without it: {score} of {scored}{_faults(having)}"


def _faults(having: pd.DataFrame) -> str:
    """How many of its requests are attributed to what; empty if none is."""
    counts = having["attribution"].value_counts()
    words = [f"{cause} {counts[cause.value]}" for cause in Cause if counts.get(cause.value, 0)]
    missing = [f"not attributed {number}"] if (number := int(having["attribution"].isna().sum())) else []
    return f" ({', '.join([*words, *missing])})" if words else ""


def profile(rows: pd.DataFrame, checks: pd.DataFrame, plot: str) -> Iterator[str]:
    """The section: areas by checks, as a table and as a plot; nothing where nothing failed.

    Args:
        rows: the records of one backend.
        checks: the checks of the same records.
        plot: where the plot is.
    """
    table = profile_table(rows, checks)
    if table.empty:
        return
    totals = rows.groupby("area", observed=True).size()
    cells = [
        (area, totals[area], *(_shade(int(number), int(totals[area])) for number in counts))
        for area, counts in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    yield f"## Profile by check\n\n{_PROFILE}"
    yield markdown.table(("area", "requests", *table.columns), cells, right=range(1, len(table.columns) + 2))
    yield f"![Share of the requests of each area in which each check did not hold]({plot})"


def profile_table(rows: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
    """How many requests of each area broke each check or ended in another way; only those that any did."""
    broken = checks[checks["breaks"]]
    ended = rows[rows["outcome"].isin(_ENDS)]
    named = [
        broken.assign(what=broken["check"].map(lambda name: _MOVES if move_of(name) else name)),
        ended.assign(what=ended["outcome"].astype(str)),
    ]
    seen = pd.concat([each[["area", "case", "variant", "what"]] for each in named]).drop_duplicates()
    return pd.crosstab(seen["area"], seen["what"])


def _shade(number: int, total: int) -> str:
    if not number:
        return ""
    return f"**{number}**" if number >= _HALF * total else str(number)

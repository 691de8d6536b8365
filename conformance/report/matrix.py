"""How many requests conform, by area and backend: in the published overview and in the terminal after a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.model.enums import Verdict
from conformance.model.ladder import LADDER, by_ladder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

__all__ = ["cell", "cell_apart", "counted", "matrix", "own_score", "panels", "tally"]

_WIDTH = len(LADDER)  # backends beside each other on a page


def panels(backends: Iterable[str]) -> list[list[str]]:
    """Names in the order of the ladder, as many to a table as a page is wide: the ladder itself, then the others."""
    ordered = by_ladder(backends)
    ladder, others = [[name for name in ordered if (name in LADDER) is inside] for inside in (True, False)]
    return [names[start : start + _WIDTH] for names in (ladder, others) for start in range(0, len(names), _WIDTH)]


def tally(frame: pd.DataFrame) -> dict[Verdict, int]:
    """How often each verdict occurs, in the order of the legend; those that do not occur are left out."""
    counts = frame["verdict"].astype(str).value_counts()
    return {verdict: int(counts[verdict]) for verdict in Verdict if verdict in counts.index}


def cell(frame: pd.DataFrame) -> str:
    """`conforming/scored`, then the mark and number of everything that is no plain pass: `12/14 (2 x, 3 -)`."""
    return counted(tally(frame))


def cell_apart(frame: pd.DataFrame) -> str:
    """The same as `cell`, the score without failures that are set apart, and their number: `own 12/13, 1 apart`."""
    apart = int(frame["elsewhere"].sum())
    if not apart:
        return cell(frame)
    return f"{cell(frame)}; own {own_score(frame)}, {apart} apart"


def own_score(frame: pd.DataFrame) -> str:
    """`conforming/scored`, without failures that are not the fault of what a request is about."""
    return f"{int(frame['conforms'].sum())}/{int((frame['scored'] & ~frame['elsewhere']).sum())}"


def counted(counts: Mapping[Verdict, int]) -> str:
    """The same as `cell`, from how often each verdict occurs."""
    scored = sum(number for verdict, number in counts.items() if verdict.scored)
    conforming = sum(number for verdict, number in counts.items() if verdict.conforms)
    marks = ", ".join(f"{number} {verdict.mark}" for verdict, number in counts.items() if verdict is not Verdict.PASS)
    score = f"{conforming}/{scored}" if scored else ""
    return " ".join(part for part in (score, f"({marks})" if marks else "") if part)


def matrix(frame: pd.DataFrame, show: Callable[[pd.DataFrame], str] = cell) -> tuple[list[str], list[list[str]]]:
    """The headers and rows of the matrix area x backend, with a row of totals; `show` makes each cell."""
    backends = by_ladder(map(str, frame["backend"].unique()))
    areas = sorted(frame["area"].unique())
    groups = dict(list(frame.groupby(["area", "backend"], observed=True)))
    rows = [
        [area, *(show(groups[area, name]) if (area, name) in groups else "" for name in backends)] for area in areas
    ]
    totals = ["total", *(show(frame[frame["backend"] == name]) for name in backends)]
    return ["area", *backends], [*rows, totals]

"""Plots as SVG: the speed-up of each case, what compiling costs beside what it saves, and checks by area as a heat map.

They need matplotlib, which the extra `plot` installs.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from conformance.model.ladder import by_ladder
from conformance.report.markdown import page_name
from conformance.timing import timing_frame
from conformance.timing.model import Phase, Speed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from conformance.timing.timing_file import TimingRun

__all__ = ["COMPILING", "SPEED_UPS", "available", "draw", "draw_profile", "profile_plot"]

SPEED_UPS = "plots/speed-ups.svg"
COMPILING = "plots/compiling.svg"

_INK = "#808080"  # can be read on white and on black
_MARKERS = "osD^vP*X<>"
_LINES = (10**2, 10**4, 10**6)  # calls until compiling has paid
_KEY = ["case", "variant", "backend"]
_DARK = 0.6  # share from which a cell is so dark that its number is white


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(run: TimingRun) -> dict[str, str]:
    """The plots of a run as SVG, by file name; equal runs give equal texts in equal versions of matplotlib."""
    rows = timing_frame.of(run)
    timed = rows[rows["phase"].isin([str(Phase.STEP), str(Phase.FORWARD), str(Phase.DISPATCH)])]
    longest = timed.sort_values("phase").drop_duplicates(_KEY, keep="last")  # of forward and step, the step
    cold = rows[rows["phase"] == str(Phase.COMPILE_COLD)]
    backends = by_ladder(map(str, longest["backend"].unique()))
    return {SPEED_UPS: _speed_ups(longest, backends), COMPILING: _compiling(longest, cold, backends)}


def profile_plot(backend: str) -> str:
    """The file name of the heat map of a backend."""
    return f"plots/{page_name(backend).removesuffix('.md')}-profile.svg"


def draw_profile(counts: pd.DataFrame, totals: pd.Series) -> str:
    """A heat map as SVG: areas by checks, the share of the area's requests as shade, with their number.

    Args:
        counts: requests in which a check did not hold, by area.
        totals: requests of each area.
    """
    numbers = counts.to_numpy()
    shares = numbers / totals.loc[counts.index].to_numpy()[:, np.newaxis]
    figure, axes = _axes(height=1.2 + 0.3 * len(counts))
    axes.pcolormesh(shares, cmap="Reds", vmin=0.0, vmax=1.0, edgecolors=_INK, linewidth=0.2)
    for (row, column), share in np.ndenumerate(shares):
        if share:
            ink, place = "white" if share > _DARK else "black", (column + 0.5, row + 0.5)
            axes.annotate(str(numbers[row, column]), place, color=ink, fontsize=8, ha="center", va="center")
    axes.set_xticks(np.arange(counts.shape[1]) + 0.5, list(counts.columns), rotation=30, ha="right")
    axes.set_yticks(np.arange(counts.shape[0]) + 0.5, list(counts.index))
    axes.invert_yaxis()
    return _text(figure)


def _speed_ups(rows: pd.DataFrame, backends: Sequence[str]) -> str:
    rows = rows.assign(name=[_name(*key) for key in zip(rows["case"], rows["variant"], strict=True)])
    # As in the tables, what takes less time than uncompiled is below 1, so further left; the fastest case is on top.
    means = rows.assign(log=np.log(rows["ratio"])).groupby("name", observed=True)["log"].mean()
    names = list(means.sort_values(kind="stable").index)
    figure, axes = _axes(height=1.5 + 0.3 * len(names))
    for shift, backend in enumerate(backends):
        own = rows[rows["backend"] == backend]
        places = [names.index(name) + 0.12 * (shift - len(backends) / 2) for name in own["name"]]
        value, low, high = own["ratio"], own["low"], own["high"]
        known = np.isfinite(high).tolist()  # of a few rounds the interval has no ends
        bounds = [
            [end if is_known else 0.0 for end, is_known in zip(ends, known, strict=True)]
            for ends in (value - low, high - value)
        ]
        axes.errorbar(value, places, xerr=bounds, fmt=_MARKERS[shift % len(_MARKERS)], ms=3, lw=1, label=backend)
    axes.axvline(1.0, color=_INK, lw=0.8)
    axes.set(xscale="log", xlabel="time of a step, or forward, over uncompiled; 95 % interval; left is faster")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", which="both", color=_INK, alpha=0.25, lw=0.4)
    return _svg(figure, axes)


def _name(case: object, variant: object) -> str:
    """A case with the axes of its variant other than `grad=enabled`."""
    axes = ",".join(part for part in str(variant).split(",") if part != "grad=enabled")
    return f"{case} {axes}".rstrip()


def _compiling(rows: pd.DataFrame, cold: pd.DataFrame, backends: Sequence[str]) -> str:
    both = rows.merge(cold[[*_KEY, "seconds"]], on=_KEY, suffixes=("", "_cold"))
    both = both.assign(saved=both["eager_s"] - both["seconds"])
    paying = both[(both["speed"].astype(str) == str(Speed.FASTER)) & (both["saved"] > 0)]
    figure, axes = _axes(height=4.5)
    for shift, backend in enumerate(backends):
        own = paying[paying["backend"].astype(str) == backend]
        never = int((both["backend"].astype(str) == backend).sum()) - len(own)
        label = f"{backend} ({never} that are not faster)"
        axes.plot(own["saved"], own["seconds_cold"], _MARKERS[shift % len(_MARKERS)], ms=4, label=label)
    axes.set(xlabel="seconds saved by each call; left is faster", ylabel="seconds to compile, cold")
    if len(paying):
        axes.set(xscale="log", yscale="log")
        axes.invert_xaxis()  # left is faster here too
    for calls in _LINES if len(paying) else ():
        ends = [paying["saved"].min(), paying["saved"].max()]
        axes.plot(ends, [calls * end for end in ends], color=_INK, lw=0.6, ls="--")
        axes.annotate(f"pays after {calls:,} calls", (ends[0], calls * ends[0]), fontsize=8, color=_INK)
    return _svg(figure, axes)


def _axes(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who plots needs it

    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(which="both", colors=_INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
    return figure, axes


def _svg(figure: Figure, axes: Axes) -> str:
    axes.legend(fontsize=9, labelcolor=_INK, facecolor="none", edgecolor=_INK)
    return _text(figure)


def _text(figure: Figure) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - only who plots needs it

    text = io.StringIO()
    # Letters as paths are as wide as they were measured, whatever fonts a reader has; comments spell them.
    with mpl.rc_context({"svg.hashsalt": "conformance", "svg.fonttype": "path"}):
        figure.savefig(
            text, format="svg", metadata={"Date": None}, transparent=True, bbox_inches="tight", pad_inches=0.15
        )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"

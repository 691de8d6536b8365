"""Plots of timings as SVG: the speed-up of each case with its interval, and what compiling costs beside what it saves.

They need matplotlib, which the extra `plot` installs.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING

from conformance import timing_frame
from conformance.discover import by_ladder
from conformance.timing import Phase, Speed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from conformance.timing_file import TimingRun

__all__ = ["COMPILING", "SPEED_UPS", "available", "draw"]

SPEED_UPS = "plots/speed-ups.svg"
COMPILING = "plots/compiling.svg"

_MARKERS = "osD^vP*X<>"
_LINES = (10**2, 10**4, 10**6)  # calls until compiling has paid
_KEY = ["case", "variant", "backend"]


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


def _speed_ups(rows: pd.DataFrame, backends: Sequence[str]) -> str:
    names = [" ".join(key) for key in rows[["case", "variant"]].drop_duplicates().itertuples(index=False)]
    figure, axes = _axes(height=1.5 + 0.3 * len(names))
    for shift, backend in enumerate(backends):
        own = rows[rows["backend"] == backend]
        places = [
            names.index(f"{case} {variant}") + 0.12 * (shift - len(backends) / 2)
            for case, variant in zip(own["case"], own["variant"], strict=True)
        ]
        value, low, high = 1 / own["ratio"], 1 / own["high"], 1 / own["low"]
        known = (low > 0).tolist()  # of a few rounds the interval has no ends
        bounds = [
            [end if is_known else 0.0 for end, is_known in zip(ends, known, strict=True)]
            for ends in (value - low, high - value)
        ]
        axes.errorbar(value, places, xerr=bounds, fmt=_MARKERS[shift % len(_MARKERS)], ms=3, lw=1, label=backend)
    axes.axvline(1.0, color="black", lw=0.5)
    axes.set(xscale="log", xlabel="times as fast as eager, with the 95 % interval (step, or forward without gradients)")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return _svg(figure, axes)


def _compiling(rows: pd.DataFrame, cold: pd.DataFrame, backends: Sequence[str]) -> str:
    both = rows.merge(cold[[*_KEY, "seconds"]], on=_KEY, suffixes=("", "_cold"))
    both = both.assign(saved=both["eager_s"] - both["seconds"])
    paying = both[(both["speed"].astype(str) == str(Speed.FASTER)) & (both["saved"] > 0)]
    figure, axes = _axes(height=4.5)
    for shift, backend in enumerate(backends):
        own = paying[paying["backend"].astype(str) == backend]
        never = int((both["backend"].astype(str) == backend).sum()) - len(own)
        told = f"{backend} ({never} that are not faster)"
        axes.plot(own["saved"], own["seconds_cold"], _MARKERS[shift % len(_MARKERS)], ms=4, label=told)
    axes.set(xlabel="seconds saved by each call", ylabel="seconds to compile, cold")
    if len(paying):
        axes.set(xscale="log", yscale="log")
    for calls in _LINES if len(paying) else ():
        ends = [paying["saved"].min(), paying["saved"].max()]
        axes.plot(ends, [calls * end for end in ends], color="grey", lw=0.5, ls="--")
        axes.annotate(f"pays after {calls:,} calls", (ends[1], calls * ends[1]), fontsize=6, color="grey")
    return _svg(figure, axes)


def _axes(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who plots needs it

    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, axes: Axes) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - only who plots needs it

    axes.legend(fontsize=7)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "conformance", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"

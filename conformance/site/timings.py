"""What the site shows of timings, as plain JSON values: a table of backends, a row for each phase of a request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from conformance.report import benchmarks
from conformance.timing import timing_frame

if TYPE_CHECKING:
    from conformance.report.benchmarks import Cost
    from conformance.timing.model import Timing
    from conformance.timing.timing_file import TimingRun

__all__ = ["timings"]

_PHASED = ("backend", "case", "variant", "phase", "seconds", "eager_s", "ratio", "low", "high", "speed")


def timings(run: TimingRun) -> dict[str, Any]:
    """Noise, the table of backends, the ratio of every phase, what compiling costs, and what is counted."""
    rows = timing_frame.of(run)
    heads, lines = benchmarks.overall(run)
    paired = rows[rows["speed"].notna()]
    return {
        "noise": benchmarks.noise(run).replace("*", ""),
        "smallest": run.header.smallest,
        "started": run.header.environment.started,
        "cpu": run.header.environment.cpu,
        "threads": run.header.conditions.threads,
        "overall": {"heads": heads, "lines": lines},
        "rows": [_row(dict(zip(_PHASED, values, strict=True))) for values in paired[list(_PHASED)].values.tolist()],
        "compiling": [
            {"case": case, "variant": variant, "backend": backend} | _cost(cost)
            for (case, variant, backend), cost in benchmarks.costs(rows).items()
        ],
        "counted": [_counted(timing) for timing in run.timings if timing.metrics],
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else str(value) for name, value in row.items()}


def _cost(cost: Cost) -> dict[str, Any]:
    return {"cold": _number(cost.cold), "warm": _number(cost.warm), "pays": cost.pays}


def _counted(timing: Timing) -> dict[str, Any]:
    return {"case": timing.case_id, "variant": timing.variant, "backend": timing.backend} | dict(timing.metrics)


def _number(value: float) -> float | None:
    """With the digits that are shown; JSON has no NaN and no infinity."""
    return float(f"{value:.5g}") if math.isfinite(value) else None

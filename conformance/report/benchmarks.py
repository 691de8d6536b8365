"""The page of timings: how fast backends are compared with uncompiled, what compiling costs, and what is counted."""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from conformance.model.ladder import by_ladder
from conformance.report import markdown
from conformance.report.links import NOWHERE, Links
from conformance.report.plots import COMPILING, SPEED_UPS
from conformance.timing import stats, timing_frame
from conformance.timing.model import Phase, Speed
from conformance.timing.timing_file import publishable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from conformance.timing.model import Blocks, Timing
    from conformance.timing.stats import Estimate
    from conformance.timing.timing_file import TimingRun

__all__ = ["Cost", "benchmarks_page", "costs", "noise", "overall", "time_of"]

_PAIRED = tuple(phase for phase in Phase if not phase.is_compile)
_MARK = {Speed.FASTER: "+", Speed.SLOWER: "**slower**", Speed.UNDECIDED: "?"}
_COUNTED = {
    "graphs": "graphs",
    "graph_breaks": "breaks",
    "recompiles": "recompiles",
    "guards": "guards",
    "fx_nodes": "FX nodes",
    "kernels": "kernels",
    "saved_bytes": "saved bytes",
    "eager_saved_bytes": "uncompiled",
    "peak_bytes": "peak bytes",
    "eager_peak_bytes": "uncompiled",
}

_HOW_TO_READ = """\
A ratio is the time of a call over that of an uncompiled one, measured in alternating blocks in one process on the same
tensors: 0.5 takes half as long, 2 twice as long. It is the median over pairs of neighbouring blocks; its 95 % interval
follows. `+` is *faster* and **slower** is slower: the whole interval lies beyond {smallest:.0%}, the smallest
effect that counts here. `?` is *undecided*: nothing of that size was shown, in either direction. Only what conforms on
a backend is timed there; an empty cell was not.

Phases: *forward* is one call; *backward* is timed alone, each time behind a forward that is not; *step* is forward,
backward, and the optimizer's step where the case has one; *dispatch* is a call of a program that does next to nothing,
so that what is left is the way to the compiled code: guards above all."""


def benchmarks_page(run: TimingRun, name: str, folder: str, links: Links = NOWHERE) -> str:
    """The page of a run of timings; `name` and `folder` are its file and the page's folder as commands name them."""
    rows = timing_frame.of(run)
    backends = by_ladder({timing.backend for timing in run.timings})
    return markdown.page(
        "# Benchmarks",
        *([f"**Partial: {reason}.**"] if (reason := publishable(run)) else []),
        _HOW_TO_READ.format(smallest=run.header.smallest),
        noise(run),
        "## Backends",
        "Geometric mean of the ratios over all that was timed. Its interval is of the clock: these cases, timed again.",
        markdown.table(*overall(run), right=range(2, 8)),
        f"![Times as fast as uncompiled, by case]({SPEED_UPS})",
        *(block for phase in _PAIRED for block in _ratios(rows, phase, backends, links)),
        "## Compiling",
        *_compiling(rows, backends, links),
        "## Counted, not timed",
        "These are the same each time, and `conformance compare` holds runs against each other by them.",
        _counted(run.timings, links),
        *_instructions(run.timings),
        "## Not timed",
        _untimed(run.timings, links),
        "## Conditions",
        _conditions(run),
        "## Make this page again",
        _commands(run, name, folder),
    )


def noise(run: TimingRun) -> str:
    """The spread of uncompiled calls timed against themselves, and what follows for verdicts."""
    spreads = [stats.spread(noise) for noise in run.noises]
    if not spreads or any(map(math.isnan, spreads)):
        return "Uncompiled calls were not timed against themselves, so nothing is called faster or slower."
    ratios = [ratio for noise in run.noises for each in noise.ratios.values() for ratio in each]
    measured = f"{len(ratios)} times: 19 of 20 ratios lie within {max(spreads):.1%} of 1"
    often = "" if len(spreads) == 1 else f", in the worst of the {len(spreads)} times that it was begun or continued"
    refused = _REFUSED if math.isinf(timing_frame.smallest_detectable(run)) else ""
    range_ = f"({min(ratios):.3f} to {max(ratios):.3f})"
    return f"Noise: before the run, uncompiled calls were timed against themselves {measured} {range_}{often}.{refused}"


_REFUSED = " **That is wider than the smallest effect that counts, so nothing is called faster or slower.**"


def overall(run: TimingRun) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the table of backends: for each phase how many, the geometric mean, and the verdicts."""
    headers = ["backend", "phase", "timed", "geometric mean", "faster", "slower", "undecided", "worst", "worst case"]
    smallest = timing_frame.smallest_detectable(run)
    groups: dict[tuple[str, Phase], list[tuple[Timing, Blocks]]] = defaultdict(list)
    for timing in run.timings:
        for blocks in timing.blocks:
            groups[timing.backend, blocks.phase].append((timing, blocks))
    order = {name: place for place, name in enumerate(by_ladder({timing.backend for timing in run.timings}))}
    keys = sorted(groups, key=lambda key: (order[key[0]], list(Phase).index(key[1])))
    return headers, [_overall(*key, groups[key], smallest) for key in keys]


def _overall(backend: str, phase: Phase, measured: Sequence[tuple[Timing, Blocks]], smallest: float) -> list[str]:
    ratios = [stats.ratio(blocks) for _, blocks in measured]
    counts = Counter(stats.speed(ratio, smallest) for ratio in ratios)
    worst = max(range(len(ratios)), key=lambda place: ratios[place].value)
    timing = measured[worst][0]
    return [
        backend,
        phase,
        str(len(ratios)),
        _estimate(stats.geometric_mean([blocks for _, blocks in measured])),
        *(f"{counts[speed] / len(ratios):.0%}" for speed in Speed),
        f"{ratios[worst].value:.2f}",
        f"{timing.case_id} {_axes(timing.variant)}".strip(),
    ]


def _estimate(found: Estimate) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _axes(variant: str) -> str:
    """A variant's id without the default `grad=enabled`."""
    return ", ".join(part for part in variant.split(",") if part != "grad=enabled")


def _ratios(rows: pd.DataFrame, phase: Phase, backends: Sequence[str], links: Links) -> Iterator[str]:
    own = rows[rows["phase"] == str(phase)]
    if own.empty:
        return
    yield f"## {phase.capitalize()}"
    in_us = phase is Phase.DISPATCH
    if in_us:
        yield "By how many microseconds a call takes longer than uncompiled, its interval, and the ratio."
    cells = {(row["case"], row["variant"], row["backend"]): _cell(row, in_us=in_us) for _, row in own.iterrows()}
    lines = []
    for case, variant in own[["case", "variant"]].drop_duplicates().itertuples(index=False):
        taken = own[(own["case"] == case) & (own["variant"] == variant)]["eager_s"].median()
        found = (cells.get((case, variant, name), "") for name in backends)
        lines.append((links.case(case), _axes(variant), time_of(taken), *found))
    yield markdown.table(("case", "variant", "uncompiled", *map(links.backend, backends)), lines)


def _cell(row: pd.Series, *, in_us: bool) -> str:
    mark = _MARK[Speed(row["speed"])]
    if in_us:
        us = [1e6 * row[name] for name in ("difference_s", "difference_low", "difference_high")]
        return f"{us[0]:.1f} ({us[1]:.1f} to {us[2]:.1f}), {row['ratio']:.2f} {mark}"
    return f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}) {mark}"


def time_of(taken: float) -> str:
    """Seconds, in the unit that reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if taken >= size:
            return f"{taken / size:.3g} {unit}"
    return f"{taken / 1e-6:.3g} us"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What compiling costs: seconds of the first call, cold and with the cache that this left; NaN if not timed.

    `pays` is after how many steps, or calls, that has paid; *never* where a step is slower, `?` where it is undecided.
    """

    cold: float
    warm: float
    pays: str


def costs(rows: pd.DataFrame) -> dict[tuple[str, str, str], Cost]:
    """Return what compiling costs, by case, variant and backend, of rows of `load_timing`."""
    found: _Found = {
        (row["case"], row["variant"], row["backend"], row["phase"]): (row["seconds"], row["eager_s"], row["speed"])
        for _, row in rows.iterrows()
    }
    cold = rows[rows["phase"] == str(Phase.COMPILE_COLD)]
    return {key: _cost(key, found) for key in cold[["case", "variant", "backend"]].itertuples(index=False, name=None)}


_Found = dict[tuple[str, ...], tuple[float, float, str]]
"""Seconds, those uncompiled, and the verdict, by case, variant, backend and phase."""


def _cost(key: tuple[str, str, str], found: _Found) -> Cost:
    cold, warm = (found.get((*key, phase), (math.nan,))[0] for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM))
    phase = next(each for each in (Phase.STEP, Phase.FORWARD, Phase.DISPATCH) if (*key, each) in found)
    seconds, uncompiled, speed = found[(*key, phase)]
    calls = stats.break_even(cold, uncompiled, seconds)
    # The medians of the sides may disagree with the median of their ratios, on a machine whose speed jumps.
    number = "?" if math.isinf(calls) else f"{calls:,.0f}"
    pays = {Speed.FASTER: number, Speed.SLOWER: "never", Speed.UNDECIDED: "?"}
    return Cost(cold=cold, warm=warm, pays=pays[Speed(speed)])


def _compiling(rows: pd.DataFrame, backends: Sequence[str], links: Links) -> Iterator[str]:
    found = costs(rows)
    if not found:
        yield "It was not timed."
        return
    yield (
        "Seconds of the first call and its backward in a process that has imported PyTorch and compiled nothing, the"
        " median of all repetitions: with no compiler cache, then with the one that this left. Behind them, how many"
        " steps (calls, where there is no backward) it takes until the cold compile has paid, where a step is *faster*"
        " than uncompiled; *never* where it is *slower*, `?` where that is undecided."
    )
    cells = {key: f"{cost.cold:.2f} / {cost.warm:.2f}; {cost.pays}" for key, cost in found.items()}
    lines = [
        (links.case(case), _axes(variant), *(cells.get((case, variant, name), "") for name in backends))
        for case, variant in dict.fromkeys(key[:2] for key in cells)
    ]
    yield markdown.table(("case", "variant", *map(links.backend, backends)), lines)
    yield f"![Seconds to compile beside seconds saved by each call]({COMPILING})"


def _counted(timings: Sequence[Timing], links: Links) -> str:
    rows = [
        (
            links.backend(timing.backend),
            links.case(timing.case_id),
            _axes(timing.variant),
            *(_count(timing, name) for name in _COUNTED),
        )
        for timing in sorted(timings, key=lambda timing: (timing.case_id, timing_frame.by_number(timing.variant)))
        if timing.metrics
    ]
    return markdown.table(("backend", "case", "variant", *_COUNTED.values()), rows, right=range(3, 13))


def _instructions(timings: Sequence[Timing]) -> Iterator[str]:
    rows = [
        (timing.backend, timing.case_id, _axes(timing.variant), phase, f"{base:,}", f"{own:,}", f"{own / base:.3f}")
        for timing in timings
        for phase, (base, own) in timing.instructions.items()
    ]
    if rows:
        yield "Instructions of one call, as Callgrind counts them:"
        headers = ("backend", "case", "variant", "phase", "uncompiled", "compiled", "ratio")
        yield markdown.table(headers, rows, right=range(4, 7))


def _count(timing: Timing, name: str) -> str:
    value = timing.metrics.get(name)
    return "" if value is None else f"{value:,.0f}"


def _untimed(timings: Sequence[Timing], links: Links) -> str:
    left = [timing for timing in timings if not timing.blocks or timing.message]
    if not left:
        return "Everything that was asked for was timed."
    rows = [
        (
            timing.backend,
            links.case(timing.case_id),
            _axes(timing.variant),
            timing.verdict,
            markdown.plain(_first(timing.message)),
        )
        for timing in left
    ]
    return markdown.table(("backend", "case", "variant", "verdict", "why"), rows)


def _first(message: str) -> str:
    return message.split("\n", 1)[0][:200]


def _conditions(run: TimingRun) -> str:
    header, machine = run.header, run.header.environment
    facts = {
        **{name: getattr(machine, name) for name in ("torch", "python", "platform", "cpu", "compiler", "suite_hash")},
        "processors": machine.threads,
        **asdict(header.conditions),
        **({"load at the end": run.footer.load} if run.footer else {}),
        **asdict(header.effort),
        "smallest effect": header.smallest,
        "started": machine.started,
        **_elsewhere(run),
    }
    return markdown.table(("", ""), [(name, markdown.plain(str(value))) for name, value in facts.items()])


def _elsewhere(run: TimingRun) -> dict[str, str]:
    """How many timings were made in which other environment, if any were."""
    counts = Counter(timing.fingerprint for timing in run.timings if timing.fingerprint)
    places = ", ".join(f"{fingerprint} ({number})" for fingerprint, number in counts.most_common())
    return {"in other environments": places} if places else {}


def _commands(run: TimingRun, name: str, folder: str) -> str:
    header = run.header
    refs = [word for info in header.backends for word in ("--backend", info.ref)]
    options = {
        "--budget": f"{header.effort.budget_s:g}",
        "--precision": f"{header.effort.precision:g}",
        "--smallest": f"{header.smallest:g}",
        "--threads": str(header.conditions.threads),
        "--compiles": str(header.compiles),
        "--seed": str(header.seed),
    }
    words = [word for pair in options.items() for word in pair]
    words += ["--callgrind"] if header.callgrind else []
    bench = ["conformance", "bench", *refs, *words, "--records", name]
    report = ["conformance", "report", "--records", name, "--output", folder]
    return markdown.fenced("\n".join(map(shlex.join, (bench, report))), "sh")

"""Medians, intervals and verdicts of paired measurements; pure functions of blocks, without torch.

A ratio is the candidate's time over that of the baseline, which is uncompiled: below 1 is faster. Each two neighbouring
blocks of a round give one, and the median counts: what disturbs a block costs one ratio of many, and a side that varies
more than the other is not flattered, as it would be by the lesser of its blocks. Intervals are percentile intervals of
the bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), drawn from a fixed seed, so
that pages are functions of records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conformance.timing.model import SMALLEST_EFFECT, Speed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.timing.model import Blocks, Noise

Samples = npt.NDArray[np.float64]

__all__ = [
    "LEVEL",
    "Estimate",
    "break_even",
    "change",
    "difference",
    "geometric_mean",
    "is_narrow",
    "is_quiet",
    "log_ratios",
    "ratio",
    "seconds",
    "speed",
    "spread",
]

LEVEL = 0.95
"""The share of intervals that hold what they estimate."""

_RESAMPLES = 1000
_FEWEST_PAIRS = 16  # below, an interval of medians says next to nothing
_SEED = 20130
_BASELINE_FIRST = np.array([True, False, False, True])  # of the pairs of two rounds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and the interval that holds it; the interval has no ends where there was too little to say."""

    value: float
    low: float = -math.inf
    high: float = math.inf

    def exponential(self) -> Estimate:
        """Of a logarithm, the number itself."""
        return Estimate(value=math.exp(self.value), low=math.exp(self.low), high=math.exp(self.high))


def log_ratios(blocks: Blocks) -> Samples:
    """For each pair of blocks, the logarithm of the ratio; drift cancels within a round."""
    baseline, candidate = _by_side(blocks)
    ratios: Samples = np.log(candidate / baseline)
    return ratios


def ratio(blocks: Blocks) -> Estimate:
    """The candidate's time over the baseline's: the median over pairs, with its interval."""
    return _median(log_ratios(blocks)).exponential()


def difference(blocks: Blocks) -> Estimate:
    """Seconds by which one call of the candidate takes longer than one of the baseline: the median over pairs."""
    baseline, candidate = _by_side(blocks)
    return _median((candidate - baseline) / (1e9 * blocks.calls))


def seconds(blocks: Blocks) -> tuple[float, float]:
    """The median time of one call, in seconds: the baseline's and the candidate's."""
    baseline, candidate = _by_side(blocks)
    return tuple(float(np.median(side)) / (1e9 * blocks.calls) for side in (baseline, candidate))  # type: ignore[return-value]


def change(before: Blocks, after: Blocks) -> Estimate:
    """How the ratio to uncompiled changed from one run to another, as a ratio; the two share no round."""
    medians = _medians(log_ratios(after), 1) - _medians(log_ratios(before), 2)
    value = float(np.median(log_ratios(after)) - np.median(log_ratios(before)))
    few = min(len(before.ns), len(after.ns)) < 2 * _FEWEST_PAIRS
    return (Estimate(value=value) if few else _interval(value, medians)).exponential()


def geometric_mean(each: Sequence[Blocks]) -> Estimate:
    """The geometric mean of the ratios of some cases. The interval is of measurement: these cases, timed again."""
    value = float(np.mean([np.median(log_ratios(blocks)) for blocks in each]))
    medians = np.mean([_medians(log_ratios(blocks), place) for place, blocks in enumerate(each)], axis=0)
    return _interval(value, medians).exponential()


def speed(estimate: Estimate, smallest: float = SMALLEST_EFFECT) -> Speed:
    """Faster or slower where the whole interval lies beyond the smallest effect that counts."""
    if estimate.high < 1 / (1 + smallest):
        return Speed.FASTER
    if estimate.low > 1 + smallest:
        return Speed.SLOWER
    return Speed.UNDECIDED


def spread(noise: Noise) -> float:
    """How far uncompiled lies from itself, as a share: 19 of 20 repetitions are nearer to 1. NaN without any."""
    apart = [abs(math.log(value)) for ratios in noise.ratios.values() for value in ratios]
    return math.expm1(float(np.quantile(apart, LEVEL))) if apart else math.nan


def is_quiet(noises: Sequence[Noise], smallest: float) -> bool:
    """Whether the baseline lay near enough to itself, each time, for verdicts on the smallest effect that counts."""
    return bool(noises) and all(spread(noise) <= smallest for noise in noises)


def break_even(compile_s: float, baseline_s: float, candidate_s: float) -> float:
    """How many calls it takes until compiling has paid; infinite where a call saves nothing."""
    saved = baseline_s - candidate_s
    return math.ceil(compile_s / saved) if saved > 0 else math.inf


def is_narrow(blocks: Blocks, precision: float) -> bool:
    """Whether the interval of the ratio is at most `precision` to either side, as a share."""
    found = _median(log_ratios(blocks))
    return found.high - found.low <= 2 * precision


def _by_side(blocks: Blocks) -> tuple[Samples, Samples]:
    """Nanoseconds of the two blocks of each pair: the baseline's, and the candidate's."""
    first, second = np.asarray(blocks.ns, dtype=float).reshape(-1, 2).T
    baseline_first = _BASELINE_FIRST[np.arange(len(first)) % 4]
    return np.where(baseline_first, first, second), np.where(baseline_first, second, first)


def _median(samples: Samples) -> Estimate:
    value = float(np.median(samples))
    return _interval(value, _medians(samples, 0)) if len(samples) >= _FEWEST_PAIRS else Estimate(value=value)


def _medians(samples: Samples, stream: int) -> Samples:
    """Medians of samples drawn anew, with replacement; each stream draws others."""
    size = len(samples)
    order = np.argsort(samples)
    ranks = np.empty(size, dtype=np.int16 if size <= np.iinfo(np.int16).max else np.int64)
    ranks[order] = np.arange(size)
    # The median of numbers is the number of the median rank, and short integers are sorted many times faster.
    drawn = ranks.take(_draws(size, stream))
    drawn.sort(axis=1)
    ordered = samples[order]
    medians: Samples = (ordered[drawn[:, (size - 1) // 2]] + ordered[drawn[:, size // 2]]) / 2
    return medians


@lru_cache(maxsize=4)
def _draws(size: int, stream: int) -> npt.NDArray[np.int64]:
    """The places of what is drawn from so many samples: resamples x samples, always the same for the same stream."""
    return np.random.default_rng([_SEED, stream]).integers(0, size, (_RESAMPLES, size))


def _interval(value: float, resampled: Samples) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=value, low=float(low), high=float(high))

"""Medians, intervals and verdicts of paired measurements; pure functions of blocks, without torch.

A ratio is the candidate's time over that of the uncompiled baseline: below 1 is faster. Each two neighbouring blocks of
a round give one ratio, and the median counts: a disturbed block affects one ratio of many, and a side that varies more
than the other gains nothing, as it would with the minimum of its blocks. Intervals are percentile intervals of the
bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), drawn from a fixed seed, so that
pages depend only on records.
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
"""Confidence level: the share of intervals that contain the true value."""

_RESAMPLES = 1000
_FEWEST_PAIRS = 16  # below, an interval of medians is meaningless
_SEED = 20130
_BASELINE_FIRST = np.array([True, False, False, True])  # whether the baseline is first, for the pairs of two rounds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its confidence interval, which is infinite if there were too few samples."""

    value: float
    low: float = -math.inf
    high: float = math.inf

    def exponential(self) -> Estimate:
        """Return the estimate of the number, from that of its logarithm."""
        return Estimate(value=math.exp(self.value), low=math.exp(self.low), high=math.exp(self.high))


def log_ratios(blocks: Blocks) -> Samples:
    """Return the logarithm of the ratio for each pair of blocks; drift cancels within a round."""
    baseline, candidate = _by_side(blocks)
    ratios: Samples = np.log(candidate / baseline)
    return ratios


def ratio(blocks: Blocks) -> Estimate:
    """Return the candidate's time over the baseline's: the median over pairs, with its interval."""
    return _median(log_ratios(blocks)).exponential()


def difference(blocks: Blocks) -> Estimate:
    """Return the seconds by which a candidate's call takes longer than a baseline's: the median over pairs."""
    baseline, candidate = _by_side(blocks)
    return _median((candidate - baseline) / (1e9 * blocks.calls))


def seconds(blocks: Blocks) -> tuple[float, float]:
    """Return the median time of one call, in seconds: the baseline's and the candidate's."""
    baseline, candidate = _by_side(blocks)
    return tuple(float(np.median(side)) / (1e9 * blocks.calls) for side in (baseline, candidate))  # type: ignore[return-value]


def change(before: Blocks, after: Blocks) -> Estimate:
    """Return the change of the ratio to uncompiled between two runs, as a ratio."""
    medians = _medians(log_ratios(after), 1) - _medians(log_ratios(before), 2)
    value = float(np.median(log_ratios(after)) - np.median(log_ratios(before)))
    few = min(len(before.ns), len(after.ns)) < 2 * _FEWEST_PAIRS
    return (Estimate(value=value) if few else _interval(value, medians)).exponential()


def geometric_mean(each: Sequence[Blocks]) -> Estimate:
    """Return the geometric mean of the ratios of cases; the interval is for timing the same cases again."""
    value = float(np.mean([np.median(log_ratios(blocks)) for blocks in each]))
    medians = np.mean([_medians(log_ratios(blocks), place) for place, blocks in enumerate(each)], axis=0)
    return _interval(value, medians).exponential()


def speed(estimate: Estimate, smallest: float = SMALLEST_EFFECT) -> Speed:
    """Return faster or slower if the whole interval is beyond the smallest effect that counts."""
    if estimate.high < 1 / (1 + smallest):
        return Speed.FASTER
    if estimate.low > 1 + smallest:
        return Speed.SLOWER
    return Speed.UNDECIDED


def spread(noise: Noise) -> float:
    """Return the uncompiled-vs-uncompiled noise, 95th percentile, as a share; NaN without repetitions."""
    deviations = [abs(math.log(value)) for ratios in noise.ratios.values() for value in ratios]
    return math.expm1(float(np.quantile(deviations, LEVEL))) if deviations else math.nan


def is_quiet(noises: Sequence[Noise], smallest: float) -> bool:
    """Whether every noise measurement is small enough for verdicts on the smallest effect that counts."""
    return bool(noises) and all(spread(noise) <= smallest for noise in noises)


def break_even(compile_s: float, baseline_s: float, candidate_s: float) -> float:
    """Return the number of calls after which compiling pays off; infinite if a call saves nothing."""
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
    """Medians of bootstrap resamples; each stream draws different ones."""
    size = len(samples)
    order = np.argsort(samples)
    ranks = np.empty(size, dtype=np.int16 if size <= np.iinfo(np.int16).max else np.int64)
    ranks[order] = np.arange(size)
    # The median is the number of the median rank, and short integers are sorted many times faster.
    drawn = ranks.take(_draws(size, stream))
    drawn.sort(axis=1)
    ordered = samples[order]
    medians: Samples = (ordered[drawn[:, (size - 1) // 2]] + ordered[drawn[:, size // 2]]) / 2
    return medians


@lru_cache(maxsize=4)
def _draws(size: int, stream: int) -> npt.NDArray[np.int64]:
    """Indices of the bootstrap draws, shape (resamples, samples), fixed for a stream."""
    return np.random.default_rng([_SEED, stream]).integers(0, size, (_RESAMPLES, size))


def _interval(value: float, resampled: Samples) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=value, low=float(low), high=float(high))

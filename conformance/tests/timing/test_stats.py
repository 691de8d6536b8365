from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.tests.fakes import some_blocks
from conformance.timing import stats
from conformance.timing.model import Blocks, Noise, Phase, Speed
from conformance.timing.stats import Estimate

TIMES = st.lists(st.integers(1_000, 10**9), min_size=4, max_size=80).map(lambda ns: ns[: len(ns) // 4 * 4])


def blocks(*ns: int, calls: int = 1) -> Blocks:
    """A measurement with these times."""
    return Blocks(phase=Phase.FORWARD, calls=calls, ns=ns)


def test_drift_within_a_round_cancels() -> None:
    """On a machine that becomes slower by a hundredth with each block, equal calls have a ratio of 1."""
    steady = blocks(*(1_000_000 + 10_000 * place for place in range(40)))
    assert stats.ratio(steady).value == pytest.approx(1.0, abs=2e-4)


def test_what_interrupts_a_block_does_not_count() -> None:
    """A disturbed block costs one ratio of many."""
    disturbed = blocks(1000, 3000, 90_000, 1000, 3000, 80_000, 1000, 3000)
    assert stats.ratio(disturbed).value == pytest.approx(3.0)
    assert stats.seconds(disturbed) == pytest.approx((1e-6, 3e-6))


def test_a_side_that_varies_is_not_flattered() -> None:
    """Where every second call takes 30 % longer, that is not cut off: the ratio is between the two."""
    varying = blocks(*(1000, 1000, 1300, 1000, 1000, 1000, 1000, 1300) * 10)
    assert stats.ratio(varying).value == pytest.approx(1.3**0.5)


def test_rounds_are_read_in_the_order_in_which_they_are_run() -> None:
    """The baseline is outside in the first round and inside in the second."""
    assert stats.ratio(blocks(1, 3, 3, 1, 3, 1, 1, 3)).value == pytest.approx(3.0)
    assert stats.seconds(blocks(1000, 3000, 3000, 1000, calls=10)) == pytest.approx((1e-7, 3e-7))
    assert stats.difference(blocks(1000, 3000, 3000, 1000, calls=10)).value == pytest.approx(2e-7)


@given(TIMES, st.integers(2, 50))
def test_a_ratio_has_no_unit(ns: list[int], factor: int) -> None:
    """A machine that is slower throughout gives the same ratio and interval."""
    one, other = stats.ratio(blocks(*ns)), stats.ratio(blocks(*(factor * each for each in ns)))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@given(TIMES)
def test_a_ratio_is_in_its_interval(ns: list[int]) -> None:
    """The ends of an interval are on either side of the estimate."""
    found = stats.ratio(blocks(*ns))
    assert found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)


def test_few_rounds_decide_nothing() -> None:
    """The interval of a handful of rounds has no ends, however clear they look."""
    found = stats.ratio(some_blocks(ratio=3.0, rounds=7))
    assert (found.low, found.high) == (0.0, math.inf)
    assert stats.speed(found) is Speed.UNDECIDED
    assert stats.speed(stats.ratio(some_blocks(ratio=3.0, rounds=8))) is Speed.SLOWER


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.96, Speed.FASTER),
        (0.90, 0.98, Speed.UNDECIDED),
        (0.99, 1.01, Speed.UNDECIDED),
        (1.02, 1.20, Speed.UNDECIDED),
        (1.04, 1.20, Speed.SLOWER),
    ],
)
def test_only_an_interval_beyond_the_smallest_effect_decides(low: float, high: float, verdict: Speed) -> None:
    """What is smaller than 3 % is nobody's concern, and what may be is undecided."""
    assert stats.speed(Estimate(value=(low + high) / 2, low=low, high=high), 0.03) is verdict


def test_an_effect_as_small_as_asked_for_is_found() -> None:
    """One in a hundred counts where it is asked for, and is within the smallest effect by default."""
    found = stats.ratio(some_blocks(ratio=1.02))
    assert stats.speed(found, 0.01) is Speed.SLOWER
    assert stats.speed(found) is Speed.UNDECIDED


def test_the_geometric_mean_is_of_ratios() -> None:
    """Twice as fast and twice as slow make one; the interval contains it."""
    found = stats.geometric_mean([some_blocks(ratio=0.5), some_blocks(ratio=2.0)])
    assert found.value == pytest.approx(1.0, abs=2e-3)
    assert found.low < 1.0 < found.high
    assert found.high - found.low < 0.01


def test_a_change_is_that_of_the_ratio_to_eager() -> None:
    """From 1.0 to 1.1 of the baseline is 10 % slower; two runs of few rounds decide nothing."""
    found = stats.change(some_blocks(ratio=1.0), some_blocks(ratio=1.1))
    assert found.value == pytest.approx(1.1, abs=3e-3)
    assert stats.speed(found) is Speed.SLOWER
    few = stats.change(some_blocks(ratio=1.0), some_blocks(ratio=1.1, rounds=3))
    assert (few.low, few.high) == (0.0, math.inf)


def test_noise_is_the_95th_percentile() -> None:
    """In either direction, over all workloads; without a repetition there is none."""
    ratios = tuple(1.001 for _ in range(98))
    assert stats.spread(Noise(ratios={"a": ratios, "b": (2.0, 0.5)})) == pytest.approx(0.001, abs=1e-4)
    assert stats.spread(Noise(ratios={"a": (0.5, 0.5)})) == pytest.approx(1.0)
    assert math.isnan(stats.spread(Noise()))


def test_compiling_pays_where_calls_save_time() -> None:
    """Two seconds pay after 2,000 calls that save a millisecond each, and never where a call takes longer."""
    assert stats.break_even(2.0, 0.003, 0.002) == 2000
    assert math.isinf(stats.break_even(2.0, 0.002, 0.003))


def test_narrow_intervals_are_known() -> None:
    """Rounds that agree give an interval that is narrow, rounds that do not give a wide one."""
    assert stats.is_narrow(some_blocks(noise=0.001), 0.01)
    assert not stats.is_narrow(some_blocks(noise=0.3), 0.01)
    assert not stats.is_narrow(replace(some_blocks(), ns=(1, 1, 1, 1)), 0.01)

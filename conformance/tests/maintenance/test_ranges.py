from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.maintenance.ranges import fits, fitting

EVER = ["2.13.0", "2.14.1", "2.15.0"]


@pytest.mark.parametrize(
    ("current", "holding", "expected"),
    [
        (None, EVER, None),
        (None, ["2.13.0", "2.14.1"], "<2.15"),
        (None, ["2.14.1", "2.15.0"], ">=2.14"),
        (None, ["2.14.1"], ">=2.14,<2.15"),
        (None, ["2.13.0", "2.15.0"], "!=2.14.*"),
        (">=2.13,<2.15", ["2.13.0", "2.14.1"], ">=2.13,<2.15"),
        (">=2.13,<2.14", ["2.13.0", "2.14.1"], ">=2.13,<2.15"),
        (">=2.13,<2.14", EVER, ">=2.13"),
        ("<2.16", ["2.13.0"], "<2.14"),
        (">=2.15", ["2.14.1", "2.15.0"], ">=2.14"),
        ("==2.13.*", ["2.13.0", "2.14.1"], "<2.15"),
    ],
)
def test_a_range_is_in_minor_releases_and_keeps_what_nothing_contradicts(
    current: str | None, holding: list[str], expected: str | None
) -> None:
    """Of three releases; a bound that no release contradicts is kept."""
    assert fitting(current, holding, [each for each in EVER if each not in holding]) == expected


@pytest.mark.parametrize(
    ("holding", "failing", "expected"),
    [
        (["2.13.0"], ["2.13.1", "2.14.0"], "<2.13.1"),
        (["2.13.1"], ["2.13.0"], ">=2.13.1"),
        (["2.13.0", "2.13.2"], ["2.13.1"], "!=2.13.1"),
        (["2.16.0.dev20261101"], ["2.15.0"], ">=2.16.0.dev20261101"),
        (["2.15.0"], ["2.16.0.dev20261101"], "<2.16.0.dev20261101"),
    ],
)
def test_releases_of_one_minor_are_distinguished_in_full(holding: list[str], failing: list[str], expected: str) -> None:
    """So are nightly builds, which are of no minor release yet."""
    assert fitting(None, holding, failing) == expected


VERSIONS = [f"2.{minor}.{micro}" for minor in (9, 13, 14, 15) for micro in (0, 1)]
RANGES = st.sampled_from([None, "<2.14", ">=2.13", ">=2.13,<2.15", "!=2.14.*", "==2.14.0", "~=2.14.0"])


@given(
    current=RANGES, holding=st.sets(st.sampled_from(VERSIONS), min_size=1), failing=st.sets(st.sampled_from(VERSIONS))
)
def test_a_range_always_fits(current: str | None, holding: set[str], failing: set[str]) -> None:
    """For any releases and any previous range; made again it stays."""
    failing -= holding
    made = fitting(current, holding, failing)
    assert fits(made, holding, failing)
    assert fitting(made, holding, failing) == made

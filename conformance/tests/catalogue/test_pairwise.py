from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conformance.catalogue.pairwise import pairs, pairwise

CANDIDATES = st.integers(0, 5).flatmap(
    lambda width: st.lists(st.tuples(*[st.sampled_from("abc")] * width), min_size=0, max_size=30)
)


@given(candidates=CANDIDATES)
def test_every_pair_of_values_that_occurs_is_shown(candidates: list[tuple[str, ...]]) -> None:
    """No two values of two factors that occur in a candidate are missed."""
    chosen = pairwise(candidates)
    expected = frozenset().union(*map(pairs, candidates))
    assert frozenset().union(*(pairs(candidates[index]) for index in chosen)) == expected


@given(candidates=CANDIDATES)
def test_nothing_is_chosen_in_vain(candidates: list[tuple[str, ...]]) -> None:
    """The choice is made of different candidates, in their order, and never larger than the number of pairs."""
    chosen = pairwise(candidates)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= len(frozenset().union(*map(pairs, candidates)))
    assert all(0 <= index < len(candidates) for index in chosen)


@given(candidates=CANDIDATES)
def test_the_choice_is_stable(candidates: list[tuple[str, ...]]) -> None:
    """The same candidates give the same choice, and candidates that add nothing do not change it."""
    chosen = pairwise(candidates)
    assert pairwise(candidates) == chosen
    assert pairwise(candidates + candidates) == chosen


def test_the_choice_is_much_smaller_than_the_whole() -> None:
    """Of 3^4 candidates, 9 could do; the greedy choice is near."""
    whole = [(a, b, c, d) for a in "abc" for b in "abc" for c in "abc" for d in "abc"]
    assert 9 <= len(pairwise(whole)) <= 13


def test_pairs_of_a_candidate_name_their_factors() -> None:
    """The same two values in other places are another pair."""
    assert pairs("xy") == {(0, "x", 1, "y")}
    assert pairs("xx") != pairs("x")
    assert len(pairs("abcd")) == 6

"""A program is kept if it reaches what none before it has."""

from __future__ import annotations

from random import Random

import pytest

from conformance.tests.fakes import a_case
from conformance.tests.triage.fuzz.drawing import drawn
from conformance.triage.fuzz.choices import Choices, varied
from conformance.triage.fuzz.guidance import Drawn, Guide, Kept, pairs, reaching

FIRST = Drawn(case=a_case(), choices=(1, 2), pairs=pairs(["op sin", "level no_grad", "op cos"]))
SECOND = Drawn(case=a_case(), choices=(3,), pairs=pairs(["op sin", "level no_grad"]))


def test_pairs_are_of_consecutive_parts() -> None:
    """Each part with the next one, in this order."""
    assert FIRST.pairs == {"op sin > level no_grad", "level no_grad > op cos"}
    assert pairs(["op sin"]) == frozenset()


def test_what_another_one_has_reached_is_nothing_new() -> None:
    """A program that reaches nothing but that is not kept."""
    assert [one.choices for one in reaching([(FIRST, ()), (SECOND, ())], ())] == [(1, 2)]
    assert [one.choices for one in reaching([(SECOND, ()), (FIRST, ())], ())] == [(3,), (1, 2)]


def test_what_the_compiler_shows_counts_too() -> None:
    """A guard that no program had before keeps the program that has it."""
    assert reaching([(SECOND, ["guard A"]), (SECOND, ["guard B"])], SECOND.pairs) == (
        Kept(choices=(3,), reached=("guard A",)),
        Kept(choices=(3,), reached=("guard B",)),
    )


def test_what_was_known_before_is_nothing_new() -> None:
    """Whatever an earlier chunk has reached."""
    before = Guide(reaching([(FIRST, ["guard A"])], ()))
    assert reaching([(SECOND, ["guard A"]), (FIRST, ())], before.reached) == ()


def test_choices_are_as_given_as_far_as_that_goes() -> None:
    """Beyond, they are random, below the number of options, and all are remembered."""
    choices = drawn(7, 1)
    assert [choices.pick("abc"), choices.pick("abc")] == ["b", "b"]
    assert choices.pick(range(10)) in range(10)
    assert choices.made[:2] == [1, 1]
    assert len(choices.made) == 3


@pytest.mark.parametrize("count", [1, 2, 30])
def test_varied_choices_are_like_the_first_ones(count: int) -> None:
    """They begin as these do, and end as these do, or are cut; something differs in most."""
    random, first = Random(5), tuple(range(count))  # noqa: S311 - repeatable is what it must be
    for _ in range(100):
        other = varied(first, random)
        kept = sum(a == b for a, b in zip(first, other, strict=False))
        assert kept == len(other) or kept < max(len(first), len(other))
        assert len(other) <= len(first) + 4
        assert set(other) <= set(first)
    assert len({varied(first, random) for _ in range(100)}) >= min(count, 20)


def test_the_same_chance_varies_in_the_same_way() -> None:
    """Nothing else has an influence."""
    first, second = (varied(range(20), Random(3)) for _ in range(2))  # noqa: S311 - as above
    assert first == second
    assert Choices(Random(3)).pick(range(99)) == Choices(Random(3)).pick(range(99))  # noqa: S311 - as above

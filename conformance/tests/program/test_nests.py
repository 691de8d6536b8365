from __future__ import annotations

import ast
from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.catalogue.loader import load_cases
from conformance.model.enums import Capability
from conformance.program.nests import (
    AMBIENT,
    LEVELS,
    MODES,
    RULES,
    Grammar,
    NestLevel,
    Point,
    level_of,
    program,
    requires,
)
from conformance.program.subset import Violation, Vocabulary, check, check_body, parse

WHOLE = Grammar()
NESTS = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map(tuple)


def levels(text: str) -> tuple[NestLevel, ...]:
    """Levels written with spaces between them."""
    found = tuple(map(level_of, text.split()))
    assert None not in found
    return found  # type: ignore[return-value]


def exchanged(point: Point) -> Point:
    """The point with float16 for bfloat16 and the other way round."""
    other = {"bfloat16": "float16", "float16": "bfloat16"}
    within = tuple(NestLevel(other.get(mode, mode), form) for mode, form in point.levels)
    return Point(within, other.get(point.ambient, point.ambient))


def test_there_are_twenty_levels_and_five_ambient_modes() -> None:
    """Nine modes as block and decorator, and two of them as a call."""
    assert (len(MODES), len(LEVELS), len(AMBIENT)) == (9, 20, 5)
    assert [str(level) for level in LEVELS if level.form == "call"] == ["set_true_call", "set_false_call"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_point_is_run_or_counted_as_left_out(depth: int) -> None:
    """What is counted without being made is what making it gives."""
    points = list(WHOLE.points(depth))
    assert len(points) == len(set(points)) == WHOLE.unpruned(depth)
    assert WHOLE.size(depth) == 5 * 20**depth
    assert set(WHOLE.pruned(depth)) == set(RULES)


def test_the_size_of_the_grammar_stays_in_hand() -> None:
    """How many points are run by depth; the time of a run follows from it."""
    assert [sum(1 for _ in WHOLE.points(depth)) for depth in (1, 2, 3)] == [100, 610, 3696]


def test_of_two_symmetric_points_one_is_run() -> None:
    """Exchanging the two autocast dtypes leads out of the points that are run, or back to the same point."""
    points = set(WHOLE.points(2))
    assert all(exchanged(point) == point or exchanged(point) not in points for point in points)


def full(depth: int) -> list[Point]:
    """The whole grammar, made the simple way."""
    return [Point(levels, ambient) for ambient in AMBIENT for levels in product(LEVELS, repeat=depth)]


def test_one_level_loses_nothing() -> None:
    """Each level is run under each ambient mode, and so is float16, which is not the default of CPU autocast."""
    assert set(WHOLE.points(1)) == set(full(1))


@pytest.mark.parametrize(
    ("nest", "ambient", "runs"),
    [
        ("set_true_with", "enabled", True),
        ("no_grad_with set_true_with", "enabled", False),  # spelling
        ("no_grad_with set_true_call", "enabled", True),
        ("no_grad_with enable_grad_def", "enabled", True),
        ("no_grad_with enable_grad_def", "disabled", False),  # forms
        ("no_grad_def enable_grad_def", "disabled", True),
        ("set_false_call enable_grad_def", "disabled", True),
        ("no_grad_with enable_grad_with no_grad_def", "enabled", False),  # forms
        ("no_grad_def set_true_call no_grad_def", "enabled", True),
        ("float16_with bfloat16_with", "enabled", False),  # exchange
        ("bfloat16_with float16_with", "enabled", True),
        ("float16_with bfloat16_with", "bfloat16", True),
        ("no_grad_with autocast_off_with", "enabled", True),
        ("no_grad_with autocast_off_with no_grad_with", "enabled", False),  # no_effect
        ("no_grad_with autocast_off_with no_grad_with", "bfloat16", True),
        ("bfloat16_with no_grad_with autocast_off_with", "enabled", True),
        ("bfloat16_with autocast_off_with autocast_off_with", "enabled", False),  # no_effect
        ("autocast_off_with bfloat16_with autocast_off_with", "bfloat16", True),
    ],
)
def test_the_rules_leave_out_what_they_say(nest: str, ambient: str, runs: bool) -> None:
    """Each rule at work, and next to it a point that it spares."""
    point = Point(levels(nest), ambient)
    assert (point in set(WHOLE.points(len(point.levels)))) is runs


def test_a_rule_rests_on_what_the_grammar_has() -> None:
    """The equivalent of a point that is left out must be there itself."""
    lone = Grammar(levels=levels("set_true_with float16_with"), ambient=("enabled",))
    assert sum(lone.pruned(2).values()) == 0
    assert len(list(lone.points(2))) == 4
    halved = Grammar(ambient=("enabled", "float16"))
    assert halved.pruned(2)["exchange"] == 0


def test_a_sample_is_seeded_and_lies_within_the_rules() -> None:
    """The same seed draws the same points on every machine; another seed draws others."""
    drawn = WHOLE.sample(3, 50, seed=0)
    assert drawn == WHOLE.sample(3, 50, seed=0) == sorted(set(drawn))
    assert set(drawn) <= set(WHOLE.points(3))
    assert drawn != WHOLE.sample(3, 50, seed=1)
    assert str(drawn[0].levels[0]) == "autocast_off_def"


def test_a_sample_reaches_all_of_the_grammar() -> None:
    """A large sample holds every level at each depth and every ambient mode that is run."""
    drawn = WHOLE.sample(2, 300, seed=0)
    assert {point.ambient for point in drawn} == set(AMBIENT) - {"float16"}
    for depth in (0, 1):
        actual = Counter(point.levels[depth] for point in drawn)
        assert set(actual) == {point.levels[depth] for point in WHOLE.points(2)}


def test_a_sample_of_nearly_everything_is_refused() -> None:
    """So large a sample should be a full run."""
    with pytest.raises(ValueError, match="a sample of 51 is more than half of the 100 points that are 1 deep"):
        WHOLE.sample(1, 51, seed=0)


def test_a_program_observes_the_way_in_and_the_way_out() -> None:
    """Blocks end, functions are called at once, and a call lasts to the end of what surrounds it."""
    text = program(levels("no_grad_with set_true_call bfloat16_def"), "probe(a)")
    assert (
        text
        == """\
seen = []
seen.append(probe(a))
with torch.no_grad():
    seen.append(probe(a))
    torch.set_grad_enabled(True)
    seen.append(probe(a))

    @torch.autocast("cpu", dtype=torch.bfloat16)
    def level3():
        seen.append(probe(a))

    level3()
    seen.append(probe(a))
seen.append(probe(a))
return seen
"""
    )


def test_the_program_of_a_law_observes_the_innermost_level_and_the_end() -> None:
    """Nests of different depth give results that can be compared one by one; no nest is a program too."""
    text = program(levels("no_grad_def enable_grad_with"), "probe(a)", innermost=True)
    assert (
        text
        == """\
seen = []

@torch.no_grad()
def level1():
    with torch.enable_grad():
        seen.append(probe(a))

level1()
seen.append(probe(a))
return seen
"""
    )
    nothing = program((), "probe(a)", innermost=True)
    assert nothing == "seen = []\nseen.append(probe(a))\nseen.append(probe(a))\nreturn seen\n"


@given(nest=NESTS, innermost=st.booleans())
def test_every_program_is_within_the_subset(nest: tuple[NestLevel, ...], innermost: bool) -> None:
    """What the loader does not check again would pass, and has as many observations as it should."""
    text = program(nest, "probe(a)", innermost=innermost)
    tree = parse(text)
    assert not isinstance(tree, Violation)
    nodes = list(ast.walk(tree))
    known = Vocabulary.of(nodes, ["a"]) | Vocabulary(names=frozenset({"probe"}))
    assert [*check(nodes, text, known), *check_body(tree)] == []
    observations = sum(isinstance(node, ast.Name) and node.id == "probe" for node in ast.walk(tree))
    calls = sum(level.form == "call" for level in nest)
    assert observations == (2 if innermost else 1 + 2 * len(nest) - calls)


@given(nest=NESTS)
def test_a_level_reads_as_it_is_written(nest: tuple[NestLevel, ...]) -> None:
    """The segments of an id are levels again."""
    assert tuple(level_of(str(level)) for level in nest) == nest


@pytest.mark.parametrize("text", ["no_grad", "no_grad_call", "nograd_with", "_with", "with", ""])
def test_what_is_no_level_is_none(text: str) -> None:
    """Unknown modes, and forms that a mode does not have."""
    assert level_of(text) is None


def test_a_nest_requires_what_its_modes_require() -> None:
    """What a backend does not claim leaves out the nests that use it, and no others."""
    assert requires(levels("no_grad_with set_true_call")) == {Capability.GRAD_MODE}
    assert requires(levels("inference_def float16_with")) == {
        Capability.INFERENCE_MODE,
        Capability.AUTOCAST,
        Capability.FLOAT16,
    }


def test_every_nest_of_the_suite_is_named_after_its_levels() -> None:
    """The id of a case describes its program."""
    for case in load_cases():
        if case.area == "nest":
            named = [level_of(part) for part in case.id.removeprefix("nest.modes.").split(".")]
            assert None not in named
            assert case.program == program([level for level in named if level], "probe(a, w, h, k)")

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from conformance.model.enums import Capability
from conformance.oracle import agreement
from conformance.program import build
from conformance.program.nest_reader import levels_of
from conformance.program.nests import MODES
from conformance.tests.fakes import a_case, a_request
from conformance.tests.roles import observed
from conformance.tests.triage.fuzz.drawing import drawn, programs
from conformance.triage.fuzz.choices import Choices, varied
from conformance.triage.fuzz.finding import code
from conformance.triage.fuzz.grammar import CHUNK, FEATURES, features, program
from conformance.triage.fuzz.grammar import chunk as guided_chunk
from conformance.triage.fuzz.guidance import Drawn, Guide, reaching

if TYPE_CHECKING:
    from conformance.model.case import Case

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

_SHOW = """
from conformance.triage.fuzz.grammar import chunk
from conformance.triage.fuzz.guidance import Guide, reaching
first = chunk(0, 7, Guide())
print([one.case.program for one in chunk(2, 7, Guide(reaching([(one, ()) for one in first], ())))])
"""


def chunk(number: int, seed: int) -> list[Case]:
    """The cases of a chunk that nothing guides."""
    return [one.case for one in guided_chunk(number, seed, Guide())]


def guide_of(programs: list[Drawn]) -> Guide:
    """Programs that ran, and saw nothing of the compiler."""
    return Guide(reaching([(one, ()) for one in programs], ()))


@given(programs())
@settings(max_examples=200, deadline=None)
def test_every_program_is_in_the_subset(case: Case) -> None:
    """Nothing that is drawn is refused where a person could have written it into a case file."""
    assert build.problems(case) == []


@given(programs())
@settings(max_examples=200, deadline=None)
def test_a_case_says_what_its_program_needs(case: Case) -> None:
    """Capabilities of its modes, of training and of mutation, and how many graph breaks it has."""
    modes = frozenset[Capability]().union(*(MODES[level.mode].requires for _, level in levels_of(case.program)))
    assert modes <= case.requires
    assert case.graph_breaks == case.program.count("graph_break()")
    if any(spec.requires_grad for spec in case.inputs.values()):
        assert Capability.TRAINING in case.requires
    if any(f"{name}.mul_(" in case.program for name in case.inputs):
        assert Capability.INPUT_MUTATION in case.requires


@given(programs())
@settings(max_examples=100, deadline=None)
def test_features_are_parts_of_the_grammar(case: Case) -> None:
    """The features of a program are in the list that coverage is counted by, its ambient mode and calls always."""
    used = features(case)
    assert used <= set(FEATURES)
    assert {name.partition(" ")[0] for name in used} >= {"ambient", "calls", "depth"}


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("v1 = a * 0.5", {"op scale"}),
        ("v1 = a * net.weight", {"op mul"}),
        ("v1 = a + 1", {"op shift"}),
        ("v1 = a + b", {"op add"}),
        ("v1 = -a", {"op neg"}),
        ("v1 = torch.sub(a, b)", {"op sub"}),
        ("v1 = net.weight.t()", {"view t"}),
        ("v1 = a.sin()", {"op sin"}),
        ("a.sin_()", {"in place sin_"}),
        ("v1 = torch.cat((a, b))[1:5]", {"op cat"}),
    ],
)
def test_a_feature_is_what_a_line_does(line: str, used: set[str]) -> None:
    """No operation is taken for another that looks like it."""
    found = features(a_case(program=f"{line}\nreturn v1\n"))
    assert {name for name in found if name.startswith(("op ", "view ", "in place "))} == used


def test_a_chunk_is_the_same_each_time() -> None:
    """The same number and seed give the same cases; another number or seed others."""
    assert chunk(1, 5) == chunk(1, 5)
    texts = [[case.program for case in part] for part in (chunk(1, 5), chunk(2, 5), chunk(1, 6))]
    assert texts[0] not in texts[1:]


def test_a_chunk_is_the_same_in_another_process() -> None:
    """The programs of a chunk do not depend on what a process has done or imported before."""
    other = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, check=True, text=True)
    guided = guided_chunk(2, 7, guide_of(guided_chunk(0, 7, Guide())))
    assert other.stdout.strip() == str([one.case.program for one in guided])


def test_the_same_choices_give_the_same_program() -> None:
    """What is kept of a program is enough to draw it again, whatever chance there is."""
    first = program(drawn(seed=3))
    again = program(drawn(*first.choices, seed=4))
    assert again == first


def test_what_is_varied_is_a_program_like_it() -> None:
    """Of the variations of one, many have a line that it has, and hardly one is the same."""
    first = program(drawn(seed=3))
    random = Random(1)  # noqa: S311 - repeatable is what it must be
    others = [program(Choices(random, varied(first.choices, random))) for _ in range(40)]
    lines = set(first.case.program.splitlines())
    assert sum(bool(lines & set(one.case.program.splitlines())) for one in others) > 20
    assert sum(one.case == first.case for one in others) < 10


def test_a_guided_chunk_varies_what_is_kept() -> None:
    """With one program kept, some of a chunk begin as it does, which hardly any does by chance."""
    first = guided_chunk(0, 0, Guide())
    (kept, *_) = guide_of(first[:1]).kept
    like_it = [one for one in guided_chunk(1, 0, Guide([kept])) if one.choices[:4] == kept.choices[:4]]
    by_chance = [one for one in guided_chunk(1, 0, Guide()) if one.choices[:4] == kept.choices[:4]]
    assert len(by_chance) + 5 < len(like_it) < CHUNK


def test_a_guided_chunk_reaches_more() -> None:
    """Over some chunks, more pairs of consecutive parts are reached than without guidance."""

    def reached(*, guided: bool) -> int:
        ran: list[Drawn] = []
        for number in range(8):
            ran += guided_chunk(number, 5, guide_of(ran) if guided else Guide())
        return len(guide_of(ran).reached)

    assert reached(guided=True) > reached(guided=False)


def test_programs_of_a_chunk_differ() -> None:
    """Each has an id of its own, which contains seed and number, and no program is in a chunk twice."""
    cases = chunk(3, 0)
    assert len({case.id for case in cases}) == len(cases) <= CHUNK
    assert cases[0].id == f"fuzz.s0.p{3 * CHUNK}"
    assert len(set(map(code, cases))) == len(cases)


def test_every_part_of_the_grammar_is_drawn() -> None:
    """Some hundred programs use each part."""
    used = Counter(name for number in range(15) for case in chunk(number, 0) for name in features(case))
    assert [name for name in FEATURES if not used[name]] == []


def test_eager_takes_nearly_every_program() -> None:
    """Of what is drawn at least nine of ten programs run uncompiled, backward included, and agree with the oracle."""
    cases = [case for number in range(2) for case in chunk(number, 3)]
    refused = list[str]()
    for case in cases:
        seen = observed(case, case.variants[0])
        raised = [call.raised.message for call in seen.calls if call.raised]
        disagreement = agreement.compare(a_request(case), seen)[1]
        refused += [*raised, *filter(None, [disagreement])][:1]
    assert len(refused) * 10 <= len(cases), refused

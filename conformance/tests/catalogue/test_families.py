from __future__ import annotations

from importlib.resources import files
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.families import covering
from conformance.catalogue.loader import load_cases
from conformance.catalogue.pairwise import pairs
from conformance.model.case import InputSpec, Location, Variant
from conformance.model.enums import EXHAUSTIVE, Capability, Tier
from conformance.program.build import generate
from conformance.program.nests import Grammar
from conformance.tests.case_files import load, refused

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.case import Case

HEAD = """
topic: Demonstration
families:
  - id: demo.modes
    title: modes hold
    clauses: [GM-4]
    inputs: {a: {shape: [4], requires_grad: true}}
    setup: |
      def look(a):
          return a.sin(), torch.is_grad_enabled()
    probe: look(a)
    requires: [training]
"""

NEST = """
nest:
  modes:
    no_grad: {with: [GM-1], def: [GM-1, GM-9]}
    set_true: {with: [GM-5], call: [GM-6]}
  ambient: [enabled, disabled]
  depth: 2
"""

LAW = """
laws:
  same:
    title: They are the same
    clauses: [GM-5]
    pairs:
      - left: ["set_${truth}_${form}"]
        right: ["enable_grad_${form}"]
        each: {truth: ["true"], form: [with, def]}
        ambient: [enabled, disabled, inference]
      - {left: [no_grad_with, no_grad_with], right: [no_grad_with], slow: false}
      - {left: [autocast_off_with], right: []}
"""

SUITE = load_cases()
NESTS = [case for case in SUITE if case.area == "nest"]
LAWS = [case for case in SUITE if case.area == "laws"]


def family(part: str, head: str = HEAD) -> str:
    """A file of one family."""
    return head + indent(dedent(part).lstrip("\n"), "    ")


def tiers(case: Case) -> dict[str, Tier]:
    """Variant id -> where it runs."""
    return {variant.id: variant.tier for variant in case.variants}


def test_a_family_of_nests_becomes_cases(tmp_path: Path) -> None:
    """One case per sequence of levels, with everything that the family declares and the clauses of its levels."""
    cases = {case.id: case for case in load(tmp_path, demo=family(NEST))}

    case = cases["demo.modes.no_grad_with.set_true_call"]
    assert case.title == "modes hold: no_grad_with, set_true_call"
    assert (case.topic, case.clauses) == ("Demonstration", ("GM-4", "GM-1", "GM-6"))
    assert case.inputs == {"a": InputSpec(shape=(4,), requires_grad=True)}
    assert case.requires == {Capability.TRAINING, Capability.GRAD_MODE}
    assert [(variant.grad, variant.autocast) for variant in case.variants] == [("enabled", "off"), ("disabled", "off")]
    assert case.tags == {EXHAUSTIVE, "nest"}
    assert case.location == Location(file=f"{tmp_path}/demo.yaml", line=3, column=5)
    assert "    torch.set_grad_enabled(True)\n    seen.append(look(a))\n" in case.program
    assert case.twin == ""


def test_ids_are_sorted_by_depth_and_name(tmp_path: Path) -> None:
    """Single levels first; a mode without another spelling among the modes keeps its blocks."""
    ids = [case.id.removeprefix("demo.modes.") for case in load(tmp_path, demo=family(NEST))]

    assert ids[:5] == ["no_grad_def", "no_grad_with", "set_true_call", "set_true_with", "no_grad_def.no_grad_def"]
    assert len(ids) == 4 + 16


def test_a_family_knows_its_grammar_and_what_was_left_out(tmp_path: Path) -> None:
    """All points are either run or counted under the rule that left them out."""
    sampled = NEST + "  sample: {depth: 4, count: 10}\n"
    cases = load(tmp_path, demo=family(sampled))

    assert cases[0].family is not None
    assert all(case.family is cases[0].family for case in cases)
    assert cases[0].family.points == {"1": 8, "2": 32, "4": 512}
    assert sum(cases[0].family.points.values()) == sum(len(case.variants) for case in cases) + sum(
        cases[0].family.pruned.values()
    )
    assert cases[0].family.pruned["sample"] > 0


def test_where_a_nest_runs_follows_from_its_depth(tmp_path: Path) -> None:
    """To two levels on fast backends, some of them everywhere; deeper, and the sample, only when asked for."""
    deeper = NEST.replace("depth: 2", "depth: 3") + "  sample: {depth: 4, count: 10}\n"
    by_depth: dict[int, set[Tier]] = {}
    for case in load(tmp_path, demo=family(deeper)):
        by_depth.setdefault(case.id.count(".") - 1, set()).update(tiers(case).values())

    assert by_depth == {
        1: {Tier.FAST, Tier.DEFAULT},
        2: {Tier.FAST, Tier.DEFAULT},
        3: {Tier.EXHAUSTIVE},
        4: {Tier.EXHAUSTIVE},
    }


def test_a_family_of_laws_becomes_pairs_of_programs(tmp_path: Path) -> None:
    """Each combination of words is a case, named after its left side; no nest at all is a right side too."""
    cases = {case.id: case for case in load(tmp_path, demo=family(LAW))}

    assert list(cases) == [
        "demo.modes.same.set_true_with",
        "demo.modes.same.set_true_def",
        "demo.modes.same.no_grad_with.no_grad_with",
        "demo.modes.same.autocast_off_with",
    ]
    case = cases["demo.modes.same.set_true_with"]
    assert (case.title, case.clauses) == ("They are the same: set_true_with = enable_grad_with", ("GM-4", "GM-5"))
    assert "with torch.set_grad_enabled(True):\n    seen.append(look(a))\n" in case.program
    assert "with torch.enable_grad():\n    seen.append(look(a))\n" in case.twin
    assert case.tags == {EXHAUSTIVE, "law"}
    assert case.family is not None
    assert (case.family.id, case.family.title) == ("demo.modes.same", "They are the same")
    assert (case.family.points, case.family.pruned) == ({"1": 7, "2": 1}, {})
    assert cases["demo.modes.same.autocast_off_with"].title.endswith("autocast_off_with = nothing")
    assert cases["demo.modes.same.autocast_off_with"].requires == {Capability.TRAINING, Capability.AUTOCAST}


def test_each_word_of_a_law_runs_everywhere_once(tmp_path: Path) -> None:
    """Slow backends see each word and each ambient mode, but not their product; none, if a pair says `slow: false`."""
    cases = {case.id.removeprefix("demo.modes.same."): tiers(case) for case in load(tmp_path, demo=family(LAW))}

    everywhere = [
        (name, variant) for name, each in cases.items() for variant, tier in each.items() if tier is Tier.DEFAULT
    ]
    assert everywhere == [
        ("set_true_with", "grad=enabled"),
        ("set_true_with", "grad=inference"),
        ("set_true_def", "grad=disabled"),
        ("autocast_off_with", "grad=enabled"),
    ]
    assert set(cases["no_grad_with.no_grad_with"].values()) == {Tier.FAST}


BAD = {
    "neither nest nor laws": ("", "3:5: a family needs one of nest, laws and operations in family 'demo.modes'", ""),
    "both": (NEST + LAW, "3:5: a family needs one of nest, laws and operations", ""),
    "no modes": ("nest: {modes: {}, ambient: [enabled], depth: 1}", "12:19: nest.modes: dictionary should have", ""),
    "an unknown mode": (
        "nest: {modes: {nograd: {with: []}}, ambient: [enabled], depth: 1}",
        "12:20: unknown mode 'nograd' in family 'demo.modes'",
        "Did you mean 'no_grad'?",
    ),
    "an unknown form": (
        "nest: {modes: {no_grad: {block: []}}, ambient: [enabled], depth: 1}",
        "12:30: unknown form 'block'",
        "Known forms: call, def, with.",
    ),
    "a form that the mode has not": (
        "nest: {modes: {no_grad: {call: []}}, ambient: [enabled], depth: 1}",
        "12:30: 'no_grad' has no form 'call'",
        "Known forms: def, with.",
    ),
    "an unknown ambient mode": (
        "nest: {modes: {no_grad: {with: []}}, ambient: [off], depth: 1}",
        "12:52: unknown ambient mode 'off'",
        "Known ambient modes: bfloat16, disabled, enabled, float16, inference.",
    ),
    "an ambient mode twice": (
        "nest: {modes: {no_grad: {with: []}}, ambient: [enabled, enabled], depth: 1}",
        "12:61: 'enabled' is listed twice",
        "",
    ),
    "too deep": ("nest: {modes: {no_grad: {with: []}}, ambient: [enabled], depth: 9}", "12:69: nest.depth", "9"),
    "a sample of what is run anyway": (
        "nest: {modes: {no_grad: {with: []}}, ambient: [enabled], depth: 2, sample: {depth: 2, count: 1}}",
        "12:88: a sample must be deeper than 2",
        "",
    ),
    "a sample of nearly everything": (
        "nest: {modes: {no_grad: {with: []}}, ambient: [enabled], depth: 2, sample: {depth: 3, count: 1}}",
        "12:98: a sample of 1 is more than half of the 1 points of this depth",
        "",
    ),
    "a word of a law twice": (
        "laws: {s: {title: x, pairs: [{left: ['${m}_with'], right: [], each: {m: [no_grad, no_grad]}}]}}",
        "12:87: 'no_grad' is listed twice",
        "",
    ),
    "no laws": ("laws: {}", "12:11: laws: dictionary should have", ""),
    "a law without pairs": ("laws: {same: {title: x}}", "12:18: the key 'pairs' is missing", ""),
    "a law with a name that no id can have": (
        "laws: {Same: {title: x, pairs: [{left: [no_grad_with], right: []}]}}",
        "12:12: ",
        "must match",
    ),
    "an unknown level": (
        "laws: {same: {title: x, pairs: [{left: [no_gard_with], right: []}]}}",
        "12:45: unknown level 'no_gard_with' in family 'demo.modes'",
        "Did you mean 'no_grad_with'",
    ),
    "an unknown level of one combination": (
        "laws: {s: {title: x, pairs: [{left: [set_true_with], right: ['${m}_def'], each: {m: [no_grad, grad]}}]}}",
        "12:66: unknown level 'grad_def'",
        "",
    ),
    "an unknown name": (
        "laws: {s: {title: x, pairs: [{left: ['${mod}_with'], right: ['${m}_def'], each: {m: [no_grad]}}]}}",
        "12:42: unknown name '${mod}'",
        "Known names: m.",
    ),
    "a name that is never used": (
        "laws: {s: {title: x, pairs: [{left: [no_grad_with], right: [], each: {m: [no_grad]}}]}}",
        "12:75: 'm' is never used",
        "Write ${m} in left or right",
    ),
}


@pytest.mark.parametrize(("part", "message", "hint"), BAD.values(), ids=BAD)
def test_a_bad_family_is_refused_at_its_place(tmp_path: Path, part: str, message: str, hint: str) -> None:
    """One mistake is one problem with its place, a message and a hint."""
    (problem,) = refused(tmp_path, demo=family(part).lstrip("\n"))

    assert problem.startswith(f"demo.yaml:{message}")
    assert hint in problem


BAD_HEADS = {
    "a probe that is no call": ("probe: look(a)", "probe: a.sin", "10:12: the probe must be one call on one line"),
    "a probe that ends early": (
        "probe: look(a)",
        "probe: look(a)); print((a)",
        "10:12: the probe must be one call on one line",
    ),
    "a probe with a comment": ("probe: look(a)", "probe: 'look(a) # x'", "10:12: the probe must be one call"),
    "a probe outside the subset": (
        "probe: look(a)",
        "probe: eval(a)",
        "10:12: unknown name 'eval' in family 'demo.modes'",
    ),
    "a probe of something else": ("probe: look(a)", "probe: look(b)", "10:17: unknown name 'b' in family"),
    "a setup outside the subset": (
        "return a.sin()",
        "return a.__dict__, a.sin()",
        "9:18: the attribute '__dict__' starts with an underscore in family",
    ),
    "an input in the way": (
        "{a: {shape: [4]",
        "{seen: {shape: [4]}, a: {shape: [4]",
        "6:14: the input 'seen' would shadow",
    ),
    "an input without a shape": ("{a: {shape: [4], ", "{a: {", "6:17: an input needs a shape"),
    "an input that is no argument": ("{a: {shape", "{1a: {shape: [1]}, a: {shape", "6:14: '1a' cannot be the name"),
    "a folded probe": ("probe: look(a)", "probe: >-\n      look(\n      a)", "10:12: a probe of several lines"),
    "another area": ("id: demo.modes", "id: other.modes", "3:9: the family 'other.modes' does not belong in"),
    "an unknown key": ("title:", "tilte: x\n    title:", "4:5: unknown key 'tilte' in family 'demo.modes'"),
    "an unknown capability": ("[training]", "[trainig]", "11:16: unknown capability 'trainig'"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_bad_head_of_a_family_is_refused_at_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Inputs, setup and probe are untrusted, and are checked by the rules of any case."""
    problem, *_ = refused(tmp_path, demo=family(NEST).lstrip("\n").replace(old, new, 1))

    assert problem.startswith(f"demo.yaml:{message}")


def test_cases_and_families_may_share_a_file(tmp_path: Path) -> None:
    """A family's ids must differ from those of cases too."""
    case = "cases:\n  - {id: demo.modes.no_grad_with, title: x, inputs: {a: {shape: [1]}}, program: return a}\n"
    (problem,) = refused(tmp_path, demo=case + family(NEST).lstrip("\n"))

    assert problem.startswith("demo.yaml:5:5: duplicate case 'demo.modes.no_grad_with'")


def test_slow_backends_see_every_pair_of_values_of_the_suites_nests() -> None:
    """What runs everywhere shows each two values of mode, form and ambient mode that any nest of two levels shows."""
    shown: dict[bool, set[object]] = {True: set(), False: set()}
    for case in NESTS:
        levels = case.id.removeprefix("nest.modes.").split(".")
        if len(levels) > 2:
            continue
        words = [*levels[0].rsplit("_", 1), *(levels[1].rsplit("_", 1) if levels[1:] else ["", ""])]
        for variant in case.variants:
            shown[variant.tier is Tier.DEFAULT] |= pairs([*words, variant.id])
    assert shown[False] <= shown[True]


def test_a_covering_choice_is_made_of_points() -> None:
    """Of nests of one level it is nearly all of their levels and ambient modes."""
    points = list(Grammar().points(1))
    chosen = covering(points)
    assert set(chosen) <= set(points)
    assert {(point.levels[0].mode, point.ambient) for point in chosen} == {
        (point.levels[0].mode, point.ambient) for point in points
    }
    assert covering([]) == []


def test_the_default_run_stays_in_hand() -> None:
    """How many generated variants run by default: everywhere, and on fast backends."""
    every = {name: [v.tier for case in cases for v in case.variants] for name, cases in (("n", NESTS), ("l", LAWS))}
    assert every["n"].count(Tier.DEFAULT) <= 110
    assert 600 <= every["n"].count(Tier.DEFAULT) + every["n"].count(Tier.FAST) <= 720
    assert 3000 <= every["n"].count(Tier.EXHAUSTIVE) <= 4200
    assert every["l"].count(Tier.DEFAULT) <= 40
    assert 60 <= len(LAWS) <= 110


def test_the_readme_of_the_cases_is_right() -> None:
    """Its numbers are those of the suite, and every rule is in it."""
    text = (files("conformance.cases") / "README.md").read_text(encoding="utf-8")
    assert NESTS[0].family is not None
    for depth, points in NESTS[0].family.points.items():
        run = sum(len(case.variants) for case in NESTS if case.id.count(".") == int(depth) + 1)
        assert f"| {depth} | {points:,} | {run:,} |" in text
    tiers = [variant.tier for case in NESTS for variant in case.variants]
    everywhere, fast = tiers.count(Tier.DEFAULT), tiers.count(Tier.FAST)
    assert f"**pairwise-covering subset** of them, {everywhere} points:" in text
    assert f"any of the {everywhere + fast}\npoints occurs in one of the {everywhere}." in text
    assert [rule for rule in NESTS[0].family.pruned if f"- **{rule}**: " not in text] == []


def test_the_two_sides_of_a_law_differ() -> None:
    """A law is not trivial; its sides are different programs."""
    assert [case.id for case in LAWS if case.program == case.twin] == []
    assert [case.id for case in NESTS if case.twin] == []


def test_generated_programs_are_different_programs() -> None:
    """No nest is run twice under two names."""
    sources = [generate(case, Variant()).source for case in NESTS]
    assert len(set(sources)) == len(sources)


def test_each_law_is_a_family_of_its_own() -> None:
    """A report can count the cases of each law, under its title."""
    found = {case.family.id: case.family.title for case in LAWS if case.family}
    assert list(found) == [
        f"laws.{name}" for name in ["redundant", "repeated", "spelled", "decorated", "called", "commuting"]
    ]
    assert len(set(found.values())) == len(found)

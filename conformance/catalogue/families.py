"""Families of cases, generated from one description: all nests of some modes, laws over pairs of nests, operations."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from itertools import chain, product
from typing import TYPE_CHECKING

from conformance.catalogue import operations
from conformance.catalogue.pairwise import pairwise
from conformance.catalogue.rules import Broken
from conformance.model.case import Family
from conformance.model.enums import EXHAUSTIVE, Tier
from conformance.model.enums import Level as Weight
from conformance.model.suggestions import did_you_mean
from conformance.program.build import placeholders, substitute
from conformance.program.nests import AMBIENT, LEVELS, RULES, Grammar, NestLevel, Point, level_of, program, requires

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.catalogue.documents import (
        FamilyDocument,
        LawDocument,
        NestDocument,
        OperationsDocument,
        PairDocument,
    )
    from conformance.catalogue.yaml_source import Path
    from conformance.model.case import Case, Variant

__all__ = ["broken_family", "covering", "expand"]

_USUAL = 2  # levels that nests have unless deeper ones are asked for
_TAKEN = re.compile(r"seen|level[0-9]+")


def expand(form: FamilyDocument, base: Case) -> Iterator[Case]:
    """Generate every case of a family that breaks no rule.

    Args:
        form: the family.
        base: a case with the fields that its cases share.
    """
    if form.nest:
        yield from _nests(form, form.nest, base)
    for name, law in (form.laws or {}).items():
        yield from _law(form, f"{form.id}.{name}", law, base)
    if form.operations:
        yield from operations.expand(form.operations.group, replace(base, clauses=tuple(form.clauses)))


def broken_family(form: FamilyDocument) -> Iterator[Broken]:
    """Yield every rule that `form` breaks, except the rules for inputs and texts of any case."""
    given = [name for name in ("nest", "laws", "operations") if getattr(form, name)]
    if len(given) != 1:
        yield Broken(path=(), message="a family needs one of nest, laws and operations")
    if form.operations:
        yield from _broken_operations(form, form.operations)
        return
    if form.probe is None:
        yield Broken(path=(), message="the key 'probe' is missing")
        return
    yield from _probe(form.probe)
    for name in form.inputs:
        if _TAKEN.fullmatch(name):
            message = f"the input {name!r} would shadow a name that generated programs use"
            yield Broken(path=("inputs", name), message=message, key=True)
    if form.nest:
        yield from _broken_nest(form.nest)
    for name, law in (form.laws or {}).items():
        for index, pair in enumerate(law.pairs):
            yield from _broken_pair(("laws", name, "pairs", index), pair)


def covering(points: Sequence[Point]) -> list[Point]:
    """Choose few points that contain each pair of values of two factors which any of them contains.

    The factors are the mode and the form of each level ('' if there is no such level), and the ambient mode.
    """
    deepest = max((len(point.levels) for point in points), default=0)
    return [points[index] for index in pairwise([_factors(point, deepest) for point in points])]


def _factors(point: Point, deepest: int) -> tuple[str, ...]:
    words = [word for level in point.levels for word in level]
    return (*words, *[""] * (2 * deepest - len(words)), point.ambient)


def _nests(form: FamilyDocument, nest: NestDocument, base: Case) -> Iterator[Case]:
    grammar = _grammar(nest)
    tiers = _tiers(grammar, nest)
    family = _census(form, nest, grammar)
    made = {(ambient, tier): _variant(ambient, tier) for ambient in nest.ambient for tier in Tier}
    variants: dict[tuple[NestLevel, ...], list[Variant]] = {}
    for (levels, ambient), tier in tiers.items():
        variants.setdefault(levels, []).append(made[ambient, tier])
    for levels in sorted(variants, key=lambda levels: (len(levels), levels)):
        names = list(map(str, levels))
        yield replace(
            base,
            id=".".join([form.id, *names]),
            title=f"{form.title}: {', '.join(names)}",
            clauses=_once(form.clauses, *(nest.modes[mode][form_] for mode, form_ in levels)),
            program=program(levels, form.probe or ""),
            variants=tuple(variants[levels]),
            requires=base.requires | requires(levels),
            tags=frozenset({EXHAUSTIVE, "nest"}),
            family=family,
        )


def _grammar(nest: NestDocument) -> Grammar:
    return Grammar(
        tuple(NestLevel(mode, form) for mode, forms in nest.modes.items() for form in forms), tuple(nest.ambient)
    )


def _tiers(grammar: Grammar, nest: NestDocument) -> dict[Point, Tier]:
    """Return the points that are run, each with its tier."""
    usual = [point for depth in range(1, min(nest.depth, _USUAL) + 1) for point in grammar.points(depth)]
    deep = [point for depth in range(_USUAL + 1, nest.depth + 1) for point in grammar.points(depth)]
    if nest.sample:
        deep += grammar.sample(nest.sample.depth, nest.sample.count, nest.sample.seed)
    everywhere = dict.fromkeys(covering(usual), Tier.DEFAULT)
    return dict.fromkeys(usual, Tier.FAST) | dict.fromkeys(deep, Tier.EXHAUSTIVE) | everywhere


def _census(form: FamilyDocument, nest: NestDocument, grammar: Grammar) -> Family:
    """Return the family with its number of points, and the number that each rule prunes."""
    drawn = [nest.sample.depth] if nest.sample else []
    depths = [*range(1, nest.depth + 1), *drawn]
    each = [grammar.pruned(depth) for depth in depths]
    pruned = {rule: sum(count[rule] for count in each) for rule in RULES}
    if nest.sample:
        pruned["sample"] = grammar.unpruned(nest.sample.depth) - nest.sample.count
    points = {str(depth): grammar.size(depth) for depth in depths}
    return Family(id=form.id, title=form.title, points=points, pruned=pruned)


def _law(form: FamilyDocument, name: str, law: LawDocument, base: Case) -> Iterator[Case]:
    cases = [case for pair in law.pairs for case in _pairs(name, pair, form.probe or "", base)]
    points = Counter(str(case.id.count(".") - name.count(".")) for case in cases for _ in case.variants)
    family = Family(id=name, title=law.title, points=points)
    for case in cases:
        clauses = _once(form.clauses, law.clauses)
        yield replace(
            case,
            title=f"{law.title}: {case.title}",
            clauses=clauses,
            tags=frozenset({EXHAUSTIVE, "law"}),
            family=family,
        )


def _pairs(name: str, pair: PairDocument, probe: str, base: Case) -> Iterator[Case]:
    """Generate a case of each combination of words; slow backends run enough to see each word and ambient mode."""
    choices = [*pair.each.values(), pair.ambient]
    rounds = range(max(map(len, choices)) if pair.slow else 0)
    diagonal = {tuple(words[index % len(words)] for words in choices) for index in rounds}
    for words in product(*pair.each.values()):
        by_name = dict(zip(pair.each, words, strict=True))
        left, right = (_levels(texts, by_name) for texts in (pair.left, pair.right))
        tiers = [Tier.DEFAULT if (*words, ambient) in diagonal else Tier.FAST for ambient in pair.ambient]
        yield replace(
            base,
            id=".".join([name, *map(str, left)]),
            title=f"{', '.join(map(str, left))} = {', '.join(map(str, right)) or 'nothing'}",
            program=program(left, probe, innermost=True),
            twin=program(right, probe, innermost=True),
            variants=tuple(map(_variant, pair.ambient, tiers)),
            requires=base.requires | requires([*left, *right]),
            checks={"metamorphic": Weight.MUST},
        )


def _levels(texts: Iterable[str], words: Mapping[str, str]) -> list[NestLevel]:
    found = (level_of(substitute(text, words)) for text in texts)
    return [level for level in found if level]


def _variant(ambient: str, tier: Tier) -> Variant:
    return replace(AMBIENT[ambient], tier=tier)


def _once(*clauses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(clauses)))


def _broken_operations(form: FamilyDocument, given: OperationsDocument) -> Iterator[Broken]:
    for name in sorted(form.model_fields_set & {"probe", "inputs", "setup", "requires"}):
        yield Broken(path=(name,), message=f"a family of operations has no {name!r}", key=True)
    if given.group not in (known := operations.groups()):
        hint = did_you_mean(given.group, known, "group")
        yield Broken(path=("operations", "group"), message=f"unknown group {given.group!r}", hint=hint)


def _probe(text: str) -> Iterator[Broken]:
    """Check the probe: it is put into generated lines, so it must be one complete expression."""
    try:
        trees = [ast.parse(text, mode="eval"), ast.parse(f"({text})", mode="eval")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        trees = []
    if "\n" in text or not trees or not all(isinstance(tree.body, ast.Call) for tree in trees):
        yield Broken(path=("probe",), message="the probe must be one call on one line", hint="For example: probe(a)")


def _broken_nest(nest: NestDocument) -> Iterator[Broken]:
    grammar = _grammar(nest)
    for level in grammar.levels:
        if level not in LEVELS:
            message = f"{level.mode!r} has no form {level.form!r}"
            hint = did_you_mean(level.form, [form for mode, form in LEVELS if mode == level.mode], "form")
            yield Broken(path=("nest", "modes", *level), message=message, hint=hint, key=True)
    yield from _twice(("nest", "ambient"), nest.ambient)
    if nest.sample and nest.sample.depth <= nest.depth:
        message = f"a sample must be deeper than {nest.depth}, to which depth every point is run"
        yield Broken(path=("nest", "sample", "depth"), message=message)
    elif nest.sample and 2 * nest.sample.count > (total := grammar.unpruned(nest.sample.depth)):
        message = f"a sample of {nest.sample.count} is more than half of the {total} points of this depth"
        yield Broken(path=("nest", "sample", "count"), message=message)


def _twice(path: Path, words: Sequence[str]) -> Iterator[Broken]:
    for index, word in enumerate(words):
        if word in words[:index]:
            yield Broken(path=(*path, index), message=f"{word!r} is listed twice")


def _broken_pair(path: Path, pair: PairDocument) -> Iterator[Broken]:
    texts = {(key, index): text for key in ("left", "right") for index, text in enumerate(getattr(pair, key))}
    used = frozenset[str]().union(*map(placeholders, texts.values()))
    yield from _twice((*path, "ambient"), pair.ambient)
    for name, words in pair.each.items():
        yield from _twice((*path, "each", name), words)
    for name in pair.each.keys() - used:
        message, hint = f"{name!r} is never used", f"Write ${{{name}}} in left or right, or remove it."
        yield Broken(path=(*path, "each", name), message=message, hint=hint, key=True)
    for place, text in texts.items():
        if unknown := placeholders(text) - pair.each.keys():
            name = min(unknown)
            hint = did_you_mean(name, pair.each, "name")
            yield Broken(path=(*path, *place), message=f"unknown name '${{{name}}}'", hint=hint)
            continue
        combinations = (dict(zip(pair.each, words, strict=True)) for words in product(*pair.each.values()))
        for name in dict.fromkeys(substitute(text, words) for words in combinations):
            if level_of(name) is None:
                hint = did_you_mean(name, map(str, LEVELS), "level")
                yield Broken(path=(*path, *place), message=f"unknown level {name!r}", hint=hint)

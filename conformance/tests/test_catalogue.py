"""The cases of the suite as a whole: what together they have to cover."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from conformance.checks import CATALOGUE
from conformance.loader import load_cases
from conformance.model import Capability

if TYPE_CHECKING:
    from conformance.model import Case

CASES = load_cases()
CLAUSES = re.findall(r"^- \*\*([A-Z]{2}-\d+)\*\* ", (files("conformance.cases") / "SPEC.md").read_text(), re.MULTILINE)


def areas(case: Case) -> set[str]:
    """What the caller holds around the variants of a case."""
    return {variant.grad for variant in case.variants} | {variant.autocast for variant in case.variants}


def test_each_clause_is_tested_and_each_that_is_named_exists() -> None:
    """The specification and the cases speak of the same things, each clause standing once."""
    assert max(Counter(CLAUSES).values()) == 1
    assert {clause for case in CASES for clause in case.clauses} == set(CLAUSES)


def test_each_case_names_a_clause() -> None:
    """A case that tests nothing that is promised does not belong here; smoke cases only test the backend's pulse."""
    assert [case.id for case in CASES if not case.clauses and "smoke" not in case.tags] == []


@pytest.mark.parametrize("check", [spec.name for spec in CATALOGUE.values() if spec.asked])
def test_a_check_that_must_be_asked_for_is_asked_for_twice(check: str) -> None:
    """No check is there for nothing."""
    assert sum(check in case.checks for case in CASES) >= 2


def test_the_smoke_gate_has_three_cases() -> None:
    """A backend that fails each of them is one line, not hundreds."""
    assert sum("smoke" in case.tags for case in CASES) == 3


def test_every_capability_is_required_somewhere() -> None:
    """A claim that no case looks at means nothing."""
    assert {need for case in CASES for need in case.requires} == Capability.all()


def test_every_ambient_mode_is_driven() -> None:
    """Callers hold every grad mode and autocast, and go backward from there."""
    seen = set[str]().union(*map(areas, CASES))
    assert seen >= {"enabled", "disabled", "inference", "off", "bfloat16", "float16"}

"""What the cases of the suite have to cover together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.loader import load_cases
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Capability

if TYPE_CHECKING:
    from conformance.model.case import Case

CASES = load_cases()


def areas(case: Case) -> set[str]:
    """Return the ambient modes of the variants of a case."""
    return {variant.grad for variant in case.variants} | {variant.autocast for variant in case.variants}


def test_the_catalogue_is_as_large_as_it_says() -> None:
    """Cases written by hand, whole training patterns to time, and distinct upstream issues they come from."""
    by_hand = [case for case in CASES if case.family is None]
    assert len(by_hand) >= 250
    assert sum("timing" in case.tags for case in by_hand) >= 14
    assert len({case.source for case in by_hand if case.source and "github.com/pytorch/pytorch/" in case.source}) >= 15


def test_each_case_names_a_clause() -> None:
    """A case that tests nothing that is promised does not belong here; smoke cases only test the backend's pulse."""
    assert [case.id for case in CASES if not case.clauses and "smoke" not in case.tags] == []


@pytest.mark.parametrize("check", [spec.name for spec in CATALOGUE.values() if spec.asked and not spec.is_move])
def test_a_check_that_must_be_asked_for_is_asked_for_twice(check: str) -> None:
    """No check is there for nothing."""
    assert sum(check in case.checks for case in CASES) >= 2


def test_the_smoke_gate_has_three_cases() -> None:
    """A backend that fails each of them is one line, not hundreds."""
    assert sum("smoke" in case.tags for case in CASES) == 3


def test_every_capability_is_required_somewhere() -> None:
    """A claim that no case requires is never tested."""
    assert {need for case in CASES for need in case.requires} == Capability.all()


def test_every_ambient_mode_is_driven() -> None:
    """Callers hold every grad mode and autocast, and go backward from there."""
    actual = set[str]().union(*map(areas, CASES))
    assert actual >= {"enabled", "disabled", "inference", "off", "bfloat16", "float16"}

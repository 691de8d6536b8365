"""metamorphic: the case's twin, a second program that must do the same, compared with the program on one backend.

No fp64 reference is needed: two ways to write one computation differ by no more than rounding, whatever the right
result is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks import ambient, autograd_flags, calls, exceptions, gradients, values
from conformance.checks.finding import Finding, Pair
from conformance.model.enums import Grade
from conformance.observation.compare import NoReference

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.observation.driver import RoleObservation

__all__ = ["check", "hold"]

_CHECKS = (values.check, gradients.check, calls.check, autograd_flags.check, ambient.check, exceptions.check)


def check(pair: Pair) -> Finding:
    """Compare results, gradients, flags, exceptions and ambient state of the twin with those of the program."""
    return Finding() if pair.twin is None else hold(pair.case, pair.twin, pair.actual)


def hold(case: Case, twin: RoleObservation, program: RoleObservation) -> Finding:
    """Compare two roles that must do the same; numbers must be close in the sense of `torch.testing`."""
    both = Pair(case=case, actual=twin, expected=program, reference=NoReference())
    found = [run(both) for run in _CHECKS]
    differences = [replace(difference, twin=True) for each in found for difference in each.must]
    grades = [each.grade for each in found if each.grade is not None]
    return Finding(must=tuple(differences), grade=max(grades, key=lambda grade: grade.rank, default=Grade.BITWISE))

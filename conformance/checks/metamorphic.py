"""metamorphic: the case's twin, another program that must do the same, held against the program on one backend.

No reference is asked, and none is needed: two spellings of one computation differ by no more than rounding, whatever
either of them should have given.
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

_LOOKS = (values.check, gradients.check, calls.check, autograd_flags.check, ambient.check, exceptions.check)


def check(pair: Pair) -> Finding:
    """Hold results, gradients, flags, exceptions and what is left behind of the twin against the program's."""
    return Finding() if pair.twin is None else hold(pair.case, pair.twin, pair.actual)


def hold(case: Case, twin: RoleObservation, program: RoleObservation) -> Finding:
    """Compare two roles that must do the same; numbers must be close in the sense of `torch.testing`."""
    both = Pair(case=case, actual=twin, expected=program, reference=NoReference())
    found = [look(both) for look in _LOOKS]
    differences = [replace(one, twin=True) for each in found for one in each.must]
    grades = [each.grade for each in found if each.grade is not None]
    return Finding(must=tuple(differences), grade=max(grades, key=lambda grade: grade.rank, default=Grade.BITWISE))

"""Roles of small programs for tests: uncompiled, and a deliberately wrong function in the place of the compiled one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from conformance.checks.finding import Pair
from conformance.checks.run import compare_moves, run_checks
from conformance.observation import ambient
from conformance.observation.driver import Role, RoleObservation, perform
from conformance.observation.fp64 import Reference
from conformance.observation.repertoire import observe
from conformance.program import build as program_build
from conformance.tests.fakes import a_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from conformance.model.case import Case, Variant
    from conformance.model.result import CheckResult, Difference
    from conformance.observation.ambient import AmbientState

__all__ = [
    "Program",
    "Results",
    "a_pair",
    "a_reference",
    "a_role",
    "changed_since",
    "checked",
    "moved",
    "observed",
    "once",
]

Program = Any  # a function of tensors, called with positional arguments


def a_role(
    case: Case, variant: Variant | None = None, *, wrong: Callable[[Program], Program] | None = None, **changes: Any
) -> Role:
    """A role of a case; `wrong` makes what is called out of the right program."""
    module = _build(case, variant or case.variants[0])()
    function = wrong(module.program) if wrong else module.program
    role = Role(request=_request(case, variant), module=module, function=function)
    return replace(role, **changes)


def observed(
    case: Case, variant: Variant | None = None, *, wrong: Callable[[Program], Program] | None = None, **changes: Any
) -> RoleObservation:
    """The observations of a role of a case."""
    return perform(a_role(case, variant, wrong=wrong, **changes))


def a_reference(case: Case, variant: Variant | None = None, **changes: Any) -> Reference:
    """The fp64 reference of a case; keywords change the request."""
    return Reference(replace(_request(case, variant), **changes), _build(case, variant or case.variants[0]))


def a_pair(case: Case, wrong: Callable[[Program], Program], variant: Variant | None = None, **changes: Any) -> Pair:
    """A wrong function compared with the uncompiled one, both driven for real."""
    expected = observed(case, variant)
    actual = observed(case, variant, wrong=wrong, stops=lambda index: expected.calls[index].raised is None)
    pair = Pair(case=case, actual=actual, expected=expected, reference=a_reference(case, variant))
    return replace(pair, **changes)


def once(wrong: Callable[[Program], Program]) -> Callable[[Program], Program]:
    """Wrong in the first call alone."""

    def make(right: Program) -> Program:
        pending = [wrong(right)]

        def call(*arguments: Any) -> Any:
            return (pending.pop() if pending else right)(*arguments)

        return call

    return make


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of checks: names of those that break a MUST, of those that break a SHOULD, and all of them."""

    broken: set[str] = field(default_factory=set)
    advised: set[str] = field(default_factory=set)
    all: tuple[CheckResult, ...] = ()

    def differences(self, check: str) -> tuple[Difference, ...]:
        """Every difference that a check reported, at either level."""
        return tuple(one for result in self.all if result.check == check for one in result.differences)

    def first(self, check: str) -> Difference:
        """The first difference that a check reported."""
        return self.differences(check)[0]


def checked(case: Case, wrong: Callable[[Program], Program], variant: Variant | None = None, **changes: Any) -> Results:
    """Run every check on a wrong function, compared with the uncompiled one."""
    results = run_checks(a_pair(case, wrong, variant, **changes))
    return Results(
        broken={one.check for one in results if one.breaks},
        advised={one.check for one in results if not one.held and not one.breaks},
        all=results,
    )


def moved(case: Case, wrong: Callable[[Program], Program], *names: str, **changes: Any) -> Results:
    """Run the checks of moves on a wrong function, compared with the uncompiled one."""
    expected, actual = (observe(role, names) for role in (a_role(case), a_role(case, wrong=wrong)))
    results = compare_moves(replace(Pair(case=case, actual=actual, expected=expected), **changes))
    return Results(broken={one.check for one in results if one.breaks}, all=results)


def changed_since(before: AmbientState) -> set[str]:
    """The fields in which the state is another one now, but for those that pytest changes within a test."""
    left, right = asdict(ambient.capture()), asdict(before)
    return {name for name in left if left[name] != right[name]} - {"environment", "warning_filters", "log_handlers"}


def _request(case: Case, variant: Variant | None) -> Any:
    return a_request(case, variant=variant) if variant else a_request(case)


def _build(case: Case, variant: Variant) -> Callable[[], ModuleType]:
    source = program_build.generate(case, variant)

    def build() -> ModuleType:
        torch.manual_seed(0)
        return source.load()

    return build

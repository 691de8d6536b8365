"""All checks, run in the order of the catalogue."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from conformance.checks import moves
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Level
from conformance.model.moves import MOVES
from conformance.model.result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conformance.checks.finding import Finding, Pair
    from conformance.model.check_catalogue import CheckSpec
    from conformance.model.result import Difference

__all__ = ["compare_moves", "run_checks"]

_KEPT = 5  # differences kept per check; the rest are counted
_KEPT_OF_MOVES = 2  # of each of some thirty checks

# Each check is the function `check` of the module that has its name.
_CHECKS: Mapping[str, Callable[[Pair], Finding]] = {
    name: import_module(f"conformance.checks.{name}").check for name, spec in CATALOGUE.items() if not spec.is_move
}


def run_checks(pair: Pair) -> tuple[CheckResult, ...]:
    """Run every check that applies to the case; a check that breaks both a MUST and a SHOULD gives two results."""
    return tuple(
        result
        for name, run in _CHECKS.items()
        if not CATALOGUE[name].asked or name in pair.case.checks
        for result in _results(CATALOGUE[name], run(pair), pair)
    )


def compare_moves(pair: Pair) -> tuple[CheckResult, ...]:
    """Run the check of every move that both roles made."""
    return tuple(
        result
        for name in moves.made(pair)
        for result in _results(CATALOGUE[MOVES[name].check], moves.check(pair, name), pair)
    )


def _results(spec: CheckSpec, finding: Finding, pair: Pair) -> Iterator[CheckResult]:
    must, should = finding.must, finding.should
    if pair.case.checks.get(spec.name) is Level.MUST:
        must, should = must + should, ()
    raised_to_must = spec.level is Level.SHOULD and pair.case.checks.get(spec.name) is Level.MUST
    if spec.level is Level.MUST or raised_to_must:
        yield _result(spec, Level.MUST, must, finding)
    if should or (spec.level is Level.SHOULD and not raised_to_must):
        yield _result(spec, Level.SHOULD, should, finding)


def _result(spec: CheckSpec, level: Level, differences: tuple[Difference, ...], finding: Finding) -> CheckResult:
    kept = _KEPT_OF_MOVES if spec.is_move else _KEPT
    more = len(differences) - kept
    return CheckResult(
        check=spec.name,
        level=level,
        held=not differences,
        grade=finding.grade,
        message=f"and {more} more" if more > 0 else finding.message,
        differences=differences[:kept],
    )

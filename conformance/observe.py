"""Child side: one request -> eager twice, compiled once, every check -> an Attempt of numbers and words."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from conformance import inputs, program
from conformance.checks.finding import Pair
from conformance.checks.registry import run_checks
from conformance.evidence import compile_with
from conformance.model import Attempt, Level, Stage
from conformance.raised import describe
from conformance.reference import Reference
from conformance.resolve import patched, resolve
from conformance.role import Role, perform, saved_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from conformance.backend import Backend
    from conformance.model import Raised, Request
    from conformance.role import RoleObservation

__all__ = ["run"]


def run(request: Request, report: Callable[[Stage], None]) -> Attempt:
    """Run one request in this process.

    Args:
        request: what to run; its backend is resolved again here.
        report: told each stage as it begins, so that a crash or a timeout can be placed.

    Returns:
        What was observed. Nothing a program or a backend raises escapes; what is no `Exception` ends the child.
    """
    report(Stage.BUILD)
    try:
        source = program.generate(request.case, request.variant)

        def build() -> ModuleType:
            inputs.seed_default(request.seed)
            return source.load()

        module = build()
    except Exception as error:  # noqa: BLE001 - a case that does not build is our fault, not the backend's
        raised = describe(error, Stage.BUILD)
        return Attempt(invalid=f"the case does not build: {raised.type}: {raised.message}", stage=Stage.BUILD)
    report(Stage.REFERENCE)
    try:
        role = _eager(request, module)
        expected, expected_bytes = perform(role), saved_bytes(role)
        again = perform(_eager(request, build()))
    except Exception as error:  # noqa: BLE001 - inputs that cannot be made
        raised = describe(error, Stage.REFERENCE)
        return Attempt(invalid=f"eager cannot be observed: {raised.type}: {raised.message}", stage=Stage.REFERENCE)
    invalid = _wrong_with_case(request, expected) or _unstable(request, expected, again)
    if invalid:
        return Attempt(invalid=invalid, stage=Stage.REFERENCE)
    report(Stage.LOAD)
    with contextlib.ExitStack() as stack:
        try:
            backend = resolve(request.backend.ref)
            stack.enter_context(patched(backend.patches))
        except Exception as error:  # noqa: BLE001 - a backend that cannot be loaded is a result
            return Attempt(raised=describe(error, Stage.LOAD), stage=Stage.LOAD)
        return _Compiled(request, build, backend, report).against(expected, expected_bytes)


def _eager(request: Request, module: ModuleType) -> Role:
    return Role(request=request, module=module, function=module.program)


def _wrong_with_case(request: Request, expected: RoleObservation) -> str | None:
    """Why eager does not do what the case says, or None."""
    seen = [call.raised for call in expected.calls if call.raised]
    wanted = request.case.raises
    for raised in seen:
        if wanted is None or (raised.type, raised.stage) != (wanted.type, wanted.stage):
            return f"eager raised {_words(raised)}, which the case does not declare"
    if wanted is not None and not seen:
        return f"the case declares {wanted.type} at stage {wanted.stage}, and eager raised nothing"
    return None


def _words(raised: Raised) -> str:
    return f"{raised.type} at stage {raised.stage}: {raised.message}"


def _unstable(request: Request, expected: RoleObservation, again: RoleObservation) -> str | None:
    """How eager differs from itself, or None."""
    broken = [
        result
        for result in run_checks(Pair(case=request.case, actual=again, expected=expected))
        if not result.held and result.level is Level.MUST
    ]
    if not broken:
        return None
    first = broken[0].differences[0]
    return f"eager differs from itself in {first.path}: {first.kind} {first.expected}, then {first.actual}"


class _Compiled:
    """The compiled role of a request."""

    def __init__(
        self,
        request: Request,
        build: Callable[[], ModuleType],
        backend: Backend,
        report: Callable[[Stage], None],
    ) -> None:
        self.request, self.build, self.backend, self.report = request, build, backend, report

    def against(self, expected: RoleObservation, expected_bytes: int | None) -> Attempt:
        """Run the compiled role and hold it against eager."""
        self.report(Stage.COMPILE)
        module = self.build()
        try:
            function, watched = compile_with(self.backend, module.program, dynamic=self.request.variant.dynamic)
        except Exception as error:  # noqa: BLE001 - torch.compile refuses the backend: a result
            return Attempt(raised=describe(error, Stage.COMPILE), stage=Stage.COMPILE)
        role = Role(
            request=self.request,
            module=module,
            function=function,
            stops=lambda index: expected.calls[index].raised is None,
            report=self.report,
        )
        actual = perform(role)
        evidence = watched.evidence(compiled_backward=any(call.compiled_backward for call in actual.calls))
        actual_bytes = saved_bytes(role) if actual.complete else None
        self.report(Stage.COMPARE)
        pair = Pair(
            case=self.request.case,
            actual=actual,
            expected=expected,
            reference=Reference(self.request, self.build),
            evidence=evidence,
            fallback=_fallback(self.backend),
            actual_bytes=actual_bytes,
            expected_bytes=expected_bytes,
        )
        raised, checks = _unexpected(actual, expected), run_checks(pair)
        return Attempt(
            # What holds of a sequence that an exception cut short holds of next to nothing.
            checks=tuple(check for check in checks if not check.held) if raised else checks,
            evidence=evidence,
            raised=raised,
            stage=raised.stage if raised else Stage.COMPARE,
            metrics=_metrics(actual, actual_bytes, expected_bytes),
        )


def _fallback(backend: Backend) -> str | None:
    """What the backend says did the work in its place, or None."""
    try:
        return backend.engaged() if backend.engaged else None
    except Exception as error:  # noqa: BLE001 - a backend that cannot tell has not shown that it did the work
        raised = describe(error, Stage.COMPARE)
        return f"engaged() raised {raised.type}: {raised.message}"


def _unexpected(actual: RoleObservation, expected: RoleObservation) -> Raised | None:
    """The first exception of the compiled role in a call where eager raised none."""
    for ours, eagers in zip(actual.calls, expected.calls, strict=False):
        if ours.raised and not eagers.raised:
            return ours.raised
    return None


def _metrics(actual: RoleObservation, actual_bytes: int | None, expected_bytes: int | None) -> dict[str, float]:
    later = [call.seconds for call in actual.calls[1:]]
    found: dict[str, float | None] = {
        "first_call_s": actual.calls[0].seconds,
        "later_call_s": statistics.median(later) if later else None,
        "saved_bytes": actual_bytes,
        "eager_saved_bytes": expected_bytes,
    }
    return {name: round(value, 6) for name, value in found.items() if value is not None}

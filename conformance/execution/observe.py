"""Child side: run one request uncompiled twice and compiled once, run every check, and return an Attempt."""

from __future__ import annotations

import builtins
import contextlib
import statistics
import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch

from conformance.backend.resolution import patched, resolve
from conformance.checks import metamorphic
from conformance.checks.finding import Pair
from conformance.checks.run import compare_moves, run_checks
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Capability, Fault, Grade, Outcome, Stage
from conformance.model.result import Attempt, Attempts
from conformance.observation import ambient, graph_breaks, modules, seeding
from conformance.observation.driver import Role, perform, saved_bytes
from conformance.observation.evidence import Watch, compile_with
from conformance.observation.exceptions import describe
from conformance.observation.fp64 import Reference
from conformance.observation.repertoire import make_moves, observe, weights_of
from conformance.observation.snapshot import unreadable
from conformance.oracle import agreement
from conformance.program import build as program_build
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from conformance.backend import Backend
    from conformance.model.request import Request
    from conformance.model.result import CheckResult, Evidence, Raised
    from conformance.observation.driver import RoleObservation

__all__ = ["run", "run_all", "run_uncompiled"]

_LOOKS = 3  # at the moves of a program that is suspected to vary: one may do the same twice by chance


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """What was observed uncompiled: bytes saved for backward, and how many results agreed with the oracle, too."""

    subject: _Subject
    observed: RoleObservation
    saved_bytes: int | None
    agreed: int


def run(request: Request, report: Callable[[Stage], None]) -> Attempt:
    """Run one request in this process.

    Args:
        request: what to run; its backend is resolved again here.
        report: called with each stage as it begins, so that the stage of a crash or timeout is known.

    Returns:
        What was observed. Any `Exception` of a program or backend is caught; another exception ends the child.
    """
    expected = _uncompiled(request, report)
    if isinstance(expected, Attempt):
        return expected
    report(Stage.LOAD)
    with contextlib.ExitStack() as stack:
        try:
            backend = resolve(request.backend.ref)
            stack.enter_context(patched(backend.patches))
        except Exception as error:  # noqa: BLE001 - a backend that cannot be loaded is a result
            return Attempt(raised=describe(error, Stage.LOAD), stage=Stage.LOAD)
        attempt = _Compiled(expected.subject, backend, report).against(expected.observed, expected.saved_bytes)
        agreed = expected.agreed
        return replace(attempt, metrics={**attempt.metrics, "modelled_leaves": agreed}) if agreed else attempt


def run_uncompiled(request: Request, report: Callable[[Stage], None]) -> Attempt:
    """Run the uncompiled program of a request alone; the attempt says what is invalid about it, or nothing."""
    expected = _uncompiled(request, report)
    if isinstance(expected, Attempt):
        return expected
    looks = (_unstable_moves(expected.subject, expected.observed) for _ in range(_LOOKS))
    if why := next(filter(None, looks), None):
        return Attempt(invalid=why, fault=Fault.UNSTABLE, stage=Stage.REFERENCE)
    return Attempt(stage=Stage.REFERENCE)


def _uncompiled(request: Request, report: Callable[[Stage], None]) -> _Expected | Attempt:
    report(Stage.BUILD)
    subject = _Subject(_of_plain_calls(request) if request.moves else request)
    request = subject.request
    try:
        role = subject.uncompiled()
    except Exception as error:  # noqa: BLE001 - a case that does not build is the suite's fault
        raised = describe(error, Stage.BUILD)
        why = f"the case does not build: {raised.type}: {raised.message}"
        return Attempt(invalid=why, fault=Fault.CASE, stage=Stage.BUILD)
    report(Stage.REFERENCE)
    try:
        expected, expected_bytes = observe(role, request.moves), saved_bytes(role)
        agreed, disagreement = agreement.compare(request, expected)
        invalid = _invalid_attempt(subject, expected, disagreement)
    except Exception as error:  # noqa: BLE001 - inputs that cannot be made
        raised = describe(error, Stage.REFERENCE)
        why = f"the uncompiled program cannot be observed: {raised.type}: {raised.message}"
        invalid = Attempt(invalid=why, fault=Fault.REFERENCE, stage=Stage.REFERENCE)
    return invalid or _Expected(subject=subject, observed=expected, saved_bytes=expected_bytes, agreed=agreed)


def run_all(requests: Sequence[Request], report: Callable[[Stage], None]) -> Attempts:
    """Run requests one after another in this process, until one of them does not pass.

    Each attempt has its own duration. Between them `torch.compiler.reset()` drops what was compiled; other caches of
    PyTorch, such as that of fake tensors, are shared.
    """
    made: list[Attempt] = []
    for request in requests:
        start = time.perf_counter()
        attempt = run(request, report)
        made.append(replace(attempt, duration_s=time.perf_counter() - start))
        if outcome(attempt) is not Outcome.PASS:
            break
        torch.compiler.reset()
    return Attempts(made=tuple(made))


def _of_plain_calls(request: Request) -> Request:
    """The request of a variant that makes moves: before them come the first call of its case, and the same again."""
    case, first = request.case, request.case.calls[0]
    asked = {name: level for name, level in case.checks.items() if name != "double_backward"}
    return replace(request, case=replace(case, calls=(first, replace(first, perturb=True)), checks=asked))


class _Subject:
    """The program of a request, built anew for each role."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @cached_property
    def _source(self) -> program_build.Program:
        return program_build.generate(self.request.case, self.request.variant)

    def build(self) -> ModuleType:
        """Build a fresh namespace of the program, seeded as for every other role."""
        seeding.seed_default(self.request.seed)
        return self._source.load()

    def uncompiled(self) -> Role:
        """Return the uncompiled role."""
        module = self.build()
        return Role(request=self.request, module=module, function=module.program)

    @cached_property
    def twin(self) -> _Subject | None:
        """The case's second program, as a subject of its own."""
        case = self.request.case
        if not case.twin:
            return None
        return _Subject(replace(self.request, case=replace(case, id=f"{case.id} twin", program=case.twin, twin="")))


def _invalid_attempt(subject: _Subject, expected: RoleObservation, disagreement: str | None) -> Attempt | None:
    """The attempt of an invalid request, with the first reason, or None."""
    request = subject.request
    tests: tuple[tuple[Fault, Callable[[], str | None]], ...] = (
        (Fault.CASE, lambda: _wrong_with_case(request, expected)),
        (Fault.REFERENCE, lambda: _unreadable(expected)),
        (Fault.ORACLE, lambda: disagreement),
        (Fault.UNSTABLE, lambda: _unstable(subject, expected)),
        (Fault.LAW, lambda: _broken_law(subject, expected)),
    )
    found = ((fault, why) for fault, test in tests if (why := test()))
    return next((Attempt(invalid=why, fault=fault, stage=Stage.REFERENCE) for fault, why in found), None)


def _wrong_with_case(request: Request, expected: RoleObservation) -> str | None:
    """How the uncompiled program contradicts the `raises` of its case, or None."""
    actual = [call.raised for call in expected.calls if call.raised]
    declared = request.case.raises
    if request.case.may_raise:
        return None
    for raised in actual:
        if declared is None or raised.stage is not declared.stage or not _is_kind(raised.type, declared.type):
            return f"the uncompiled program raised {_describe(raised)}, which the case does not declare"
    if declared is not None and not actual:
        return f"the case declares {declared.type} at stage {declared.stage}, and the uncompiled program raised nothing"
    return None


def _is_kind(name: str, declared: str) -> bool:
    """Whether an exception is of the declared type, or one of Python's own that derives from it.

    What PyTorch refuses by a RuntimeError on one release it refuses by a NotImplementedError on another.
    """
    kind, wanted = vars(builtins).get(name), vars(builtins).get(declared)
    derives = isinstance(kind, type) and isinstance(wanted, type) and issubclass(kind, wanted)
    return name == declared or derives


def _unreadable(expected: RoleObservation) -> str | None:
    """The first result or argument of the uncompiled program whose numbers cannot be read, or None."""
    for index, call in enumerate(expected.calls):
        for leaves in (call.outputs, call.tracked, call.gradients):
            if found := unreadable(leaves):
                path, leaf = found
                what = f"a {leaf.facts['type']} (layout {leaf.facts['tensor_layout']}, device {leaf.facts['device']})"
                return (
                    f"call[{index}].{path} is {what}, whose numbers cannot be read; return or pass what it is made of"
                )
    return None


def _describe(raised: Raised) -> str:
    return f"{raised.type} at stage {raised.stage}: {raised.message}"


def _unstable(subject: _Subject, expected: RoleObservation) -> str | None:
    """How the calls of the uncompiled program differ from themselves, or None."""
    again = perform(subject.uncompiled())
    return _itself(run_checks(Pair(case=subject.request.case, actual=again, expected=expected)))


def _unstable_moves(subject: _Subject, expected: RoleObservation) -> str | None:
    """How the uncompiled program differs from itself in moves, or None."""
    if not expected.moves:
        return None
    try:
        again = observe(subject.uncompiled(), subject.request.moves)
        return _itself(compare_moves(Pair(case=subject.request.case, actual=again, expected=expected)))
    except Exception as error:  # noqa: BLE001 - in a process that a backend has spoilt
        return f"the uncompiled program cannot be run again: {type(error).__name__}: {error}"


def _itself(checks: Sequence[CheckResult]) -> str | None:
    """How a program differs from itself, by the checks of two of its runs."""
    broken = next((result for result in checks if result.breaks), None)
    if broken is None:
        return None
    first = broken.differences[0]
    what = f"{first.kind} {first.expected}, then {first.actual}"
    where = f"{broken.check}, {first.path}" if CATALOGUE[broken.check].is_move else first.path
    return f"the uncompiled program differs from itself in {where}: {what}"


def _broken_law(subject: _Subject, expected: RoleObservation) -> str | None:
    """How the case's two programs differ uncompiled, or None."""
    if subject.twin is None:
        return None
    broken = metamorphic.hold(subject.request.case, perform(subject.twin.uncompiled()), expected).must
    if not broken:
        return None
    first = broken[0]
    what = f"{first.kind} {first.actual}, the program {first.expected}"
    return f"the law does not hold uncompiled, {first.place}: {what}"


class _Compiled:
    """The compiled roles of a request."""

    def __init__(self, subject: _Subject, backend: Backend, report: Callable[[Stage], None]) -> None:
        self.subject, self.backend, self.report = subject, backend, report
        self.dispatching = ambient.dispatching_as_now()

    def against(self, expected: RoleObservation, expected_bytes: int | None) -> Attempt:
        """Run the compiled role and compare it with the uncompiled one, and with its twin if it has one."""
        self.report(Stage.COMPILE)
        try:
            watch = Watch()
            role = replace(self._role(self.subject, expected), around=lambda _: watch)
            twin = self._role(self.subject.twin, expected) if self.subject.twin else None
        except Exception as error:  # noqa: BLE001 - torch.compile refuses the backend: a result
            return Attempt(raised=describe(error, Stage.COMPILE), stage=Stage.COMPILE)
        weights = weights_of(role)
        pair = self._pair(role, watch, expected, expected_bytes, twin)
        actual, evidence, reached = pair.actual, pair.evidence, watch.all_reached()
        self.report(Stage.COMPARE)
        raised = _unexpected(actual, expected)
        with modules.kept():  # references, and a second compiled role, import a user's code anew
            checks = self._checks(pair, raised)
        moved = self._moves(role, weights, pair, checks)
        unstable = _unstable_moves(self.subject, expected) if _need_a_second_look(moved) else None
        checks = (*checks, *moved)
        return Attempt(
            invalid=unstable,
            fault=Fault.UNSTABLE if unstable else None,
            # A check that holds for a sequence cut short by an exception means little.
            checks=tuple(check for check in checks if not check.held) if raised else checks,
            evidence=evidence,
            raised=raised,
            stage=raised.stage if raised else Stage.COMPARE,
            metrics=_metrics(actual, pair.actual_bytes, expected_bytes),
            reached=reached,
        )

    def _pair(
        self, role: Role, watch: Watch, expected: RoleObservation, expected_bytes: int | None, twin: Role | None
    ) -> Pair:
        """Run the compiled role, and put all that its checks need beside what is expected."""
        actual = perform(role)
        evidence = watch.evidence(compiled_backward=any(call.compiled_backward for call in actual.calls))
        breaks = graph_breaks.places()  # since the watch was made
        actual_bytes = saved_bytes(role) if actual.complete else None
        return Pair(
            case=self.subject.request.case,
            actual=actual,
            expected=expected,
            reference=Reference(self.subject.request, self.subject.build, self.subject.request.moves),
            evidence=evidence,
            breaks=breaks,
            fallback=_fallback(self.backend),
            is_idle=_is_idle(self.backend, evidence),
            actual_bytes=actual_bytes,
            expected_bytes=expected_bytes,
            twin=perform(twin) if twin else None,
            lacking=Capability.all() - self.subject.request.backend.capabilities,
        )

    def _checks(self, pair: Pair, raised: Raised | None) -> tuple[CheckResult, ...]:
        with self.dispatching:
            checks = run_checks(pair)
        if raised is None and not pair.claims_rng and any(call.draws for call in pair.expected.calls):
            return self._drawing_uncompiled_baseline(pair, checks)
        return checks

    def _drawing_uncompiled_baseline(self, pair: Pair, checks: tuple[CheckResult, ...]) -> tuple[CheckResult, ...]:
        """Checks of a program that draws, plus those that break if the backend is set to draw the same numbers."""
        if not self.backend.eager_random:
            return checks
        info = self.subject.request.backend
        claiming = replace(info, capabilities=info.capabilities | {Capability.RNG})
        subject = _Subject(replace(self.subject.request, backend=claiming))
        torch.compiler.reset()  # code shared by roles, such as PyTorch's own, was compiled without the switch
        with patched(self.backend.eager_random):
            actual = perform(self._role(subject, pair.expected))
        reference = Reference(subject.request, subject.build)
        switched = replace(
            pair, actual=actual, reference=reference, lacking=frozenset(), evidence=None, fallback=None, is_idle=False
        )
        broken = {result.check: result for result in run_checks(switched) if result.breaks}
        switch = {name: repr(value) for name, value in self.backend.eager_random.items()}
        return tuple(
            _under(switch, broken[each.check]) if each.held and each.check in broken else each for each in checks
        )

    def _moves(
        self, role: Role, weights: Mapping[str, torch.Tensor], pair: Pair, checks: Sequence[CheckResult]
    ) -> tuple[CheckResult, ...]:
        """Make the moves that were made uncompiled, and run their checks.

        What the plain calls show already, by checks that broke, would show in every move again: then none is made.
        """
        if not pair.expected.moves or any(check.breaks for check in checks):
            return ()
        unwatched = replace(role, around=lambda _: contextlib.nullcontext())
        pair.actual.moves = make_moves(unwatched, self.subject.request.moves, weights, pair.expected.moves)
        self.report(Stage.COMPARE)
        with self.dispatching:
            return compare_moves(pair)

    def _role(self, subject: _Subject, expected: RoleObservation) -> Role:
        module = subject.build()
        return Role(
            request=subject.request,
            module=module,
            function=compile_with(self.backend, module.program, dynamic=subject.request.variant.dynamic),
            stops=lambda index: expected.calls[index].raised is None,
            report=self.report,
            compile=partial(compile_with, self.backend, dynamic=subject.request.variant.dynamic),
        )


def _need_a_second_look(moved: Sequence[CheckResult]) -> bool:
    """Whether it matters that the uncompiled program does the same twice: not where compiled did the same too.

    A float64 reference of a program that varies excuses any number.
    """
    return any(check.breaks or check.grade is Grade.REFERENCE for check in moved)


def _under(configuration: Mapping[str, str], result: CheckResult) -> CheckResult:
    """A result that occurs only under a configuration."""
    return replace(result, differences=tuple(replace(each, under=configuration) for each in result.differences))


def _fallback(backend: Backend) -> str | None:
    """What did the work in place of the backend, as it reports itself, or None."""
    if backend.engaged is None:
        return None
    try:
        return backend.engaged()
    except Exception as error:  # noqa: BLE001 - without an answer the backend has not shown that it did the work
        raised = describe(error, Stage.COMPARE)
        return f"engaged() raised {raised.type}: {raised.message}"


def _is_idle(backend: Backend, evidence: Evidence) -> bool:
    """Whether a backend without `engaged` returned every graph unchanged."""
    return backend.engaged is None and 0 < evidence.graphs == evidence.returned_unchanged


def _unexpected(actual: RoleObservation, expected: RoleObservation) -> Raised | None:
    """The first exception of the compiled role in a call where the uncompiled one raised none."""
    for compiled, uncompiled in zip(actual.calls, expected.calls, strict=False):
        if compiled.raised and not uncompiled.raised:
            return compiled.raised
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

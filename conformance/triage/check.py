"""One `conformance check`: a user's own function on backends, with all checks, each run in a process of its own."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.backend.discovery import relative
from conformance.backend.resolution import absolute
from conformance.catalogue.selection import select
from conformance.catalogue.user_function import as_case, declaration_of
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.isolation import tasks
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import TIMING_TAG as TIMING
from conformance.model.enums import Grade
from conformance.model.errors import UsageError
from conformance.model.request import BackendInfo, Request
from conformance.model.user_function import PICKLE, UserFunction
from conformance.records import environment, kept
from conformance.records.kept import Kind
from conformance.records.record_file import RecordWriter, make_header
from conformance.report import terminal
from conformance.report.run_summary import finding
from conformance.report.terminal import style_of, styled
from conformance.timing import bench
from conformance.verdict.expectations import known_as, known_failures
from conformance.verdict.judge import describe_check
from conformance.verdict.ladder import DEBUG, first_in_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from conformance.catalogue.selection import Plan
    from conformance.model.case import Case
    from conformance.model.request import Expectation
    from conformance.model.result import CheckResult, Environment, Record
    from conformance.timing.bench import Bench

__all__ = ["CheckOptions", "Checked", "load_case", "run", "summary", "text", "timing"]

_EAGER = BackendInfo(ref="eager", name="eager")
_LIMIT_S = 120.0
_HELD, _BROKEN, _ADVISORY, _NOTHING, _SILENT = "yes", "NO", "note", "-", ""
_STYLES = {_HELD: terminal.GOOD, _BROKEN: terminal.BAD, _ADVISORY: terminal.WARN}


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The options of `conformance check`, by the same names.

    `said` has, by name, the options that describe the function, as typed. Without `records` see `kept`.
    """

    ref: str
    backends: Sequence[str] = ()
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seed: int = 0
    timeout_s: float | None = None
    records: Path | None = None
    expectations: Path | None = None
    timing: bool = False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A record of each request of the plan, in its order; `path` is their file."""

    path: Path
    plan: Plan
    records: Sequence[Record]

    @property
    def exit_code(self) -> int:
        """1 where anything is red."""
        return int(not all(record.verdict.is_green for record in self.records))


def load_case(options: CheckOptions) -> Case:
    """The function as a case; its file is run, in a child.

    Raises:
        UsageError: there is no such function, or its description is wrong.
        HarnessError: the fork server does not start, or died twice.
    """
    ref = absolute(options.ref)
    if ":" not in ref:
        message = f"{options.ref!r} is not of the form path/to/file.py:function or module:function"
        raise UsageError(message)
    given = declaration_of(options.said)
    for backend in options.backends:
        discovery.refuse_unknown(backend)
    end = tasks.run_task(
        "conformance.observation.user_code:describe", ref, env={}, timeout_s=options.timeout_s or _LIMIT_S
    )
    if refused := tasks.refusal(end):
        raise UsageError(_as_typed(refused))
    found = tasks.result(UserFunction, end)
    if not isinstance(found, UserFunction):
        message = f"{options.ref} cannot be loaded: {str(found).partition(chr(10))[0]}"
        raise UsageError(message)
    case = as_case(found, given)
    if given.get("inputs") and case.may_raise:
        _refuse_unfit(case, options)
    return case


def _refuse_unfit(case: Case, options: CheckOptions) -> None:
    """Call the uncompiled function with inputs that were given for it, to refuse those that it does not take.

    Raises:
        UsageError: it raises.
    """
    request = Request(case=case, backend=_EAGER, variant=case.variants[0], seed=options.seed)
    limit = options.timeout_s or _LIMIT_S
    end = tasks.run_task("conformance.triage.user_inputs:called", request, env={}, timeout_s=limit)
    if refused := tasks.refusal(end):
        message = f"{_as_typed(refused)}\n  If it must raise that, declare it with --raises."
        raise UsageError(message)


def _as_typed(text: str) -> str:
    """A child's message, with paths relative to the working directory, which may differ from the child's."""
    return text.replace(f"{Path.cwd()}/", "")


def run(options: CheckOptions, advance: Callable[[int, Record], None]) -> Checked:
    """Run the function on the backends, and keep the records; `advance` is called with their number and each record.

    Raises:
        ConformanceError: an option, the function or a backend is wrong.
    """
    case = load_case(options)
    infos = {info.name: info for info in discovery.find(options.backends or _default_backends(), attempts.describe)}
    plan = select([case], infos.values(), seed=options.seed, timeout_s=options.timeout_s)
    plan = replace(plan, selection=replace(plan.selection, function=options.ref))
    machine = environment.capture()
    expectations = _expectations(options, plan, machine)
    header = make_header(plan, machine, uuid.uuid4().hex[:12], cases=(case,))
    path, found = options.records or kept.new(Kind.CHECK), []
    with RecordWriter(path, header) as writer:
        for record in records(plan, machine, expectations, header.run_id):
            reproducible = replace(record, reproduce=_reproduce(options, infos[record.backend]))
            writer.write(reproducible)
            advance(len(plan.requests), reproducible)
            found.append(reproducible)
        writer.finish({})
    order = {request.key: place for place, request in enumerate(plan.requests)}
    return Checked(path=path, plan=plan, records=sorted(found, key=lambda record: order[record.key]))


def timing(checked: Checked, options: CheckOptions) -> Bench | None:
    """The timing of what conforms, where it is asked for, ready to start.

    Raises:
        ConformanceError: its file cannot be opened.
    """
    is_declared = any(TIMING in request.case.tags for request in checked.plan.requests)
    if not (options.timing or is_declared):
        return None
    path = checked.path.with_name(f"{checked.path.stem}-timings.jsonl")
    return bench.of_known(checked.plan, checked.records, path)


def _default_backends() -> list[str]:
    """Every installed backend but the one that is for debugging."""
    return [name for name in discovery.names() if name != DEBUG]


def _expectations(options: CheckOptions, plan: Plan, machine: Environment) -> dict[str, tuple[Expectation, ...]]:
    """The known failures of the function; those of backends are of cases."""
    if options.expectations is None:
        return {}
    given = known_as(options.expectations, plan.backends)
    return known_failures(given, [request.case for request in plan.requests], machine)


def _reproduce(options: CheckOptions, info: BackendInfo) -> str:
    """The command that reproduces a record; '' where Python handed the function over."""
    if PICKLE in options.ref:
        return ""
    words = ["conformance", "check", options.ref, "--backend", relative(info.ref)]
    words += [word for name, texts in options.said.items() for text in texts for word in (f"--{name}", text)]
    words += ["--seed", str(options.seed)] if options.seed else []
    return shlex.join([*words, "--timeout", f"{options.timeout_s:g}"] if options.timeout_s else words)


def text(found: Sequence[Record], path: Path) -> str:
    """For each variant a table, checks x backends, then what does not hold, in full, and the next command.

    Args:
        found: the records.
        path: of their file.
    """
    return "\n\n".join([summary(found), *_next_step(found, path)])


def summary(found: Sequence[Record]) -> str:
    """The same without the next command, for records that are in no file."""
    variants = list(dict.fromkeys(record.variant for record in found))
    tables = [_table(variant, [record for record in found if record.variant == variant]) for variant in variants]
    legend = (
        f"{_HELD}: as uncompiled; {_BROKEN}: not; {_ADVISORY}: a SHOULD that does not hold;"
        f" {_NOTHING}: nothing to compare; empty: not looked at."
    )
    red = [finding(record) for record in found if not record.verdict.is_green]
    notes = "\n".join([terminal.prose(legend), *_notes(found)])
    return "\n\n".join([*tables, notes, *_remarks(found), *red])


def _next_step(found: Sequence[Record], path: Path) -> Iterator[str]:
    """The command that leads from the first failure to its cause."""
    failed = next((record for record in found if record.outcome.is_failure), None)
    if failed is not None:
        where = [] if path.parent == kept.FOLDER else ["--records", str(path)]
        command = shlex.join(["conformance", "explain", "/".join(failed.key), *where])
        yield f"Records in {path}. Towards the cause: {command}; likewise repro and shrink."


def _notes(found: Sequence[Record]) -> Iterator[str]:
    """Each SHOULD that does not hold, with the backends on which it differs alike."""
    backends: dict[str, list[str]] = {}
    for record in found:
        for check in record.checks:
            if not check.held and not check.breaks:
                more = f" {check.message}." if check.differences and check.message else ""
                backends.setdefault(f"{record.variant}: {describe_check(check)}{more}", []).append(record.backend)
    yield from (f"{_ADVISORY} on {', '.join(names)} / {note}" for note, names in backends.items())


def _remarks(found: Sequence[Record]) -> Iterator[str]:
    """Comparisons that may not be what was meant: of an exception that the function raises, or of no gradient."""
    raising = (
        f"{record.variant}: {check.message}; that a backend does too is what was compared."
        for record in found
        for check in record.checks
        if check.check == "exceptions" and check.held and check.message
    )
    yield from dict.fromkeys(raising)
    ungraded = (
        f"{record.variant}: no gradient was compared: backward reaches nothing that the function is given or uses."
        for record in found
        if _mark([check for check in record.checks if check.check == "gradients"]) == _NOTHING
    )
    yield from dict.fromkeys(ungraded)


def _table(variant: str, found: Sequence[Record]) -> str:
    rows = [["verdict", *(styled(record.verdict.value, style_of(record.verdict)) for record in found)]]
    for name, spec in CATALOGUE.items():
        marks = [_mark([each for each in record.checks if each.check == name]) for record in found]
        # Of some thirty moves, those are shown that a backend got wrong.
        is_shown = not {_BROKEN, _ADVISORY}.isdisjoint(marks) if spec.is_move else any(marks)
        rows += [[name, *(styled(mark, _STYLES.get(mark, "")) for mark in marks)]] if is_shown else []
    if any(moves := [_moves_that_hold(record) for record in found]):
        rows += [["moves that hold", *moves]]
    rows += [[name, *(show(record) for record in found)] for name, show in _EVIDENCE.items()]
    culprits = first_in_records(found)
    rows += [["first differs in", *(culprits.get(record.key, "") for record in found)]] if culprits else []
    backends = [f"{record.backend} (for debugging)" if record.backend == DEBUG else record.backend for record in found]
    return terminal.table([variant, *backends], rows)


def _moves_that_hold(record: Record) -> str:
    """Of the moves that the caller made, how many show no difference; empty if it made none."""
    made = {check.check for check in record.checks if CATALOGUE[check.check].is_move}
    wrong = {check.check for check in record.checks if not check.held} & made
    return f"{len(made) - len(wrong)} of {len(made)}" if made else ""


def _mark(results: Sequence[CheckResult]) -> str:
    if not results:
        return _SILENT
    if any(each.breaks for each in results):
        return _BROKEN
    if not all(each.held for each in results):
        return _ADVISORY
    return _NOTHING if all(each.grade is Grade.NOTHING for each in results) else _HELD


def _counted(name: str) -> Callable[[Record], str]:
    return lambda record: str(getattr(record.evidence, name)) if record.evidence else ""


_EVIDENCE: Mapping[str, Callable[[Record], str]] = {
    "graphs": _counted("graphs"),
    "graph breaks": _counted("graph_breaks"),
    "recompiles": _counted("recompiles"),
    "first call": lambda record: f"{record.metrics['first_call_s']:.2f} s" if "first_call_s" in record.metrics else "",
}
"""Facts about how a backend ran the function."""

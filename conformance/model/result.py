"""The result of a request: the attempt as a child reports it, and the record that a run writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conformance.model.attribution import Attribution
from conformance.model.enums import Fault, Grade, Kind, Level, Outcome, Spent, Stage, Verdict

__all__ = [
    "NO_EXCEPTION",
    "AppliedExpectation",
    "Attempt",
    "Attempts",
    "CheckResult",
    "Difference",
    "Ended",
    "Environment",
    "Evidence",
    "Raised",
    "Record",
]


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception as text.

    `kinds` are the class names of its MRO, most derived first, `object` left out; of a failure to compile that wraps
    something else than a RuntimeError, no built-in ones.
    """

    stage: Stage
    type: str
    message: str
    kinds: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()


NO_EXCEPTION = "no exception"
"""How a difference of exceptions shows the side that raised nothing."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One observable that differs. Numbers are absent where they have no meaning.

    `path` is like `output[0]['x']`, `grad(a)`, `call[1].output`. `kind` is what differs: values, dtype, shape,
    stride, requires_grad, ... `ulp` is in units of the expected dtype. `error_actual` and `error_expected` are
    relative to the fp64 reference; `allowed` is the bound that was exceeded, in words. `under` is the configuration
    that it occurs under, by dotted name under torch, as Python; empty if it occurs without any. `twin` is set if the
    program's twin differs from it. `stage` is that of an exception, `limit` the largest count that is allowed.
    """

    path: str
    kind: str
    actual: str
    expected: str
    max_abs: float | None = None
    max_rel: float | None = None
    ulp: float | None = None
    mismatched: int | None = None
    total: int | None = None
    first_index: tuple[int, ...] | None = None
    error_actual: float | None = None
    error_expected: float | None = None
    allowed: str | None = None
    under: Mapping[str, str] = field(default_factory=dict)
    twin: bool = False
    stage: Stage | None = None
    limit: int | None = None

    @property
    def place(self) -> str:
        """The path, marked if it is the twin's."""
        return f"twin: {self.path}" if self.twin else self.path


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check; `grade` only if it compares numbers or had nothing to compare."""

    check: str
    level: Level
    held: bool
    grade: Grade | None = None
    message: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether it decides the verdict: a MUST that did not hold."""
        return not self.held and self.level is Level.MUST


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Proof that the backend compiled something.

    `mode_nodes` counts the nodes that set a mode in the captured graphs, `returned_unchanged` the graphs that the
    backend returned unchanged.
    """

    graphs: int = 0
    backend_calls: int = 0
    graph_breaks: int = 0
    recompiles: int = 0
    frames_skipped: int = 0
    compiled_backward: bool = False
    mode_nodes: int = 0
    returned_unchanged: int = 0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child without a usable report ended: killed by a signal, exited, or over its limit.

    `note` is why its report, if any, does not count; `limit_s` and `spent` are set if it was over its limit.
    """

    signal: str | None = None
    status: int | None = None
    timed_out: bool = False
    note: str = ""
    limit_s: float = 0.0
    spent: Spent = Spent.COMPUTING

    def __str__(self) -> str:
        if self.timed_out:
            over = "far over" if self.spent is Spent.WAITING else "over"
            return f"timed out {self.spent}, {over} its limit of {self.limit_s:g} s; its process group was killed"
        how = f"killed by {self.signal}" if self.signal else f"exited with status {self.status}"
        if self.note:
            return f"{how} ({self.note})"
        return how if self.signal else f"{how} without a result"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The result of running one request in isolation, as plain data.

    Either the child reported (`ended` is None) or it ended without a report. `invalid` is what is wrong with the case,
    the uncompiled program, the oracle or the harness, and `fault` which of them. `raised` is what the compiled function
    raised where the uncompiled one did not. `metrics` holds seconds (`*_s`), bytes (`*_bytes`) and counts. `call` is
    the call during which a child died. `fingerprint` is of the environment it was made in, if not that of the run.
    `reached` names what the program reached in the compiler: kinds of guards, graphs and counters.
    """

    checks: tuple[CheckResult, ...] = ()
    evidence: Evidence | None = None
    raised: Raised | None = None
    invalid: str | None = None
    fault: Fault | None = None
    stage: Stage = Stage.LOAD
    call: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    ended: Ended | None = None
    output: str = ""
    duration_s: float = 0.0
    fingerprint: str = ""
    reached: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """The results of requests run one after another in one child, in their order; there may be fewer."""

    made: tuple[Attempt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AppliedExpectation:
    """The known failure that applied to a record; `entry` is its place: file:line:column."""

    kind: Kind
    reason: str
    entry: str
    issue: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a record file: one case x variant x backend.

    `message` is what happened, `expectation_note` whether the known failure that applied was not met or can be deleted.
    `ended` is how a child that died ended, `fault` the cause of an invalid request. `attribution` is whose fault a
    failure is; None where no controls were run. `reproduce` is a shell command.
    """

    schema_version: int
    run_id: str
    case_id: str
    variant: str
    backend: str
    outcome: Outcome
    verdict: Verdict
    stage: Stage
    clauses: tuple[str, ...] = ()
    message: str = ""
    checks: tuple[CheckResult, ...] = ()
    evidence: Evidence | None = None
    raised: Raised | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    expectation: AppliedExpectation | None = None
    expectation_note: str = ""
    ended: Ended | None = None
    fault: Fault | None = None
    attribution: Attribution | None = None
    fingerprint: str = ""
    seed: int = 0
    duration_s: float = 0.0
    reproduce: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend name, case id, variant id: unique within a run."""
        return (self.backend, self.case_id, self.variant)

    @property
    def full_message(self) -> str:
        """What happened and, on its own line, what was expected instead."""
        return "\n".join(filter(None, [self.message, self.expectation_note]))


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and the software of a run."""

    torch: str
    python: str
    platform: str
    cpu: str
    threads: int
    compiler: str
    packages: Mapping[str, str]
    suite_hash: str
    started: str

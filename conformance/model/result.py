"""What comes of a request: the attempt as a child reports it, and the record that a run writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """An exception as words. `kinds` are the class names of its MRO, most derived first, `object` left out."""

    stage: Stage
    type: str
    message: str
    kinds: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()


NO_EXCEPTION = "no exception"
"""What a difference of exceptions says of the side that raised nothing."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One observable that differs. Numbers are absent where they have no meaning.

    `path` is like `output[0]['x']`, `grad(a)`, `call[1].output`. `kind` says what differs: values, dtype, shape,
    stride, requires_grad, ... `ulp` is in units of the expected dtype. `error_actual` and `error_expected` are
    relative to the fp64 reference; `allowed` is the bound that was exceeded, in words. `under` is the configuration
    that it shows under, by dotted name under torch, as Python; empty where it shows without any. `twin` says that the
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
        """The path, said to be of the twin where it is."""
        return f"twin: {self.path}" if self.twin else self.path


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found; `grade` only for checks that compare numbers, and for any that had nothing to compare."""

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
    backend returned as they came.
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
    """How a child ended that gave no usable report: killed by a signal, exited, or over its limit.

    `note` says why what it may have reported does not count; `limit_s` and `spent` are of one that was over its limit.
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
    """What came of running one request in isolation, in numbers and words.

    Either the child reported (`ended` is None) or it ended without a report. `invalid` says what is wrong with the
    case, the reference or the harness, and `fault` with which of them. `raised` is what the compiled function raised
    where the uncompiled one did not. `metrics` holds seconds (`*_s`), bytes (`*_bytes`) and counts. `call` is the call
    that a child that died was in.
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


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """What came of requests that were run one after another in one child, in their order; there may be fewer."""

    made: tuple[Attempt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AppliedExpectation:
    """What a record keeps of the known failure that applied to it; `entry` is where that stands: file:line:column."""

    kind: Kind
    reason: str
    entry: str
    issue: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a record file: one case x variant x backend.

    `message` says what happened, `expectation_note` what the known failure that applied has to do with it: that it was
    not met, or can be deleted. `ended` is how a child ended that died. `fault` is of an invalid one. `reproduce` is a
    shell command.
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
        """What happened, and on a line of its own what was expected instead."""
        return "\n".join(filter(None, [self.message, self.expectation_note]))


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and the software a run was made on."""

    torch: str
    python: str
    platform: str
    cpu: str
    threads: int
    compiler: str
    packages: Mapping[str, str]
    suite_hash: str
    started: str

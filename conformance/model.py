"""The words of the suite as types: frozen, keyword-only, standard library only (no torch, no third party)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance.family import Family
from conformance.users import UserFunction
from conformance.words import Capability, Extent, Grade, Kind, Level, Outcome, Spent, Stage, Tier, Verdict

__all__ = [
    "CALLS",
    "Attempt",
    "Attempts",
    "BackendInfo",
    "Call",
    "Capability",
    "Case",
    "CheckResult",
    "Difference",
    "Ended",
    "Environment",
    "Evidence",
    "Expectation",
    "ExpectedRaise",
    "Extent",
    "Family",
    "Grade",
    "InputSpec",
    "Kind",
    "Level",
    "Location",
    "Outcome",
    "Raised",
    "Record",
    "Request",
    "Spent",
    "Stage",
    "Tier",
    "UserFunction",
    "Variant",
    "Verdict",
]

Number = int | float
Scalar = bool | int | float | str


@dataclass(frozen=True, kw_only=True, order=True)
class Location:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    @property
    def key(self) -> tuple[str, int, int]:
        """What locations sort by."""
        return (self.file, self.line, self.column)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One argument of the program: a seeded tensor, a literal tensor, or a Python scalar.

    A size in `shape` may be the name of a param, whose value in a variant it then is. `dtype` None means the
    variant's dtype. `stride` None means contiguous. `values` gives the numbers row by row. With `scalar` set it is a
    plain Python value and every other field is ignored; so it is with `maker`: a function of the user makes it,
    together with all other arguments of another (references of both, see `conformance.usercode`).
    """

    shape: tuple[int | str, ...] = ()
    dtype: str | None = None
    requires_grad: bool = False
    stride: tuple[int, ...] | None = None
    distribution: str = "normal"
    low: Number | None = None
    high: Number | None = None
    values: tuple[Scalar, ...] | None = None
    scalar: Scalar | None = None
    maker: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the compiled function in a sequence; what is None stays as the variant says.

    `shapes`, `requires_grad` and `scalars` change inputs by name. `perturb` changes the weights of the case's
    modules in place before the call. `inplace` multiplies each floating result in place by two before backward.
    """

    grad: str | None = None
    autocast: str | None = None
    dtype: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    requires_grad: Mapping[str, bool] = field(default_factory=dict)
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    backward: bool = True
    perturb: bool = False
    inplace: bool = False


CALLS = (Call(), Call(perturb=True))
"""The sequence of a case that gives none: a call, and another on new values and changed weights."""


@dataclass(frozen=True, kw_only=True)
class ExpectedRaise:
    """A case whose program raises uncompiled: at which stage, and which exception type (its class name)."""

    stage: Stage = Stage.FORWARD
    type: str = "RuntimeError"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One point of a case's axes. `dynamic` None is PyTorch's automatic dynamic shapes.

    `tier` says where it is run unless it is asked for; it is no part of the id.
    """

    grad: str = "enabled"
    autocast: str = "off"
    dtype: str = "float32"
    dynamic: bool | None = False
    params: Mapping[str, Scalar] = field(default_factory=dict)
    tier: Tier = Tier.DEFAULT

    @property
    def axes(self) -> dict[str, str]:
        """Axis name -> value as text, in the order of the id; every axis, default or not."""
        dynamic = "auto" if self.dynamic is None else str(self.dynamic).lower()
        fixed = {"grad": self.grad, "autocast": self.autocast, "dtype": self.dtype, "dynamic": dynamic}
        return fixed | {name: _text(value) for name, value in sorted(self.params.items())}

    @property
    def requires(self) -> frozenset[Capability]:
        """What a backend must claim for the modes that the caller holds."""
        grad = {"disabled": {Capability.GRAD_MODE}, "inference": {Capability.INFERENCE_MODE}}.get(self.grad, set())
        return frozenset(grad if self.autocast == "off" else grad | {Capability.AUTOCAST, Capability(self.autocast)})

    @property
    def id(self) -> str:
        """Stable and readable: grad always, other axes only where they leave the default."""
        defaults = {"autocast": "off", "dtype": "float32", "dynamic": "false"}
        parts = [f"{name}={value}" for name, value in self.axes.items() if defaults.get(name) != value]
        return ",".join(parts)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program, its inputs, and what must hold of it.

    `setup` runs once per role, uncompiled: it defines helpers, modules and optimizers the program uses.
    `checks` raises a check to MUST (and switches on those that a case must ask for).
    `recompiles` None allows one for each call that changes something guards must see.
    `may_raise` says that the uncompiled program may raise, for nobody has declared it: then so must the backend.
    `twin` is another program over the same inputs and setup that must do the same (a metamorphic law).
    `family` is what generated the case, if anything did. `function` is what the program calls, where that is a user's.
    """

    id: str
    title: str
    topic: str
    program: str
    location: Location
    setup: str = ""
    clauses: tuple[str, ...] = ()
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    variants: tuple[Variant, ...] = (Variant(),)
    calls: tuple[Call, ...] = CALLS
    raises: ExpectedRaise | None = None
    may_raise: bool = False
    requires: frozenset[Capability] = frozenset()
    checks: Mapping[str, Level] = field(default_factory=dict)
    graph_breaks: int = 0
    recompiles: int | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    source: str | None = None
    torch: str | None = None
    timeout_s: float | None = None
    twin: str = ""
    family: Family | None = None
    function: UserFunction | None = None
    program_location: Location | None = None
    setup_location: Location | None = None

    @property
    def area(self) -> str:
        """The part of the id before the first dot."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """What the parent knows of a backend: words only; its callables stay in the child.

    `ref` is what a child resolves again. `broken` says why it cannot be used at all, `unavailable` why not on this
    machine. `packages` maps distribution to installed version. `expectations` is the path of its expectations file.
    `tolerance` maps dtypes to the largest relative error it claims, where that is more than the suite allows.
    """

    ref: str
    name: str
    capabilities: frozenset[Capability] = field(default_factory=Capability.all)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    expectations: Path | None = None
    compile_timeout_s: float | None = None
    unavailable: str | None = None
    broken: str | None = None
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One case x backend x variant to be run in a process of its own."""

    case: Case
    backend: BackendInfo
    variant: Variant
    seed: int = 0
    timeout_s: float = 120.0

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend name, case id, variant id: unique within a run."""
        return (self.backend.name, self.case.id, self.variant.id)


@dataclass(frozen=True, kw_only=True)
class Raised:
    """An exception as words. `kinds` are the class names of its MRO, most derived first, `object` left out."""

    stage: Stage
    type: str
    message: str
    kinds: tuple[str, ...] = ()
    traceback: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One observable that differs. Numbers are absent where they have no meaning.

    `path` is like `output[0]['x']`, `grad(a)`, `call[1].output`. `kind` says what differs: values, dtype, shape,
    stride, requires_grad, ... `ulp` is in units of the expected dtype. `error_actual` and `error_expected` are
    relative to the fp64 reference; `allowed` is the bound that was exceeded, in words. `under` is the configuration
    that it shows under, by dotted name under torch, as Python; empty where it shows without any.
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

    `mode_nodes` counts the nodes that set a mode in the captured graphs, `handed_back` the graphs that the backend
    returned as they came.
    """

    graphs: int = 0
    backend_calls: int = 0
    graph_breaks: int = 0
    recompiles: int = 0
    frames_skipped: int = 0
    compiled_backward: bool = False
    mode_nodes: int = 0
    handed_back: int = 0


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
    case, the reference or the harness. `raised` is what the compiled function raised where the uncompiled one did not.
    `metrics` holds seconds (`*_s`), bytes (`*_bytes`) and counts. `call` is the call that a child that died was in.
    """

    checks: tuple[CheckResult, ...] = ()
    evidence: Evidence | None = None
    raised: Raised | None = None
    invalid: str | None = None
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
class Expectation:
    """One entry of a backend's known failures, of `cases` but for `excluded`.

    `checks` fail, `also` may fail beside them, no other may. It holds where the version of torch, those of the
    backend's `packages` and the `platform` (a glob) are as it says.
    """

    cases: str
    outcome: Outcome
    kind: Kind
    reason: str
    location: Location
    excluded: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    checks: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    raises: str | None = None
    torch: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    issue: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a record file: one case x variant x backend.

    `expectation` is the reason of the expectation that applied. `reproduce` is a shell command.
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
    expectation: Mapping[str, str] | None = None
    fingerprint: str = ""
    seed: int = 0
    duration_s: float = 0.0
    reproduce: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend name, case id, variant id: unique within a run."""
        return (self.backend, self.case_id, self.variant)


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

"""The closed vocabularies of the suite: outcomes, verdicts, stages, levels, grades, kinds and capabilities."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CPP_KERNELS",
    "EXHAUSTIVE",
    "ON_REQUEST",
    "OPERATIONS",
    "PRECISIONS",
    "SLOW_COMPILE",
    "TIMING_TAG",
    "Capability",
    "Extent",
    "Fault",
    "Grade",
    "Kind",
    "Level",
    "Outcome",
    "Spent",
    "Stage",
    "Tier",
    "Verdict",
]

PRECISIONS = ("complex128", "float64", "complex64", "float32", "float16", "bfloat16")
"""The dtypes that have a tolerance, from the most to the least precise."""


EXHAUSTIVE = "exhaustive"
"""The tag of every generated case of modes; selecting it selects all their variants, on every backend."""

OPERATIONS = "ops"
"""The tag of the cases of operations."""

ON_REQUEST = frozenset({OPERATIONS})
"""Tags of cases that a run leaves out unless it asks for one of their tags, for everything, or for their full id."""


class Outcome(StrEnum):
    """What happened to one request, before any expectation is consulted."""

    PASS = "pass"
    VACUOUS = "vacuous"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    SKIP = "skip"
    INVALID = "invalid"

    @property
    def is_failure(self) -> bool:
        """Whether an expectation may name this outcome."""
        return self in _FAILURES


_FAILURES = frozenset({Outcome.VACUOUS, Outcome.FAIL, Outcome.ERROR, Outcome.CRASH, Outcome.TIMEOUT})


class Verdict(StrEnum):
    """The outcome after the backend's expectations are applied; the gate counts these."""

    PASS = "pass"
    VACUOUS = "vacuous"
    FAIL = "fail"
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    XFAIL = "xfail"
    XPASS = "xpass"
    UNSUPPORTED = "unsupported"
    SKIP = "skip"
    INVALID = "invalid"

    @property
    def mark(self) -> str:
        """One or two characters for tables."""
        return _MARKS[self]

    @property
    def conforms(self) -> bool:
        """Whether the score counts it as conforming."""
        return self in {Verdict.PASS, Verdict.XPASS}

    @property
    def scored(self) -> bool:
        """Whether it counts in the denominator of the score (unsupported, skip and invalid do not)."""
        return self not in {Verdict.UNSUPPORTED, Verdict.SKIP, Verdict.INVALID}

    @property
    def is_green(self) -> bool:
        """Whether the gate accepts it."""
        return self in {Verdict.PASS, Verdict.XFAIL, Verdict.UNSUPPORTED, Verdict.SKIP}


_MARKS = {
    Verdict.PASS: "ok",
    Verdict.VACUOUS: "v",
    Verdict.FAIL: "F",
    Verdict.ERROR: "E",
    Verdict.CRASH: "C",
    Verdict.TIMEOUT: "T",
    Verdict.XFAIL: "x",
    Verdict.XPASS: "X",
    Verdict.UNSUPPORTED: "-",
    Verdict.SKIP: ".",
    Verdict.INVALID: "!",
}


class Stage(StrEnum):
    """Where in the life of a request something happened."""

    LOAD = "load"
    BUILD = "build"
    REFERENCE = "reference"
    COMPILE = "compile"
    FORWARD = "forward"
    BACKWARD = "backward"
    COMPARE = "compare"


class Fault(StrEnum):
    """The cause of an invalid request; never the backend."""

    CASE = "case"
    """It does not build, or its uncompiled program does not do what it declares."""
    REFERENCE = "reference"
    """The uncompiled program cannot be observed."""
    UNSTABLE = "unstable"
    """The uncompiled program differs from itself."""
    ORACLE = "oracle"
    """The uncompiled program and the oracle disagree."""
    LAW = "law"
    """The two programs of a law differ uncompiled."""
    HARNESS = "harness"
    """The suite itself failed."""


class Spent(StrEnum):
    """How a child spent its time limit."""

    COMPUTING = "computing"
    SLEEPING = "sleeping"
    WAITING = "waiting for a processor or a disk"


class Level(StrEnum):
    """A MUST decides the verdict; a SHOULD is an advisory."""

    MUST = "must"
    SHOULD = "should"


class Grade(StrEnum):
    """How closely numbers agree, best first; `nothing` means that there was nothing to compare."""

    NOTHING = "nothing"
    BITWISE = "bitwise"
    CLOSE = "close"
    REFERENCE = "reference"
    DIFFERS = "differs"

    @property
    def rank(self) -> int:
        """0 for the best grade; larger is worse."""
        return list(Grade).index(self)


class Kind(StrEnum):
    """Why a failure is expected."""

    BUG = "bug"
    NOTYET = "notyet"
    NEVER = "never"


class Capability(StrEnum):
    """A feature that a backend may claim and a case may require."""

    TRAINING = "training"
    GRAD_MODE = "grad_mode"
    INFERENCE_MODE = "inference_mode"
    AUTOCAST = "autocast"
    DYNAMIC_SHAPES = "dynamic_shapes"
    INPUT_MUTATION = "input_mutation"
    DOUBLE_BACKWARD = "double_backward"
    FORWARD_DERIVATIVES = "forward_derivatives"
    RETAIN_GRAPH = "retain_graph"
    BATCHED_GRADIENTS = "batched_gradients"
    RNG = "rng"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT64 = "float64"
    COMPLEX = "complex"

    @classmethod
    def all(cls) -> frozenset[Capability]:
        """Every capability: the claim "conforms", which is the default."""
        return frozenset(cls)


class Extent(StrEnum):
    """How much of the suite a run includes."""

    QUICK = "quick"
    """Cases with the tag `quick`, chosen so that nearly every defect of the kill matrix shows in one of them."""
    DEFAULT = "default"
    """All but generated cases that run only on request."""
    EXHAUSTIVE = "exhaustive"
    """Everything."""


class Tier(StrEnum):
    """Where a case runs unless it is selected by tag or by its full id."""

    DEFAULT = "default"
    """On every backend."""
    FAST = "fast"
    """On backends that compile in milliseconds: those that do not declare slow compilation."""
    EXHAUSTIVE = "exhaustive"
    """On none."""


SLOW_COMPILE = "slow_compile"
"""The tag of a backend that takes seconds to compile: by default it runs only a covering subset of families."""

CPP_KERNELS = "cpp_kernels"
"""The tag of a backend whose kernels Inductor has its C++ compiler build: those of several children share a run."""

TIMING_TAG = "timing"
"""The tag of cases that are worth timing."""

"""The words of timing as types: phases, blocks of a paired measurement, and what a verdict on speed may be.

Times are nanoseconds where they were read from the clock, seconds everywhere else; bytes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from conformance.model.enums import Verdict
from conformance.model.request import Request

__all__ = [
    "DISPATCH",
    "GATES",
    "SMALLEST_EFFECT",
    "Blocks",
    "Conditions",
    "Effort",
    "FirstCall",
    "Noise",
    "Phase",
    "Speed",
    "Timing",
    "TimingRequest",
]


DISPATCH = "dispatch"
"""What cases are tagged with whose program does next to nothing, so that a call of it is all overhead."""

GATES = ("failures", "timing", "metrics")
"""What may turn a comparison of two runs red: what conforms no longer, what is slower, what is counted more."""

SMALLEST_EFFECT = 0.03
"""A change of speed that is smaller than this share is nobody's concern, unless another is asked for."""


class Phase(StrEnum):
    """What is timed."""

    COMPILE_COLD = "compile_cold"
    """The first call, and its backward, in a fresh process that finds no compiler cache."""
    COMPILE_WARM = "compile_warm"
    """The same in another fresh process, on the cache that the cold one left."""
    FORWARD = "forward"
    BACKWARD = "backward"
    STEP = "step"
    """Forward, backward, and the step of an optimizer where the case's setup makes one."""
    DISPATCH = "dispatch"
    """A call of a program that does next to nothing: what guards and the way to the compiled code cost."""

    @property
    def is_compile(self) -> bool:
        """Whether it is a first call, which is not paired with an uncompiled one."""
        return self in {Phase.COMPILE_COLD, Phase.COMPILE_WARM}


class Speed(StrEnum):
    """The verdict on a ratio to uncompiled."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long one phase is measured: until its interval is narrow enough or its budget is spent.

    `budget_s` is the wall time of a phase, what is not timed included. `precision` is the half-width of the interval
    of the ratio, as a share, at which to stop. `rounds` is how many rounds of four blocks are made at most, which
    bounds the size of records; a block takes as long as lets the budget hold so many.
    """

    budget_s: float = 2.0
    precision: float = 0.01
    rounds: int = 256


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One phase, measured in rounds of four blocks: uncompiled, candidate, candidate, uncompiled, and the reverse.

    `ns` holds the time of every block in the order in which they were run; each block is `calls` calls.
    """

    phase: Phase
    calls: int
    ns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TimingRequest:
    """What a child is to time: a request that conforms, how long each phase, and with how many threads of kernels.

    `repetitions` is how often uncompiled calls are timed against themselves, where that is what is asked for.
    """

    request: Request
    effort: Effort
    threads: int = 1
    repetitions: int = 1


@dataclass(frozen=True, kw_only=True)
class FirstCall:
    """What a child is to compile and call once; `cache` is the folder of compiler caches, empty where it is cold."""

    request: Request
    phase: Phase
    cache: str
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One line of a file of timings: one case x variant x backend.

    Args:
        verdict: of conformance; only what conforms is timed.
        message: why nothing was timed, where nothing was, or what of it was not.
        compiles: seconds of the first calls, by phase, each in a process of its own.
        metrics: what is counted, not timed, and so the same each time: graphs, guards, nodes, kernels, bytes.
        instructions: by phase, of one call as Callgrind counts them: uncompiled, and the candidate's.
    """

    backend: str
    case_id: str
    variant: str
    verdict: Verdict = Verdict.PASS
    message: str = ""
    blocks: tuple[Blocks, ...] = ()
    compiles: Mapping[Phase, tuple[float, ...]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    instructions: Mapping[Phase, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request) -> Timing:
        """That of a request, with nothing in it."""
        backend, case, variant = request.key
        return cls(backend=backend, case_id=case, variant=variant)

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend name, case id, variant id: unique within a file."""
        return (self.backend, self.case_id, self.variant)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Uncompiled timed against itself, as a candidate is: the ratio of each repetition, by what was called."""

    ratios: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the clock was read under.

    Args:
        threads: of kernels.
        governor: of the processor's frequency, as Linux names it; empty where it does not tell.
        load: the average number of processes that wanted a processor in the minute before.
        resolution_ns: how far apart two readings of the clock are at least.
    """

    threads: int
    governor: str
    load: float
    resolution_ns: float

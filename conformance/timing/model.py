"""Types of timing: phases, blocks of a paired measurement, and verdicts on speed.

Times read from the clock are in nanoseconds, all others in seconds; sizes are in bytes.
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
"""Tag of cases whose program is nearly empty, so that a call is all overhead."""

GATES = ("failures", "timing", "metrics")
"""What may turn a comparison of two runs red: requests that no longer conform, slower ones, higher counts."""

SMALLEST_EFFECT = 0.03
"""Default of the smallest change of speed that counts, as a share."""


class Phase(StrEnum):
    """A timed phase."""

    COMPILE_COLD = "compile_cold"
    """The first call, and its backward, in a fresh process without compiler cache."""
    COMPILE_WARM = "compile_warm"
    """The same in another fresh process, with the cache of the cold one."""
    FORWARD = "forward"
    BACKWARD = "backward"
    STEP = "step"
    """Forward, backward, and the step of an optimizer where the case's setup makes one."""
    DISPATCH = "dispatch"
    """A call of a nearly empty program: the cost of guards and of dispatch to compiled code."""

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

    `budget_s` is the wall time of a phase, including untimed work. `precision` is the half-width of the interval of the
    ratio, as a share, at which to stop. `rounds` is the largest number of rounds of four blocks, which bounds the size
    of records; the length of a block is chosen so that the budget allows so many.
    """

    budget_s: float = 2.0
    precision: float = 0.01
    rounds: int = 256


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One phase, measured in rounds of four blocks: uncompiled, candidate, candidate, uncompiled, and the reverse.

    `ns` has the time of every block in the order in which they were run; each block is `calls` calls.
    """

    phase: Phase
    calls: int
    ns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TimingRequest:
    """A task of timing for a child: a request that conforms, the effort per phase, and the number of kernel threads.

    `repetitions` is how often uncompiled calls are timed against themselves, for a task that measures noise. `pinned`
    is whether the child stays on as many processors as it has threads.
    """

    request: Request
    effort: Effort
    threads: int = 1
    repetitions: int = 1
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)
class FirstCall:
    """A request for a child to compile and call once; `cache` is the folder of compiler caches, empty if cold."""

    request: Request
    phase: Phase
    cache: str
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One line of a file of timings: one case x variant x backend.

    Args:
        verdict: verdict on conformance; only what conforms is timed.
        message: why nothing, or a part, was not timed.
        compiles: seconds of the first calls, by phase, each in a process of its own.
        metrics: counts, the same each time: graphs, guards, nodes, kernels, bytes.
        instructions: by phase, instructions of one call counted by Callgrind: uncompiled, then the candidate.
        fingerprint: of the environment it was made in, if not that of the run.
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
    fingerprint: str = ""

    @classmethod
    def of(cls, request: Request) -> Timing:
        """Return an empty timing of a request."""
        backend, case, variant = request.key
        return cls(backend=backend, case_id=case, variant=variant)

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend name, case id, variant id: unique within a file."""
        return (self.backend, self.case_id, self.variant)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Uncompiled timed against itself like a candidate: the ratio of each repetition, by workload and phase."""

    ratios: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions of timing.

    Args:
        threads: number of threads of kernels.
        governor: governor of the processor's frequency, as Linux names it; empty if unknown.
        load: load average of the minute before.
        resolution_ns: smallest difference of two readings of the clock.
    """

    threads: int
    governor: str
    load: float
    resolution_ns: float

"""Options and results of a fuzzing run: chunks, and the result that they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic reads them
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - as above

from conformance.triage.fuzz import grammar
from conformance.triage.fuzz.finding import FuzzFinding, merged
from conformance.triage.fuzz.guidance import Guide, Kept
from conformance.verdict.symptom import Symptom  # noqa: TC001 - as above

__all__ = ["Chunk", "FuzzResult", "Options"]

_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `conformance fuzz`, by the same names.

    Args:
        backend: a backend spec.
        output: the folder of the findings and of the state.
        seed: of this sequence of programs.
        budget_s: wall time of all of it but the start-up, earlier runs of the same command included; None is no limit.
        programs: about how many are run, earlier runs included; None is no limit.
        jobs: how many batches run at a time; None is one for each processor.
        timeout_s: of each program; None is the backend's own limit.
    """

    backend: str
    output: Path
    seed: int = 0
    budget_s: float | None = None
    programs: int | None = None
    jobs: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The results of one chunk; a line of the state.

    Args:
        number: which one.
        programs: how many were run.
        unsupported: how many need what the backend does not claim.
        seconds: from the end of the chunk before it to its own.
        codes: digests of its programs, so that none is run twice.
        features: how many programs use each part of the grammar.
        invalid: by case id, why a program is invalid uncompiled.
        unstable: how many of these differ from themselves.
        failures: the symptom of each program that failed, in their order.
        findings: those failures that were looked into.
        left: the symptoms of those that were to be looked into when the time was up.
        kept: the programs that reached something new, which later chunks vary.
    """

    number: int
    programs: int
    unsupported: int = 0
    seconds: float = 0.0
    codes: tuple[str, ...] = ()
    features: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    unstable: int = 0
    failures: tuple[Symptom, ...] = ()
    findings: tuple[FuzzFinding, ...] = ()
    left: tuple[Symptom, ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FuzzResult:
    """The results of a run and of those that it continues."""

    backend: str
    seed: int
    output: Path
    chunks: Sequence[Chunk]
    interrupted: bool = False

    @property
    def programs(self) -> int:
        """How many programs were run."""
        return sum(chunk.programs for chunk in self.chunks)

    @property
    def unsupported(self) -> int:
        """How many more were drawn that the backend does not claim to support."""
        return sum(chunk.unsupported for chunk in self.chunks)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(chunk.seconds for chunk in self.chunks)

    @property
    def unstable(self) -> int:
        """The number of programs that differ from themselves uncompiled."""
        return sum(chunk.unstable for chunk in self.chunks)

    @property
    def invalid(self) -> Mapping[str, str]:
        """By case id, why a program is invalid uncompiled."""
        return {case: reason for chunk in self.chunks for case, reason in chunk.invalid.items()}

    @property
    def accepted(self) -> int:
        """How many programs could be judged."""
        return self.programs - len(self.invalid)

    @property
    def coverage(self) -> dict[str, int]:
        """For each part of the grammar, how many programs use it."""
        used = Counter[str]()
        for chunk in self.chunks:
            used.update(chunk.features)
        return {name: used[name] for name in grammar.FEATURES}

    @property
    def kept(self) -> Guide:
        """The programs that reached something new, with all that was reached."""
        return Guide([one for chunk in self.chunks for one in chunk.kept])

    @property
    def failures(self) -> Counter[Symptom]:
        """How many programs show each symptom."""
        return Counter(symptom for chunk in self.chunks for symptom in chunk.failures)

    @property
    def looked_into(self) -> int:
        """How many failures have been looked into."""
        return sum(len(chunk.findings) for chunk in self.chunks)

    @property
    def left(self) -> set[Symptom]:
        """The symptoms of failures that there was no time to look into."""
        every = {symptom for chunk in self.chunks for symptom in chunk.left}
        return every - {finding.symptom for finding in self.findings}

    @property
    def findings(self) -> list[FuzzFinding]:
        """Every way in which the backend differs, once, in the order in which they were found."""
        return merged(finding for chunk in self.chunks for finding in chunk.findings)

    @property
    def new(self) -> list[FuzzFinding]:
        """The findings that no record of the suite shows."""
        return [finding for finding in self.findings if not finding.known]

    @property
    def exit_code(self) -> int:
        """0 where nothing is new, 1 with findings, 130 after Ctrl-C."""
        return _INTERRUPTED if self.interrupted else int(bool(self.new))

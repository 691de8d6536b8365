"""What became of a mutant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.tests.jobs.mutants.operators import Mutant

__all__ = ["Fate", "Result", "blank"]


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    NOTICED = "an advisory alone"
    SURVIVED = "survived"
    UNREACHED = "not reached"
    EQUIVALENT = "same bytecode, or no Python"
    UNIMPORTABLE = "nothing imports"

    @property
    def is_judged(self) -> bool:
        """Whether it counts in the kill rate."""
        return self in {Fate.KILLED, Fate.NOTICED, Fate.SURVIVED}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A mutant, and what became of it.

    Args:
        id: of the mutant; `before` and `after` are its texts.
        seed: of the draw that it is in.
        by: the checks that did not hold in the request that killed it or noticed it, or how that ended.
        backend: of this request; `case` and `variant` too.
        kind: of the case: written by hand, a nest, a law or an operation.
        requests: how many were run.
        reaching: how many reach its line.
        by_seed: whether PyTorch's own three programs, compared as there, show it; None where none of them reaches it.
    """

    id: str
    fate: Fate
    seed: int
    before: str = ""
    after: str = ""
    by: tuple[str, ...] = ()
    backend: str = ""
    case: str = ""
    variant: str = ""
    kind: str = ""
    requests: int = 0
    reaching: int = 0
    by_seed: bool | None = None
    seconds: float = 0.0


def blank(mutant: Mutant, seed: int, fate: Fate = Fate.UNREACHED) -> Result:
    """What there is to say of a mutant that was not run."""
    return Result(id=mutant.id, fate=fate, seed=seed, before=mutant.before, after=mutant.after)

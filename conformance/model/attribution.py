"""Whose fault a failure is, and the controls that decide it: the vocabulary of attributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Attribution", "Cause", "Control", "Showing"]


class Cause(StrEnum):
    """Whose fault a failure is."""

    MODE = "mode"
    """It shows only where a mode is set: a context, a decorator or a call in the program, or the caller's."""
    BASE = "base"
    """It shows without any mode, and without backward."""
    BACKWARD = "backward"
    """It shows without any mode, and only where the caller goes backward."""
    INHERITED = "inherited"
    """The rung below shows the same symptom."""
    HARNESS = "harness"
    """The backend uses memory of results again, or left the work to something else."""
    UNDECIDED = "undecided"
    """A control that would decide could not be judged."""


class Control(StrEnum):
    """A request that a failing one is held against."""

    AGAIN = "again"
    """The same request, where the record is of another machine."""
    RUNG = "rung"
    """The same on the rung below."""
    MODES = "modes"
    """The same without modes."""
    BACKWARD = "backward"
    """The same, also without backward."""
    OPERATIONS = "operations"
    """The same, also with every operation run uncompiled: the backend compiles only copies of their results."""


class Showing(StrEnum):
    """Whether a control shows the failure."""

    SAME = "same"
    GONE = "gone"
    UNCLEAR = "unclear"
    """It could not be run, or did not get as far."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Whose fault a failure is, with what each control showed that was run.

    `rung` is, of an inherited failure, the lowest of the consecutive rungs that show it.
    """

    cause: Cause
    controls: Mapping[Control, Showing] = field(default_factory=dict)
    rung: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is not the fault of what the request is about: its modes if it has any, else everything.

        What is inherited, and what the backend does around every graph, is about no request in particular.
        """
        if self.cause in {Cause.INHERITED, Cause.HARNESS}:
            return True
        return Control.MODES in self.controls and self.cause in {Cause.BASE, Cause.BACKWARD}

"""A user's own function in words: what `conformance check` is given, as a child describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DECLARED", "INPUTS", "PICKLE", "STATE", "UserFunction", "typed"]

INPUTS = "inputs"
"""The function beside a user's own that makes its arguments; `<function>_inputs` goes before it."""

PICKLE = ".pickle"
"""How the name of a file ends that holds a function and what makes its inputs."""

DECLARED = "__conformance__"
"""Where `conformance.case` leaves what it was given."""

STATE = "__state__"
"""The name in the namespace of a program of what gives all that a user's function reaches."""


def typed(ref: str) -> str:
    """A reference as one types it in the working directory; of what Python handed over in a file, the name alone."""
    home, _, name = ref.rpartition(":")
    if home.endswith(PICKLE):
        return name
    return ref.removeprefix(f"{Path.cwd()}/")


@dataclass(frozen=True, kw_only=True)
class UserFunction:
    """What a reference holds, in words.

    Args:
        ref: the reference.
        call: how the arguments are handed on, as Python: `x, y, scale=scale`.
        arguments: their names.
        takes: names of all that it may be given; empty where that is anything.
        maker: reference of the function that makes the arguments; empty where there is none.
        declared: what `conformance.case` was given.
        title: the first line of its docstring.
        is_factory: whether it makes the module that is called.
        is_module: whether what is called is a module.
        state: the modules and tensors that it reaches by a name of its file, or as its `self`, as Python.
        callee: its name in the program of its case.
    """

    ref: str
    call: str = ""
    arguments: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    maker: str = ""
    declared: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    is_factory: bool = False
    is_module: bool = False
    state: tuple[str, ...] = ()
    callee: str = ""

    @property
    def home(self) -> str:
        """The file or module that it is in."""
        return self.ref.rpartition(":")[0]

    @property
    def name(self) -> str:
        """Its name there, with dots where it is an attribute of something."""
        return self.ref.rpartition(":")[2]

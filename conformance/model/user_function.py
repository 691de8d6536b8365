"""A user's own function as plain data: the one that `conformance check` is given, as a child describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DECLARED", "INPUTS", "PICKLE", "STATE", "UserFunction", "typed"]

INPUTS = "inputs"
"""The function in the user's file that makes the arguments; `<function>_inputs` takes precedence."""

PICKLE = ".pickle"
"""The suffix of a file with a pickled function and what makes its inputs."""

DECLARED = "__conformance__"
"""The attribute where `conformance.case` stores its arguments."""

STATE = "__state__"
"""The name, in the namespace of a program, of the function that returns all state a user's function reaches."""


def typed(ref: str) -> str:
    """Shorten an import path for the working directory; of an object pickled in a file, return the name alone."""
    home, _, name = ref.rpartition(":")
    if home.endswith(PICKLE):
        return name
    return ref.removeprefix(f"{Path.cwd()}/")


@dataclass(frozen=True, kw_only=True)
class UserFunction:
    """The function at an import path, as plain data.

    Args:
        ref: the import path.
        call: how the arguments are passed on, as Python: `x, y, scale=scale`.
        arguments: their names.
        takes: names of all its parameters; empty if it accepts any.
        maker: import path of the function that makes the arguments; empty if there is none.
        declared: the arguments of `conformance.case`.
        title: the first line of its docstring.
        is_factory: whether it makes the module that is called.
        is_module: whether what is called is a module.
        state: the modules and tensors that it reaches as globals or as its `self`, as Python.
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
        """Its name there, dotted if it is an attribute of something."""
        return self.ref.rpartition(":")[2]

"""The issues of PyTorch's history that were drawn, as `issues.yaml` has them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from conformance.model.enums import Outcome

__all__ = ["CUSTOM", "PROGRAMS", "Draw", "Issue", "Kind", "draw"]

PROGRAMS = Path(__file__).parent / "programs"
CUSTOM = "custom"
"""Of `shows`: a function beside the program says whether the issue is there."""

_FILE = Path(__file__).parent / "issues.yaml"


class Kind(StrEnum):
    """What is wrong in an issue."""

    RESULTS = "results"
    GRADIENTS = "gradients"
    MODES = "modes"
    ALIASING = "aliasing"
    STATE = "state"


@dataclass(frozen=True, kw_only=True)
class Issue:
    """One issue that was drawn.

    Args:
        number: of the issue.
        title: what is wrong, in our words.
        kind: of what is wrong.
        backend: that shows it.
        shows: what differs with torch alone, as `plain_torch` names it, or `custom`.
        checks: of which one has to be broken for this reason.
        outcomes: by which it shows where no check is made.
        suite: cases that are about the same, and were there when it was drawn.
        since: cases that were added for its kind after it was drawn.
        fuzz: programs of the fuzzer that fail for the same cause.
    """

    number: int
    title: str
    kind: Kind
    backend: str
    shows: str
    checks: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()
    suite: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    fuzz: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """All cases that are about the same."""
        return self.suite + self.since

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://github.com/pytorch/pytorch/issues/{self.number}"

    @property
    def ref(self) -> str:
        """The argument of `conformance check` for its program."""
        return f"{_files()[f'issue_{self.number}']}:issue_{self.number}"


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What was drawn, and the numbers of what was left out, by reason."""

    issues: tuple[Issue, ...]
    excluded: Mapping[str, tuple[int, ...]]


@cache
def draw() -> Draw:
    """The draw, in the order of its file."""
    return TypeAdapter(Draw).validate_python(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


@cache
def _files() -> Mapping[str, Path]:
    """The file of every function of the programs."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PROGRAMS.glob("*.py"))}
    return {node.name: path for path, tree in trees.items() for node in tree.body if isinstance(node, ast.FunctionDef)}

"""The dissection of a failure, as text; child side in `conformance.triage.explain.dissect`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CapturedGraph", "Dissection", "Listing", "NodeDifference"]


@dataclass(frozen=True, kw_only=True)
class NodeDifference:
    """The first node of a captured graph whose value on the backend differs from uncompiled.

    `stage` is `forward`, or `backward` where the value is right and its gradient is not. `line` is that of the file
    that the listing is of; 0 where the graph does not have it.
    """

    node: str
    target: str
    stage: str
    kind: str
    actual: str
    expected: str
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class CapturedGraph:
    """A graph that a backend was given to compile, as Python; `searched` is why no node was found where none was."""

    text: str
    difference: NodeDifference | None = None
    searched: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The Python that is run: all that is generated from a case, or a function of a user in its file."""

    file: str
    text: str
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Dissection:
    """The compilation of a program by Dynamo, and where a backend begins to differ."""

    listing: Listing

    graphs: tuple[CapturedGraph, ...] = ()
    graph_breaks: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()

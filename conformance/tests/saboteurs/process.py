"""Saboteurs of the process: they raise, crash, hang, leave, or compile nothing."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.exc import SkipFrame

from conformance.tests.saboteurs.wiring import finish_with

if TYPE_CHECKING:
    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph


def errors_swallowed(graph: Graph, _: Examples) -> Compiled:
    """Where the program raises, zeros of the shapes known at compile time come back."""
    returned = next(node for node in graph.graph.nodes if node.op == "output").args[0]
    known = [node.meta["example_value"] for node in returned]

    def run(*inputs: Any) -> tuple[Any, ...]:
        try:
            return tuple(graph.forward(*inputs))
        except Exception:  # noqa: BLE001 - this is the defect
            return tuple(torch.zeros(value.shape, dtype=value.dtype) for value in known)

    return run


def exception_replaced(graph: Graph, _: Examples) -> Compiled:
    """What the program raises comes out as another kind of exception."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        try:
            return tuple(graph.forward(*inputs))
        except Exception as error:
            raise KeyError(str(error)) from error

    return run


def talkative(graph: Graph, _: Examples) -> Compiled:
    """Every call prints a line."""
    return finish_with(graph, lambda inputs, _: sys.stdout.write(f"called with {len(inputs)} inputs\n"))


def changes_rolled_back(graph: Graph, _: Examples) -> Compiled:
    """Where the program raises, what it had changed in place is put back."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        kept = [value.clone() for value in inputs]
        try:
            return tuple(graph.forward(*inputs))
        except Exception:
            with torch.no_grad():
                for value, old in zip(inputs, kept, strict=True):
                    value.copy_(old)
            raise

    return run


def raises_at_compile(graph: Graph, _: Examples) -> Compiled:
    """Compiling raises."""
    message = f"cannot compile {len(graph.graph.nodes)} nodes"
    raise NotImplementedError(message)


def raises_at_second_call(graph: Graph, _: Examples) -> Compiled:
    """The second call raises."""
    calls: list[None] = []

    def run(*inputs: Any) -> tuple[Any, ...]:
        calls.append(None)
        if len(calls) > 1:
            message = "this was compiled for one call"
            raise RuntimeError(message)
        return tuple(graph.forward(*inputs))

    return run


def nothing_callable(_graph: Graph, _: Examples) -> Any:
    """What compiling returns cannot be called."""
    return "a kernel"


def asks_for_eager(_graph: Graph, _: Examples) -> Compiled:
    """Compiling asks Dynamo to run the function as the Python it is."""
    message = "not worth compiling"
    raise SkipFrame(message)


def hands_back(graph: Graph, _: Examples) -> Compiled:
    """What compiling returns is the graph as it came, which PyTorch then runs eagerly."""
    return graph.forward


def segfaults_at_compile(graph: Graph, _: Examples) -> Compiled:
    """Compiling reads address zero."""
    ctypes.string_at(0)
    return graph.forward


def segfaults_at_run(_graph: Graph, _: Examples) -> Compiled:
    """Running reads address zero."""
    return lambda *_: (ctypes.string_at(0),)


def takes_random_numbers_away(graph: Graph, _: Examples) -> Compiled:
    """Running is right, and leaves a process in which nobody can make an input any more."""

    def run(*arguments: Any) -> Any:
        torch.randn = None  # type: ignore[assignment]
        return graph(*arguments)

    return run


def varies_under_anomaly_mode(graph: Graph, _: Examples) -> Compiled:
    """Running is right, but from then on, with anomaly detection, no two numbers are the same, compiled or not."""
    original, drawn = torch.Tensor.sin, itertools.count(2)

    def varying(value: torch.Tensor) -> torch.Tensor:
        factor = next(drawn) if torch.is_anomaly_enabled() else 1
        return original(value) * factor

    def run(*arguments: Any) -> Any:
        torch.Tensor.sin = varying  # type: ignore[method-assign, assignment]
        return graph(*arguments)

    return run


def exits_at_run(_graph: Graph, _: Examples) -> Compiled:
    """Running ends the process without a word, and with the status of success."""
    return lambda *_: os._exit(0)


def hangs_at_compile(_graph: Graph, _: Examples) -> Compiled:
    """Compiling never returns, and is deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)

"""`conformance check` for tests: its output, and the rows of its table."""

from __future__ import annotations

import os

from click.testing import CliRunner

from conformance.cli.main import main

__all__ = ["DOUBLING", "cells", "checked"]

DOUBLING = """

class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def doubling(graph, examples):
    return lambda *args: tuple(Doubled.apply(each) if each.requires_grad else each for each in graph.forward(*args))
"""
"""The lines of a user's file that define a backend that doubles every gradient."""


def checked(*words: str) -> tuple[int, str]:
    """Exit code and output of `conformance check`; records are kept, and moves made, only where the words say so.

    That torch starts is left out: it does so in whichever test comes first.
    """
    kept = () if "--records" in words else ("--records", os.devnull)
    plain = () if "--moves" in words else ("--moves", "none")
    result = CliRunner().invoke(main, ["check", *words, *kept, *plain])
    printed = result.stdout if result.exit_code in {0, 1} else result.stderr
    lines = printed.splitlines(keepends=True)
    return result.exit_code, "".join(line for line in lines if not line.startswith("starting torch "))


def cells(output: str) -> dict[str, list[str]]:
    """The rows of the table."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line[:1].isalpha()}

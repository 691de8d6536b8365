from __future__ import annotations

import sys
import warnings

import pytest
import torch

from conformance.observation.printed import noting

pytestmark = pytest.mark.torch


def test_what_is_written_to_either_stream_is_noted_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The streams themselves stay as they are."""
    printed: dict[str, str] = {}
    with noting(printed):
        print("to stdout")  # noqa: T201 - this is what is looked at
        print("to stderr", file=sys.stderr)  # noqa: T201
    assert printed == {"stdout": "to stdout\n", "stderr": "to stderr\n"}
    assert capsys.readouterr() == ("to stdout\n", "to stderr\n")


def test_what_is_written_before_and_afterwards_is_not_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor where the program raises."""
    printed: dict[str, str] = {}
    sys.stdout.write("before")
    with pytest.raises(LookupError), noting(printed):
        raise LookupError
    sys.stdout.write("afterwards")
    assert (printed, capsys.readouterr().out) == ({}, "beforeafterwards")


def test_a_warning_is_noted_as_it_is_printed() -> None:
    """Most of what compilers print are warnings."""
    printed: dict[str, str] = {}
    with noting(printed), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)  # noqa: T201 - as without pytest
        warnings.warn("slow", stacklevel=1)
    assert printed == {"stderr": "slow\n"}


def test_only_the_beginning_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """A backend may print megabytes."""
    printed: dict[str, str] = {}
    with noting(printed):
        sys.stdout.write("a line\n" * 100_000)
    assert len(printed["stdout"]) < 1000
    assert len(capsys.readouterr().out) == 700_000


def test_a_compiled_function_that_prints_is_compiled_once() -> None:
    """What notes the line is no part of the program."""
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        compiled.append(graph)
        return graph.forward

    def program(a: torch.Tensor) -> torch.Tensor:
        b = a.sin()
        sys.stdout.write("in between")
        return b * 2

    function, printed = torch.compile(program, backend=backend), list[dict[str, str]]()
    for _ in range(2):
        printed.append({})
        with noting(printed[-1]):
            function(torch.ones(2))
    assert (printed, len(compiled)) == ([{"stdout": "in between"}] * 2, 2)

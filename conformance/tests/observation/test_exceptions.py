from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.checks.exceptions import coarse
from conformance.model.enums import Stage
from conformance.observation.exceptions import describe, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.model.result import Raised

pytestmark = pytest.mark.torch


class OddError(LookupError):
    """An exception whose message cannot be read."""

    def __str__(self) -> str:
        raise ValueError


def caught(function: Callable[[], object], stage: Stage = Stage.FORWARD) -> Raised:
    """What a function raises, in words."""
    try:
        function()
    except Exception as error:  # noqa: BLE001 - any exception is described
        return describe(error, stage)
    raise AssertionError


def shortened(message: str) -> str:
    """A message as it is reported."""
    return describe(RuntimeError(message), Stage.FORWARD).message


def from_file(name: str) -> Callable[[], object]:
    """A function that raises from code of a file."""
    code = compile("raise ValueError('traced')", name, "exec")
    return lambda: exec(code)  # noqa: S102 - a traceback through a file of that name


def test_an_exception_is_described_by_type_message_and_kinds() -> None:
    """Kinds are the classes an except clause could name, most derived first."""
    raised = describe(KeyError("x"), Stage.BACKWARD)
    assert (raised.stage, raised.type, raised.message) == (Stage.BACKWARD, "KeyError", "'x'")
    assert raised.kinds == ("KeyError", "LookupError", "Exception", "BaseException")


@pytest.mark.parametrize(
    ("inner", "coarsely"), [(RuntimeError, "RuntimeError"), (AssertionError, "BackendCompilerFailed")]
)
def test_a_failure_to_compile_is_a_runtime_error_only_if_the_backend_raised_one(
    inner: type[Exception], coarsely: str
) -> None:
    """A backend that asserts has not raised the RuntimeError that the uncompiled function raises."""

    def backend(_graph: object, _inputs: object) -> Callable[[], object]:
        raise inner

    compiled = torch.compile(torch.sin, backend=backend)
    raised = caught(lambda: compiled(torch.ones(2)))
    assert raised.type == "BackendCompilerFailed"
    assert coarse(raised) == f"{coarsely} at the call"


def test_the_traceback_is_the_innermost_frames_without_folders() -> None:
    """Six frames show where it happened, without paths of the machine."""

    def deep(level: int) -> None:
        if not level:
            raise ValueError
        deep(level - 1)

    frames = caught(lambda: deep(10)).traceback
    assert len(frames) == 6
    assert all(frame.startswith("test_exceptions.py:") and frame.endswith(" in deep") for frame in frames)


def test_an_exception_never_raised_has_no_traceback() -> None:
    """An exception object alone can be described."""
    assert describe(ValueError("x"), Stage.FORWARD).traceback == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("in /home/someone/venv/lib/thing.py: bad", "in thing.py: bad"),
        ("'/a/b.py' and (/c/d/e.so)", "'b.py' and (e.so)"),
        ("see https://github.com/pytorch/pytorch/issues/1", "see https://github.com/pytorch/pytorch/issues/1"),
        ("relative/path.py and 1/2 / 3", "relative/path.py and 1/2 / 3"),
        ("<f at 0x7f00deadbeef>", "<f at 0x...>"),
        ("a code 0x1f stays", "a code 0x1f stays"),
        ("one\n\n  two  \n", "one\n  two"),
        ("bad\nSet TORCHDYNAMO_VERBOSE=1 for more", "bad"),
    ],
)
def test_a_message_is_the_same_on_every_machine(message: str, expected: str) -> None:
    """Folders, addresses and advice go; URLs stay."""
    assert shortened(message) == expected


def test_a_long_message_is_bounded() -> None:
    """A message of any length stays readable."""
    assert shortened("x" * 5000) == "x" * 1000 + " ..."


@pytest.mark.parametrize("message", ["/" * 5000 + ":", "/a/" * 2000 + ":", "/" * 5000 + "a" * 5000])
def test_a_message_full_of_slashes_takes_no_time(message: str) -> None:
    """Rules of slashes, as compilers of C++ print them, do not confuse the search for paths."""
    assert shortened(message)


def test_a_message_that_cannot_be_read_is_reported() -> None:
    """An exception whose message raises is still reported."""
    raised = describe(OddError(), Stage.FORWARD)
    assert (raised.type, raised.message) == ("OddError", "(no message: __str__ raised ValueError)")


def test_a_backend_that_raises_does_so_while_compiling() -> None:
    """What Dynamo wraps surfaced at the call and belongs to compiling."""

    def refuse(*_: Any) -> Any:
        message = "cannot compile"
        raise LookupError(message)

    raised = caught(lambda: torch.compile(lambda a: a + 1, backend=refuse)(torch.ones(2)))
    torch._dynamo.reset()
    assert (raised.stage, raised.type) == (Stage.COMPILE, "BackendCompilerFailed")
    assert "LookupError: cannot compile" in raised.message


def test_what_passes_through_dynamo_was_raised_while_compiling() -> None:
    """An exception that Dynamo does not wrap shows its frames."""
    assert caught(from_file("/somewhere/torch/_dynamo/convert_frame.py")).stage is Stage.COMPILE


def test_what_finished_code_raises_was_raised_at_the_call() -> None:
    """A call of compiled code is no compiling."""
    assert caught(from_file("/somewhere/torch/_dynamo/eval_frame.py")).stage is Stage.FORWARD


def test_backward_stays_backward() -> None:
    """A backward that is compiled late is still the backward."""
    assert caught(from_file("/somewhere/torch/_dynamo/convert_frame.py"), Stage.BACKWARD).stage is Stage.BACKWARD


def test_a_traceback_begins_with_the_code_of_the_user(tmp_path: Path) -> None:
    """Its callees are below it; the same holds for its cause, and no line is of the suite."""
    home = tmp_path / "step.py"
    home.write_text(
        "def inner():\n    raise KeyError('no such row')\n\n"
        "def outer():\n    try:\n        inner()\n    except KeyError as error:\n"
        "        raise ValueError('no step') from error\n"
    )
    names: dict[str, Any] = {}
    exec(compile(home.read_text(), str(home), "exec"), names)  # noqa: S102 - as a user's file is run
    with pytest.raises(ValueError, match="no step") as raised:
        names["outer"]()
    text = traceback_of(raised.value, str(home))
    assert text.startswith("  Traceback")
    assert text.endswith("  ValueError: no step")
    assert f'File "{home}", line 2, in inner' in text
    assert __file__ not in text
    assert __file__ not in traceback_of(raised.value, "/elsewhere.py")

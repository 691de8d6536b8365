from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.backend.import_path import functions, parsed, refuse_absent, refuse_function
from conformance.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
import os.path, json as j
from math import pi

try:
    import nothing
except ImportError:
    fallback = 1

if pi:
    def conditional(x): ...

first, (second, *rest) = 1, (2, 3)
annotated: int = 3


def loss(x):
    inside = x
    return inside


def loss_inputs(): ...
def inputs(): ...
def _private(): ...


class Net:
    def forward(self): ...
"""


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that shows all its names; its folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step.py"
    path.write_text(TEXT)
    return path


def test_every_name_that_a_file_binds_is_there(step: Path) -> None:
    """By import, assignment and definition, wherever that runs as it is imported."""
    for name in (
        "os",
        "j",
        "pi",
        "fallback",
        "conditional",
        "first",
        "rest",
        "annotated",
        "loss",
        "Net",
        "Net.forward",
    ):
        refuse_absent(f"{step}:{name}")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("step.py:los", "no 'los' in step.py; it has os, j, .*\n  Did you mean 'loss'"),
        ("step.py:inside", "no 'inside' in step.py"),
        ("stepp.py:loss", "no file stepp.py.\n  Did you mean 'step.py'"),
        ("nowhere/step.py:loss", "no file nowhere/step.py."),
        ("no_such_module_:f", "no module 'no_such_module_'"),
        ("no_such_module_.inner:f", "no module 'no_such_module_', in which no_such_module_.inner:attribute would be"),
    ],
)
@pytest.mark.usefixtures("step")
def test_what_is_not_there_is_refused(ref: str, message: str) -> None:
    """With what was probably meant."""
    with pytest.raises(UsageError, match=message):
        refuse_absent(ref)


@pytest.mark.parametrize(
    "more",
    [
        "from os import *",
        "globals()['made'] = 1",
        "exec('made = 1')",
        "def __getattr__(name): ...",
        "def f():\n    global made\n    made = 1",
        "1 +",
    ],
)
def test_what_a_text_does_not_show_is_left_to_the_run(step: Path, more: str) -> None:
    """A name may come from a star import, from what was executed, or the file is refused elsewhere."""
    step.write_text(f"{TEXT}\n{more}\n")
    refuse_absent("step.py:made")


@pytest.mark.parametrize("ref", ["os:anything", "conformance.cli.main:nothing", "beside:f", "package.inner:f"])
def test_what_is_inside_a_module_is_left_to_the_run(step: Path, ref: str) -> None:
    """It is known only when it is imported, with the working directory on the path."""
    (step.parent / "beside.py").write_text("")
    (step.parent / "package").mkdir()
    refuse_absent(ref)


@pytest.mark.usefixtures("step")
def test_a_file_without_a_name_is_answered_with_its_functions() -> None:
    """Each as the command that checks it, without those that make inputs."""
    with pytest.raises(UsageError) as refused:
        refuse_function("step.py")
    assert str(refused.value) == (
        "step.py is a file; name one of its functions:\n"
        "  conformance check step.py:loss\n"
        "  conformance check step.py:Net"
    )


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("loss", "'loss' is not of the form path/to/file.py:function or module:function"),
        ("step.py:", "is not of the form"),
        (":loss", "is not of the form"),
        ("folder.py", "folder.py is a folder; name a file"),
        ("empty.py", "empty.py defines no function"),
        ("broken.py:f", r"broken\.py:2:\d+: .*\n    def f\(:"),
        ("null.py:f", "null.py"),
    ],
)
def test_what_is_no_function_of_a_user_is_refused(step: Path, ref: str, message: str) -> None:
    """Mistakes in its file are reported with their line."""
    (step.parent / "folder.py").mkdir()
    (step.parent / "empty.py").write_text("")
    (step.parent / "broken.py").write_text("x = 1\ndef f(:\n")
    (step.parent / "null.py").write_bytes(b"\0")
    with pytest.raises(UsageError, match=message):
        refuse_function(ref)


def test_functions_stand_in_the_order_of_the_file(step: Path) -> None:
    """Only the public ones."""
    assert functions(parsed(step)) == ["loss", "Net"]


def test_a_file_with_null_bytes_or_no_file_at_all_is_no_python(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "null.py").write_bytes(b"x = 1\0\n")
    with pytest.raises(UsageError, match=r"null\.py"):
        parsed(tmp_path / "null.py")
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory"):
        parsed(tmp_path)

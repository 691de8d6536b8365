from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.tests.checking import cells, checked
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

USERS = """
import torch

state = torch.ones(4)


def broken(x):
    y = x.sin()
    torch._dynamo.graph_break()
    return y * 2


def counting(x):
    y = x * state
    state.add_(1)
    return y


def inputs():
    return torch.randn(4, requires_grad=True)


def copying(graph, examples):
    return lambda *args: graph.forward(*(each if each.requires_grad else each.clone() for each in args))
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions with their inputs."""
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


def test_a_note_is_explained_and_says_where_the_graph_breaks(users: Path) -> None:
    """A line under the table, with the line of the user's file."""
    code, output = checked(f"{users}:broken", "--backend", "eager", "--backend", "aot_eager")
    assert (code, cells(output)["graph_count"]) == (0, ["note", "note"]), output
    (line,) = [line for line in output.splitlines() if line.startswith("note on ")]
    assert line.startswith(
        "note on eager, aot_eager / grad=enabled,dynamic=auto: graph_count: count differs in graph_breaks"
    )
    number = USERS.split("\n").index("    torch._dynamo.graph_break()") + 1
    assert f"users.py:{number}: " in line


def test_what_went_wrong_first_is_reported_first(users: Path) -> None:
    """A buffer that the first call left wrong comes before a result of the second, and so in what follows from it."""
    code, output = checked(f"{users}:counting", "--backend", f"{users}:copying")
    assert (code, cells(output)["calls"], cells(output)["mutation"]) == (1, ["NO"], ["NO"]), output
    assert "fail: mutation: values differ in call[0].state: " in output


def test_a_crash_quotes_the_frame_of_the_backend(users: Path) -> None:
    """Not the modules that were loaded."""
    code, output = checked(f"{users}:counting", "--backend", ref("process", "segfaults_at_compile"))
    assert (code, cells(output)["verdict"]) == (1, ["crash"]), output
    assert "killed by SIGSEGV (stage compile, call 0); in " in output
    assert " at process.py:" in output
    assert "Extension modules" not in output


def test_the_rung_for_debugging_is_marked(users: Path) -> None:
    """It is there where it is requested."""
    _, output = checked(f"{users}:broken", "--backend", "pre_dispatch_eager")
    assert "pre_dispatch_eager (for debugging)" in output.splitlines()[0]

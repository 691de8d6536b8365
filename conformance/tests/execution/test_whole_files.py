"""What a compiler leaves that did not come to its end is never read."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conformance.execution import attempts
from conformance.execution.whole_files import writing_whole
from conformance.isolation import tasks
from conformance.tests.misbehaving import TASKS

if TYPE_CHECKING:
    from pathlib import Path

WRITE = "import sys; open(sys.argv[2], 'w').write('whole')"
FAIL = "import sys; open(sys.argv[2], 'w').write('half'); sys.exit(1)"
KILL = "import os, sys; open(sys.argv[2], 'w').write('half'); os.kill(os.getppid(), 9)"


def run(command: str, folder: str) -> None:
    """Run a command as Inductor does."""
    subprocess.run(shlex.split(command), cwd=folder, check=True)


def compile_(program: str, folder: Path, target: str) -> None:
    """Have a program write a file."""
    writing_whole(run)(shlex.join([sys.executable, "-c", program, "-o", target]), str(folder))


@pytest.mark.parametrize("target", ["a.so", "with space.h.gch", "{}/absolute.o"])
def test_what_is_written_is_where_it_belongs(tmp_path: Path, target: str) -> None:
    """The file has the name that was asked for, and no other file is beside it."""
    compile_(WRITE, tmp_path, target.format(tmp_path))
    (written,) = tmp_path.iterdir()
    assert (written.name, written.read_text()) == (target.removeprefix("{}/"), "whole")


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    """As the compiler itself would."""
    (tmp_path / "a.so").write_text("old")
    compile_(WRITE, tmp_path, "a.so")
    assert (tmp_path / "a.so").read_text() == "whole"


def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """The failure is that of the command, and no half file is there."""
    with pytest.raises(subprocess.CalledProcessError):
        compile_(FAIL, tmp_path, "a.so")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    """What it wrote so far has a name that nobody asks for."""
    if (pid := os.fork()) == 0:
        compile_(KILL, tmp_path, "a.so")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 9
    (left,) = tmp_path.iterdir()
    assert (left.name.endswith(".a.so"), left.name == "a.so", left.read_text()) == (True, False, "half")


@pytest.mark.parametrize(
    "words", [["/bin/sh", "-c", "echo whole > a.so"], ["/bin/sh", "-c", "echo whole > a.so", "-o"]]
)
def test_a_command_without_a_target_is_run_as_it_is(tmp_path: Path, words: list[str]) -> None:
    """Nothing is known of what it writes."""
    writing_whole(run)(shlex.join(words), str(tmp_path))
    assert (tmp_path / "a.so").read_text() == "whole\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of Inductor for the tests of this module."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("end", "factor", "said"),
    [("dies", 2, "killed by SIGKILL"), ("hangs", 3, "timed out"), ("fails", 4, "out of space")],
)
def test_half_a_library_of_inductor_is_not_read_by_the_next(
    cache: dict[str, str], end: str, factor: int, said: str
) -> None:
    """However the child before it ended while the compiler wrote, the next one compiles the program anew."""
    task = f"{TASKS}:ends_while_compiling"
    made = attempts.attempt(tasks.run_task(task, (end, factor), env=cache, timeout_s=10 if end == "hangs" else 60))
    assert said in f"{made.ended} {made.invalid}"
    made = attempts.attempt(tasks.run_task(f"{TASKS}:compiles", factor, env=cache, timeout_s=60))
    assert (made.invalid, made.ended, made.metrics) == (None, None, {"result": factor})

"""What goes wrong in real runs of the command: backends that misbehave, no compiler, a run that is killed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.records import record_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.result import Record

pytestmark = pytest.mark.torch

CASES = """\
topic: Demonstration
cases:
  - id: demo.first.one
    title: multiplies its inputs
    inputs:
      a: {shape: [4], requires_grad: true}
      b: {shape: [4]}
    program: |
      return a * b * ${factor}
    axes: {params: {factor: [2, 3]}}
    moves: none
"""

BACKENDS = """\
import ctypes, os, signal, sys, time
import torch

def fine(gm, example_inputs):
    return lambda *args: gm.forward(*args)

def hands_back(gm, example_inputs):
    return gm.forward

def raises_in_compile(gm, example_inputs):
    raise ValueError("this graph is too beautiful")

def raises_in_forward(gm, example_inputs):
    def run(*args):
        raise ValueError("not today")
    return run

class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1
    @staticmethod
    def backward(ctx, grad):
        raise ValueError("no way back")

def raises_in_backward(gm, example_inputs):
    return lambda *args: tuple(Refusing.apply(value) for value in gm.forward(*args))

def segfaults(gm, example_inputs):
    return lambda *args: ctypes.string_at(0)

def aborts(gm, example_inputs):
    os.abort()

def leaves(gm, example_inputs):
    return lambda *args: os._exit(0)

def hangs(gm, example_inputs):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)

def eats_memory(gm, example_inputs):
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))

def floods(gm, example_inputs):
    def run(*args):
        for _ in range(20_000):
            print('{"kind":"record","case_id":"demo.first.one","backend":"floods","verdict":"pass"}')
            print('["result", {"stage": "compare"}]')
        return tuple(value * 2 for value in gm.forward(*args))
    return run
"""

ROWS = {
    "fine": ("pass", ""),
    "hands_back": ("vacuous", "every graph was returned as it came"),
    "raises_in_compile": ("error", "raised in compile: BackendCompilerFailed: .*this graph is too beautiful"),
    "raises_in_forward": ("error", "raised in forward: ValueError: not today"),
    "raises_in_backward": ("error", "raised in backward: ValueError: no way back"),
    "segfaults": ("crash", r"killed by SIGSEGV \(stage compile, call 0\)"),
    "aborts": ("crash", r"killed by SIGABRT \(stage compile, call 0\)"),
    "leaves": ("crash", "exited with status 0 without a result"),
    "hangs": ("timeout", r"timed out sleeping, over its limit of 8 s; .* \(stage compile, call 0\); --timeout sets"),
    "eats_memory": ("error", "MemoryError"),
    "prints": ("pass", ""),
    "floods": ("fail", r"values differ in output: 4 of 4 elements"),
    "raises_in_import": ("error", "the backend cannot be used: RuntimeError: no licence"),
    "ends_in_import": ("error", "the backend cannot be used: while it was loaded: exited with status 7"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with cases and backends."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "demo_first.yaml").write_text(CASES)
    (tmp_path / "bad.py").write_text(BACKENDS)
    (tmp_path / "raises_in_import.py").write_text("raise RuntimeError('no licence')\nraises_in_import = print")
    (tmp_path / "prints.py").write_text("print('{}\\n' * 999_999)\ndef prints(gm, _): return lambda *args: gm(*args)")
    (tmp_path / "ends_in_import.py").write_text("import os; os._exit(7)\nends_in_import = print")
    return tmp_path


def command(*words: str) -> list[str]:
    """The words of a run of the demonstration cases."""
    given = ("--cases", "mine", "--case", "demo.*", "--records", "r.jsonl")
    return [sys.executable, "-m", "conformance", "run", *given, *words]


def run(folder: Path, *words: str, status: int, **environment: str) -> list[Record]:
    """The records of a run that ends with this status."""
    env = {**os.environ, **environment}
    done = subprocess.run(command(*words), cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return list(record_file.read(folder / "r.jsonl").records)


def ref(name: str) -> str:
    """What names a backend of this module on the command line."""
    return f"{name if name.endswith('_import') or name == 'prints' else 'bad'}.py:{name}"


def test_what_a_backend_does_wrong_is_in_its_own_rows(folder: Path) -> None:
    """One run over many: each row describes its backend, a broken one is one row, and the right one passes."""
    refs = [word for name in ROWS for word in ("--backend", ref(name))]
    records = run(folder, *refs, "--timeout", "8", status=1, CONFORMANCE_MEMORY_GIB="0.5")
    assert Counter(each.backend for each in records) == {name: 1 if name.endswith("_import") else 2 for name in ROWS}
    for each in records:
        verdict, message = ROWS[each.backend]
        assert each.verdict == verdict, each
        assert re.search(message, each.message, re.DOTALL), each.message


def test_without_a_compiler_inductor_is_skipped(folder: Path) -> None:
    """A machine that cannot generate code is no result about the backend: a skip with the reason, and no red."""
    records = run(folder, "--backend", "inductor", "--backend", "eager", status=0, CXX="no-such-compiler")
    rows = {(each.backend, each.verdict.value, each.message.partition(":")[0]) for each in records}
    assert rows == {("inductor", "skip", "no C++ compiler"), ("eager", "pass", "")}


@pytest.mark.parametrize(
    ("blow", "after", "status"), [(signal.SIGINT, 2, 130), (signal.SIGTERM, 5, 143), (signal.SIGKILL, 9, -9)]
)
def test_a_run_that_was_killed_is_completed_by_resume(
    folder: Path, blow: signal.Signals, after: int, status: int
) -> None:
    """Whatever the moment, no record is lost or doubled, and the fork server is gone."""
    factors = ", ".join(map(str, range(24)))
    (folder / "mine" / "demo_first.yaml").write_text(CASES.replace("factor: [2, 3]", f"factor: [{factors}]"))
    path = folder / "r.jsonl"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    running = subprocess.Popen(command("--backend", "eager"), cwd=folder, stdout=subprocess.DEVNULL)
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") > after)
    (server,) = children_of(running.pid)
    running.send_signal(blow)
    assert running.wait(60) == status
    wait_for(lambda: not Path(f"/proc/{server}").exists())
    before = path.read_bytes().splitlines(keepends=True)
    assert not any(b'"footer"' in line for line in before)
    assert len(run(folder, "--backend", "eager", "--resume", status=0)) == 24
    whole = [line for line in before if line.endswith(b"\n")]
    assert path.read_bytes().splitlines(keepends=True)[: len(whole)] == whole


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_ended_shows_how_to_resume(folder: Path, blow: signal.Signals) -> None:
    """The last line is the command, on SIGTERM as after Ctrl-C; what hung is killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as above
    line = command("--backend", ref("fine"), "--backend", ref("hangs"), "--jobs", "1", "--quiet")
    running = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True)
    path = folder / "r.jsonl"
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") > 2)  # the header and what `fine` has done
    running.send_signal(blow)
    output, _ = running.communicate(timeout=60)
    assert output.splitlines()[-1] == (
        f"Interrupted; 2 of 4 requests are missing. Continue: {shlex.join(['conformance', *line[3:], '--resume'])}"
    )
    assert len(record_file.read(path).records) == 2


def children_of(pid: int) -> list[str]:
    """The ids of the processes that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def wait_for(condition: Callable[[], bool], limit_s: float = 120) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

"""The commands that lead from a failure to a script, a smaller case, and more failures; `explain` has its own tests."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import select
from conformance.catalogue.sources import collect
from conformance.cli.main import main
from conformance.execution import attempts
from conformance.execution.runner import records as records_of
from conformance.tests.fakes import a_record, an_environment
from conformance.tests.runs import a_run, red
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

CASE = "grad_mode.nesting.enable_in_no_grad"


def done(*words: str) -> tuple[int, str]:
    """Exit code and results of a command, or its error."""
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout or result.stderr


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A failure of a backend that is broken on purpose, as a run records it."""
    info = attempts.describe(ref("modes", "grad_modes_dropped"))
    plan = select(collect(), [info], case_globs=[CASE], variants=["grad=enabled"])
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    return a_run(path, *records_of(plan, an_environment()), requests=plan.requests, backends=(info,))


def test_a_failure_is_shrunk_into_a_folder(records: Path, tmp_path: Path) -> None:
    """The case loads, and its script shows the failure."""
    folder = tmp_path / "small"
    code, output = done(
        "shrink", f"grad_modes_dropped/{CASE}", "--records", str(records), "--output", str(folder), "--jobs", "2"
    )
    assert code == 0, output
    (case,) = load_cases([folder])
    assert len(case.program.splitlines()) <= 5
    assert f"{case.program.strip().count(chr(10)) + 1} lines after" in output
    script = next(folder.glob("*.py"))
    assert f"{script}: written" in output
    assert subprocess.run([sys.executable, str(script)], check=False, capture_output=True).returncode == 1


def test_a_case_without_a_record_is_run_and_shrunk() -> None:
    """Its YAML is printed, then the script."""
    backend = ref("modes", "grad_modes_dropped")
    code, output = done("shrink", CASE, "--backend", backend, "--variant", "grad=enabled", "--budget", "30")
    assert code == 0, output
    assert "  - id: shrunk.grad_mode.enable_in_no_grad" in output
    assert "torch.compile(program, backend=" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shrink", "no.such.case", "--backend", "eager"], "no case is called 'no.such.case'"),
        (["shrink", CASE, "--backend", "eager"], "pass; there is no failure to shrink"),
        (["shrink", f"grad_modes_dropped/{CASE}", "--variant", "grad=enabled"], "is in its name"),
        (["shrink", CASE, "--backend", "eager", "--records", "."], "is for a record"),
        (["fuzz", "--backend", "eager", "--budget", "soon"], "no duration such as 90s"),
        (["fuzz", "--backend", "eagre"], "unknown backend 'eagre'"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(words: list[str], message: str) -> None:
    """The message has what was found."""
    code, output = done(*words)
    assert (code, message in output) == (2, True), output


def test_a_script_and_a_bug_report_are_printed(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report holds the script and the versions."""
    where = [f"grad_modes_dropped/{CASE}", "--records", str(records)]
    code, script = done("repro", *where)
    assert code == 0, script
    compile(script, "repro.py", "exec")
    monkeypatch.setattr("conformance.triage.repro.bug_report.environment", lambda: "PyTorch version: 2.13")
    code, issue = done("repro", *where, "--issue")
    assert code == 0
    assert script.strip() in issue
    assert "PyTorch version: 2.13" in issue


def test_a_backend_that_cannot_be_used_here_is_named(tmp_path: Path) -> None:
    """A record may be of a machine that had it."""
    path = a_run(tmp_path / "r.jsonl", red(CASE, "gone", variant="grad=enabled"))
    code, output = done("repro", f"gone/{CASE}", "--records", str(path))
    assert (code, "unknown backend 'gone'" in output) == (2, True), output
    path = a_run(tmp_path / "p.jsonl", a_record(CASE, "eager", variant="grad=enabled"))
    assert done("repro", f"eager/{CASE}", "--records", str(path))[0] == 2


def test_fuzzing_eager_finds_nothing_and_is_continued(tmp_path: Path) -> None:
    """The report lists what was drawn; the same command with more goes on from there."""
    words = ["fuzz", "--backend", "eager", "--seed", "3", "--output", str(tmp_path / "found"), "--jobs", "2"]
    code, output = done(*words, "--programs", "20")
    assert code == 0, output
    assert "## New findings\n\nNone." in output
    first = (tmp_path / "found" / "fuzz.jsonl").read_text()
    code, _ = done(*words, "--programs", "50", "--quiet")
    assert code == 0
    assert (tmp_path / "found" / "fuzz.jsonl").read_text().startswith(first)


def test_a_failure_without_a_script_is_shrunk_all_the_same(tmp_path: Path) -> None:
    """A script cannot name the result of a factory; the output has the case, and why there is no script."""
    path = tmp_path / "theirs.py"
    path.write_text(
        "from conformance.backend import Backend\n"
        "def make():\n"
        "    return lambda graph, inputs: lambda *given: [value.detach() for value in graph(*given)]\n"
        "theirs = Backend(name='theirs', factory=make)\n"
    )
    code, output = done("shrink", CASE, "--backend", f"{path}:theirs", "--budget", "5")
    assert code == 0, output
    assert "# no script: " in output
    code, output = done("shrink", CASE, "--backend", f"{path}:theirs", "--budget", "5", "--output", str(tmp_path / "o"))
    assert (code, "the budget ended the search" in output) == (0, True), output


SPOILING = """
topic: What the first backward leaves behind
cases:
  - id: demo.spoiled.buffer
    title: a tensor of the setup
    inputs: {a: {shape: [4], requires_grad: true}}
    setup: |
      state = torch.ones(4)
    program: |
      return a.sin() + state
  - id: demo.spoiled.frozen_weight
    title: a weight that is not trained
    inputs: {a: {shape: [4], requires_grad: true}}
    setup: |
      w = torch.nn.Parameter(torch.ones(4), requires_grad=False)
    program: |
      return (a + w).sin()
  - id: demo.spoiled.module
    title: what a module has besides its weights
    inputs: {a: {shape: [3, 4], requires_grad: true}}
    setup: |
      class Shift(torch.nn.Module):
          def __init__(self):
              super().__init__()
              self.register_buffer("shift", torch.ones(4))

          def forward(self, x):
              return x * 2 + self.shift


      net = Shift()
    program: |
      return net(a)
"""


def one_case(folder: Path, backend: str, case: str) -> Path:
    """The records of one case of a folder on a backend."""
    info = attempts.describe(backend)
    plan = select(load_cases([folder]), [info], case_globs=[case])
    found = list(records_of(plan, an_environment()))
    return a_run(folder / "r.jsonl", *found, requests=plan.requests, backends=(info,), folders=(str(folder),))


@pytest.mark.parametrize("case", ["buffer", "frozen_weight", "module"])
def test_what_an_earlier_backward_spoils_is_shown_by_the_script(tmp_path: Path, case: str) -> None:
    """Results of the first call are right; what its backward changes shows before the second is wrong for it."""
    (tmp_path / "demo_spoiled.yaml").write_text(SPOILING)
    path = one_case(tmp_path, ref("derivatives", "inputs_zeroed_in_backward"), f"demo.spoiled.{case}")
    code, text = done("repro", f"inputs_zeroed_in_backward/demo.spoiled.{case}", "--records", str(path))
    assert code == 0, text
    assert "call[0].after_backward." in text
    script = tmp_path / "script.py"
    script.write_text(text)
    assert subprocess.run([sys.executable, str(script)], check=False, capture_output=True).returncode == 1


PARTIAL = """
import sys

OBSERVED = "conformance.isolation.child" in sys.modules


def shy(graph, examples):
    return lambda *args: tuple(each + OBSERVED for each in graph.forward(*args))
"""


@pytest.mark.parametrize("words", [["repro"], ["repro", "--issue"], ["shrink", "--budget", "3"]])
def test_a_script_that_shows_nothing_is_distinguished_from_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Of a backend that is wrong under this suite alone, the script shows no failure, and the command reports it."""
    monkeypatch.setattr("conformance.triage.repro.bug_report.environment", lambda: "PyTorch version: 2.13")
    (tmp_path / "demo_spoiled.yaml").write_text(SPOILING)
    (tmp_path / "mine.py").write_text(PARTIAL)
    path = one_case(tmp_path, f"{tmp_path / 'mine.py'}:shy", "demo.spoiled.buffer")
    result = CliRunner().invoke(main, [*words, "shy/demo.spoiled.buffer", "--records", str(path)])
    assert result.exit_code == 1, result.output
    assert "the script does not show the failure when it is run by itself: it exits with 0" in result.stderr
    assert "torch.compile(program" in result.stdout

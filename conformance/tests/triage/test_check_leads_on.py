from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import conformance
from conformance.catalogue.loader import load_cases
from conformance.cli.main import main
from conformance.records import kept, record_file
from conformance.records.kept import Kind
from conformance.tests.checking import DOUBLING, cells, checked
from conformance.tests.jobs import scripts
from conformance.tests.saboteurs import ref

pytestmark = pytest.mark.torch

USERS = """
import random
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import conformance

models = {"net": nn.Linear(4, 2)}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return F.relu(self.out(x)).sum()


class Trainer:
    def __init__(self):
        self.layers = [nn.Linear(4, 2)]

    def loss(self, x):
        return self.layers[0](x).pow(2).mean()


loss = Trainer().loss


def in_a_dictionary(x):
    return models["net"](x).pow(2).mean()


def drawing(x):
    return (x * torch.rand(4) * random.random()).sum()


def drawing_inputs():
    return torch.randn(3, 4, requires_grad=True)


@conformance.case(grad=["enabled"])
def wrapped(x: Tensor, *, scale: float = 2.0) -> Tensor:
    \"\"\"Scales.\"\"\"
    with torch.no_grad():
        y: Tensor = x.tanh()
    return F.relu(x * y) * scale


def wrapped_inputs():
    return torch.randn(3, 4, requires_grad=True)


def reading(x):
    return x.sin() * len(sys.byteorder)


def reading_inputs():
    return torch.randn(3, 4, requires_grad=True) * 2


def inputs():
    return torch.randn(3, 4)
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of functions in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "users.py"
    path.write_text(USERS + DOUBLING)
    return path


def done(*words: str) -> tuple[int, str]:
    """Exit code and results of a command, or its error."""
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout if result.exit_code in {0, 1} else result.stderr


def check(*words: str) -> tuple[int, str]:
    """The same of a check that keeps its records where it does unasked."""
    return done("check", *words, *(() if "--moves" in words else ("--moves", "none")))


@pytest.mark.parametrize("name", ["Net", "loss", "in_a_dictionary", "drawing", "reading"])
def test_a_failure_of_a_users_function_has_a_script(users: Path, name: str) -> None:
    """It needs the file of the function and torch; the name in the message is the one that the command takes."""
    code, output = check(f"{users}:{name}", "--backend", f"{users}:doubling")
    assert (code, cells(output)["gradients"]) == (1, ["NO"]), output
    (asked,) = [line.partition(": fail")[0] for line in output.splitlines() if line.startswith("doubling / user.")]
    assert f"conformance explain {asked.replace(' ', '')}; likewise" in output
    code, text = done("repro", asked)
    assert code == 0, text
    assert scripts.run(text).status == 1
    # It is the failure that is shown, and no difference between two runs of the file.
    assert scripts.run(text.replace("module.doubling)", "'eager')")).status == 0


def test_a_failure_of_a_users_function_is_explained_by_its_own_lines(users: Path) -> None:
    """Its source is shown with the line that differs, by the numbers of its file."""
    assert check(f"{users}:wrapped", "--backend", ref("modes", "grad_modes_dropped"))[0] == 1
    code, output = done("explain", "grad_modes_dropped/user.wrapped")
    assert code == 0, output
    assert "  def wrapped(x: Tensor, *, scale: float = 2.0) -> Tensor:" in output
    assert ">         y: Tensor = x.tanh()" in output
    number = USERS.split("\n").index("        y: Tensor = x.tanh()") + 1
    assert f"users.py:{number}, forward: requires_grad True, uncompiled False" in output


def test_a_function_within_the_subset_is_shrunk_as_a_case(users: Path, tmp_path: Path) -> None:
    """What is left loads as a case and needs no file of the user."""
    assert check(f"{users}:wrapped", "--backend", ref("modes", "grad_modes_dropped"))[0] == 1
    code, output = done("shrink", "grad_modes_dropped/user.wrapped", "--output", "small")
    assert code == 0, output
    (case,) = load_cases([tmp_path / "small"])
    assert len(case.program.splitlines()) <= 4
    (script,) = (tmp_path / "small").glob("*.py")
    assert "users" not in script.read_text()


def test_of_any_other_function_all_but_its_text_is_shrunk(users: Path) -> None:
    """Its behaviour with a part left out is unknown; the output states that there is no case."""
    assert check(f"{users}:reading", "--backend", f"{users}:doubling")[0] == 1
    code, output = done("shrink", "doubling/user.reading")
    assert code == 0, output
    assert "# no case: shrunk.user.reading calls a function in a file" in output
    assert output.count("function(x)") == 1  # of two calls


def test_a_bug_report_holds_the_file_of_the_function(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it has not."""
    monkeypatch.setattr("conformance.triage.repro.bug_report.environment", lambda: "PyTorch version: 2.13")
    assert check(f"{users}:loss", "--backend", f"{users}:doubling")[0] == 1
    code, issue = done("repro", "doubling/user.loss", "--issue")
    assert code == 0, issue
    assert USERS.strip() in issue


def test_a_known_failure_of_a_users_function_is_expected(users: Path) -> None:
    """The file is written from the records, and is green once it has a reason."""
    words = (f"{users}:loss", "--backend", f"{users}:doubling")
    assert check(*words)[0] == 1
    code, output = done("expectations", "update", "--records", str(kept.last(Kind.CHECK)))
    assert (code, "1 added" in output) == (1, True), output
    path = users.with_name("doubling.expected.yaml")
    path.write_text(path.read_text().replace("TODO", "It doubles.").replace("kind: bug", "kind: never"))
    code, output = check(*words, "--expectations", str(path))
    assert (code, cells(output)["verdict"]) == (0, ["xfail"]), output


def test_records_are_kept_where_it_is_said_and_printed_where_that_is_asked_for(users: Path) -> None:
    """As JSON lines, which are not taken for a run of cases."""
    path = users.with_name("mine.jsonl")
    code, output = check(f"{users}:Net", "--backend", "eager", "--records", str(path), "--json")
    assert (code, output) == (0, path.read_text())
    run = record_file.read(path)
    assert [case.id for case in run.header.cases] == ["user.net"]
    assert record_file.publishable(run) == "it is a partial run: selected by function"


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["--call", "{grad: disabled}"], "pass"),
        (["--call", "{backward: false}", "--dynamic", "true"], "pass"),
        (["--call", "{}"], "fail"),
        (["--raises", "ValueError"], "invalid"),
        (["--requires", "double_backward"], "fail"),
        (["--check", "double_backward"], "fail"),
    ],
)
def test_what_is_said_of_a_function_counts(users: Path, words: list[str], verdict: str) -> None:
    """A backend that doubles gradients is right where there are none."""
    code, output = checked(f"{users}:loss", "--backend", f"{users}:doubling", *words)
    assert (code, cells(output).get("verdict")) == (int(verdict != "pass"), [verdict]), output
    assert ("double_backward" in cells(output)) == ("--check" in words)


def test_the_command_that_does_it_again_says_all_that_was_said(users: Path) -> None:
    """It is the one to type."""
    words = [f"{users}:loss", "--call", "{grad: enabled}", "--tolerance", "float32=1e-9", "--seed", "3"]
    _, output = checked(*words, "--backend", f"{users}:doubling")
    options = "--tolerance float32=1e-9 --moves none --seed 3"
    assert f"users.py:doubling --call '{{grad: enabled}}' {options}" in output


def test_what_conforms_is_timed_where_that_is_asked_for(users: Path) -> None:
    """By the command, as `bench` does it, into a file beside the records."""
    code, output = check(f"{users}:Net", "--backend", "eager", "--timing")
    assert code == 0, output
    for phase in ("compile_cold", "compile_warm", "forward", "backward", "step"):
        assert re.search(rf"(^|user.net +grad=enabled,dynamic=auto +){phase} ", output, re.MULTILINE), output
    (timings,) = Path(".conformance").glob("*-check-timings.jsonl")
    assert set(conformance.load_timing(timings)["case"]) == {"user.net"}

from __future__ import annotations

import re
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance import isolate
from conformance.cli import main
from conformance.model import InputSpec
from conformance.tests.fakes import a_case, a_request
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

USERS = """
import torch
from torch import nn
from torch.nn import functional as F


def entropy(logits, targets):
    return F.cross_entropy(logits, targets)


def entropy_inputs():
    return torch.randn(64, 1000) * 0.1, torch.randint(0, 1000, (64,))


def noise(x):
    z = x + 0.1 * torch.randn_like(x)
    return (z - z.roll(1, 0)).pow(2).mean() + 3.0


def noise_inputs():
    return torch.randn(16, 8)


def shift(h):
    h[1:] = h[:-1].clone()
    return h * 2


def shift_inputs():
    return 1 + 0.01 * torch.randn(5, 8)


def variance(x):
    return (x * x).mean(-1) - x.mean(-1) ** 2


def variance_inputs():
    return torch.randn(16, 512) + 30


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))


def convolutions_inputs():
    return torch.randn(4, 3, 8, 8)


def dropout(x):
    return F.dropout(x, 0.5)


def dropout_inputs():
    return torch.randn(64, 32, requires_grad=True)
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions with their inputs."""
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


@pytest.mark.parametrize("name", ["entropy", "noise", "shift", "dropout"])
def test_numbers_that_are_a_little_too_large_are_seen_in_a_users_function(users: Path, name: str) -> None:
    """Its inputs, and what it draws, are the same numbers in float64, and eager is off by its rounding alone."""
    backend = ref("results", "values_off")
    result = CliRunner().invoke(main, ["check", f"{users}:{name}", "--backend", backend])
    assert (result.exit_code, "fail: values differ" in result.output) == (1, True), result.output


@pytest.mark.parametrize("name", ["entropy", "noise", "shift", "variance", "convolutions", "dropout"])
def test_an_honest_backend_passes_on_a_users_function(users: Path, name: str) -> None:
    """Other decompositions round otherwise, and draw other random numbers."""
    result = CliRunner().invoke(main, ["check", f"{users}:{name}", "--backend", "aot_eager_decomp_partition"])
    assert (result.exit_code, "verdict         pass" in result.output) == (0, True), result.output


BREAKS = {
    "no": (0, "return x.sin()"),
    "one": (1, "y = x.sin()\ntorch._dynamo.graph_break()\nreturn y.cos()"),
    "two": (2, "y = x.sin()\ntorch._dynamo.graph_break()\ny = y.cos()\ntorch._dynamo.graph_break()\nreturn y * 2"),
    "nested": (
        1,
        "def inner(z):\n    z = z * 2\n    torch._dynamo.graph_break()\n    return z + 1\n\nreturn inner(x.sin())",
    ),
    "loop": (1, "for _ in range(3):\n    x = x.sin()\n    torch._dynamo.graph_break()\nreturn x.cos()"),
}
"""Programs, and how many graph breaks each has."""


@pytest.mark.parametrize("name", BREAKS)
def test_a_graph_break_counts_once_in_a_case_and_in_a_function(tmp_path: Path, name: str) -> None:
    """A function that is checked is called by a program, in which Dynamo meets each of its breaks once more."""
    breaks, program = BREAKS[name]
    path = tmp_path / "users.py"
    path.write_text(f"import torch\n\n\ndef users(x):\n{indent(program, '    ')}\n")
    words = ["check", f"{path}:users", "--input", "x=float32[4]", "--backend", "eager"]
    (row,) = re.findall(r"^graph breaks +(\d+)$", CliRunner().invoke(main, words).output, re.MULTILINE)
    case = a_case(inputs={"x": InputSpec(shape=(4,))}, program=program)
    evidence = isolate.run(a_request(case, backend=isolate.describe("eager"))).evidence
    assert (int(row), evidence and evidence.graph_breaks) == (breaks, breaks)

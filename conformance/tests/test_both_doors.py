from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.cli import main
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

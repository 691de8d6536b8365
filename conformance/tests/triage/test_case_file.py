from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.model.case import InputSpec
from conformance.model.request import Request
from conformance.program.build import problems
from conformance.tests.fakes import a_backend
from conformance.triage import check
from conformance.triage.case_file import written_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

USERS = '''
"""The problems of a file."""
import math
import sys
from typing import Any

import torch
import torch.nn as layers
from torch import Tensor, no_grad
from torch.nn import functional as functional

import conformance

factor: float = 2.0
unused = sys.argv


class Net(layers.Module):
    """A net."""

    def __init__(self) -> None:
        super().__init__()
        self.out = layers.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.out(x))


def helper(x: Tensor) -> Tensor:
    """Helps."""
    return x * factor


@conformance.case(grad=["enabled"])
def helped(x: Tensor, n: int, scale: float = 1.0) -> Any:
    with no_grad():
        y: Tensor = helper(x)
    return torch.nn.functional.relu(x * y[n]) * scale * math.pi


def helped_inputs():
    return torch.randn(9, 9, requires_grad=True)[:, ::2], 2


def Net_inputs():
    return torch.randn(3, 4)


def indexed(x, i):
    return x[i]


def indexed_inputs():
    return torch.randn(100), torch.tensor([3, 7, 5])


def reading(x):
    return x * len(sys.argv)


def nested(batch):
    return batch["x"] * 2


def nested_inputs():
    return ({"x": torch.randn(3)},)


def inputs():
    return torch.randn(3)


if __name__ == "__main__":
    helped(*helped_inputs())
'''


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions with their inputs."""
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


def written(path: Path, name: str) -> list[Request]:
    """The cases that a function may become."""
    case = check.load_case(check.CheckOptions(ref=f"{path}:{name}"))
    return list(written_out(Request(case=case, backend=a_backend(), variant=case.variants[0])))


def test_a_function_is_written_out_with_what_it_needs_and_no_more(users: Path) -> None:
    """Names that were imported are those of a case, and annotations, docstring and decorators are gone."""
    for request in written(users, "helped"):
        assert problems(request.case) == []
        assert request.case.function is None
        assert request.case.program == "return helped(x, n)\n"
        assert request.case.setup == (
            "factor = 2.0\n\n"
            "def helper(x):\n    return x * factor\n\n"
            "def helped(x, n, scale=1.0):\n"
            "    with torch.no_grad():\n        y = helper(x)\n"
            "    return F.relu(x * y[n]) * scale * math.pi\n"
        )


def test_a_class_of_modules_is_made_in_the_setup(users: Path) -> None:
    """The program calls what is made."""
    request, _ = written(users, "Net")
    assert request.case.program == "return net(x)\n"
    assert request.case.setup.endswith("net = Net()\n")
    assert "self.out = torch.nn.Linear(4, 2)" in request.case.setup
    assert problems(request.case) == []


def test_inputs_are_drawn_anew_first_and_then_given_by_their_numbers(users: Path) -> None:
    """Shape, dtype, strides and what they require are those of the user's."""
    drawn, given = (request.case.inputs for request in written(users, "helped"))
    assert drawn == {
        "x": InputSpec(shape=(9, 5), dtype="float32", requires_grad=True, stride=(9, 2)),
        "n": InputSpec(scalar=2),
    }
    assert given["x"].values is not None
    assert len(given["x"].values) == 45


def test_whole_numbers_keep_their_range(users: Path) -> None:
    """An index stays one; what is large is drawn in any case."""
    drawn, given = (request.case.inputs for request in written(users, "indexed"))
    assert drawn["i"] == InputSpec(shape=(3,), dtype="int64", distribution="integers", low=3, high=8)
    assert given["i"] == InputSpec(shape=(3,), dtype="int64", values=(3, 7, 5))
    assert given["x"] == drawn["x"] == InputSpec(shape=(100,), dtype="float32")


@pytest.mark.parametrize("name", ["reading", "nested"])
def test_what_is_outside_the_subset_is_not_written_out(users: Path, name: str) -> None:
    """Neither a function that looks beyond torch, nor one whose inputs no case file can give."""
    assert written(users, name) == []

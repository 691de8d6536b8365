from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.tests.checking import DOUBLING, cells, checked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

RAISING = """
import torch

total = torch.zeros(4)


def raises_after_an_operation(x):
    y = x.sin()
    total.add_(1)
    raise ValueError(f"no {y.shape}")


def raises_in_an_operation(x):
    return x.sin()[torch.tensor([9])]


def raises_in_backward(x):
    y = x.exp()
    z = y * 2
    y.add_(1)
    return z


def raises_at_the_second_call(x):
    total.add_(1)
    y = x.sin()
    if total[0] > 1:
        raise KeyError("again")
    return y * 2


def inputs():
    return torch.randn(4, requires_grad=True)


def off(graph, examples):
    return lambda *args: tuple(each + 1 if each.is_floating_point() else each for each in graph.forward(*args))


def swallowing(graph, examples):
    def run(*args):
        try:
            return graph.forward(*args)
        except Exception:
            return (args[0].detach() * 0,)
    return run


def detaching(graph, examples):
    return lambda *args: tuple(each.detach() for each in graph.forward(*args))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises_after_an_operation", "the uncompiled function raises ValueError at the call: no torch.Size([4])"),
        ("raises_in_an_operation", "the uncompiled function raises IndexError at the call: index 9"),
        ("raises_in_backward", "the uncompiled function raises RuntimeError in backward: one of the variables"),
        ("raises_at_the_second_call", "the uncompiled function raises KeyError at the call: 'again'"),
    ],
)
def test_a_function_that_raises_is_compared_like_any_other(tmp_path: Path, name: str, message: str) -> None:
    """Stage and type are the uncompiled ones, and a remark states that it raises: that may not be meant."""
    path = tmp_path / "raising.py"
    path.write_text(RAISING)
    code, output = checked(f"{path}:{name}", "--backend", "eager")
    table = cells(output)
    # Of a function that does nothing but raise, Dynamo compiles nothing.
    assert (code, *table["verdict"]) in {(0, "pass"), (1, "vacuous")}, output
    assert table["exceptions"] == ["yes"]
    assert message in output


@pytest.mark.parametrize(
    ("name", "backend", "check"),
    [
        ("raises_in_an_operation", "swallowing", "exceptions"),
        ("raises_in_backward", "detaching", "exceptions"),
        ("raises_at_the_second_call", "off", "values"),
    ],
)
def test_a_backend_that_goes_wrong_before_an_exception_or_swallows_it_is_caught(
    tmp_path: Path, name: str, backend: str, check: str
) -> None:
    """An error that vanishes is a wrong result."""
    path = tmp_path / "raising.py"
    path.write_text(RAISING)
    code, output = checked(f"{path}:{name}", "--backend", f"{path}:{backend}")
    table = cells(output)
    assert (code, table["verdict"], table[check]) == (1, ["fail"], ["NO"]), output


HOLDING = """
from dataclasses import dataclass

import torch
from torch import nn

models = {"net": nn.Linear(4, 2)}


class Trainer:
    def __init__(self):
        self.layers = [nn.Linear(4, 2)]
        self.average = torch.zeros(2)

    def loss(self, x):
        y = self.layers[0](x)
        self.average = 0.9 * self.average + 0.1 * y.detach().mean(0)
        return y.pow(2).mean()


trainer = Trainer()
loss = trainer.loss


def in_a_dictionary(x):
    return models["net"](x).pow(2).mean()


def in_an_object(x):
    return trainer.loss(x)


def in_a_default(x, *, head=nn.Linear(4, 2)):
    return head(x).mean()


def as_an_argument(x, net):
    return net(x).mean()


def as_an_argument_inputs():
    return torch.randn(3, 4), nn.Linear(4, 2)


def nowhere(x):
    return x.sin()


def inputs():
    return torch.randn(3, 4)


def forgetful(graph, examples):
    return lambda *args: tuple(each * 0.5 if not each.requires_grad else each for each in graph.forward(*args))
"""


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """A file of functions whose parameters are where names do not lead directly."""
    path = tmp_path / "holding.py"
    path.write_text(HOLDING + DOUBLING)
    return path


@pytest.mark.parametrize("name", ["in_a_dictionary", "in_an_object", "loss", "in_a_default", "as_an_argument"])
def test_parameters_are_found_wherever_the_function_reaches_them(holding: Path, name: str) -> None:
    """A backend that doubles every gradient is not reported as right."""
    words = ["--backend", "eager", "--backend", f"{holding}:doubling"]
    code, output = checked(f"{holding}:{name}", *words)
    assert (code, cells(output)["gradients"]) == (1, ["yes", "NO"]), output


def test_a_value_that_an_object_keeps_is_compared(holding: Path) -> None:
    """It is replaced by a new tensor in each call, and a backend computes it wrong."""
    code, output = checked(f"{holding}:loss", "--backend", f"{holding}:forgetful")
    assert (code, cells(output)["mutation"]) == (1, ["NO"]), output
    assert "self.average" in output


def test_where_no_gradient_is_compared_none_is_said_to_be_right(holding: Path) -> None:
    """The cell marks it, and a line below has the reason."""
    code, output = checked(f"{holding}:nowhere", "--backend", f"{holding}:doubling")
    assert (code, cells(output)["gradients"], cells(output)["values"]) == (0, ["-"], ["yes"]), output
    assert "no gradient was compared" in output

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch
from torch import nn

from conformance.observation.reach import reachable

pytestmark = pytest.mark.torch


@dataclasses.dataclass
class Settings:
    """A configuration."""

    net: nn.Module
    rate: float = 0.1


class Trainer:
    """A plain object with a model, a running value, and itself."""

    def __init__(self) -> None:
        self.model = nn.Linear(2, 2)
        self.average = torch.zeros(2)
        self.me = self

    def loss(self, x: torch.Tensor) -> Any:
        """Use the model and the global scale."""
        return self.model(x) * scale

    @property
    def never(self) -> Any:
        """Nobody calls this."""
        raise AssertionError


class Shared:
    """A module that belongs to a class."""

    net = nn.Linear(2, 2)


class Block(nn.Module):
    """A module with modules that PyTorch does not know of, and a global tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.known = nn.Linear(2, 2)
        self.hidden = [nn.Linear(2, 2)]
        self.plain = torch.ones(2)

    def forward(self, x: torch.Tensor) -> Any:
        """Use them all."""
        return self.hidden[0](self.known(x)) * scale + self.plain


models: dict[str, Any] = {"net": nn.Linear(2, 2), "nested": [({"deep": nn.Linear(2, 2)},)]}
layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
unordered = {nn.Linear(2, 2)}
scale = nn.Parameter(torch.ones(2))
trainer, settings = Trainer(), Settings(net=nn.Linear(2, 2))
optimizer = torch.optim.SGD(models["net"].parameters(), lr=0.1)
cycle: list[Any] = [nn.Linear(2, 2)]
cycle.append({"again": cycle})
huge: dict[str, Any] = {"numbers": list(range(1_000_000)), "net": nn.Linear(2, 2)}


def closing() -> Any:
    """Give a function with a module in its closure, and a variable without a value."""
    net = nn.Linear(2, 2)

    def inner(x: Any) -> Any:
        return net(x) + later

    if len(layers) > len(huge):
        later = 1
    return inner


def helper(x: Any) -> Any:
    """Use a global."""
    return trainer.model(x)


def with_defaults(x: Any, net: Any = nn.Linear(2, 2), *, head: Any = nn.Linear(2, 2)) -> Any:  # noqa: B008 - it is the point
    """Use its defaults."""
    return head(net(x))


@torch.no_grad()
def decorated(x: Any) -> Any:
    """Use a global, behind a wrapper of PyTorch's."""
    return layers[0](x)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: models["net"](x) + 0, {"models['net']", "models['nested'][0][0]['deep']"}),
        (lambda x: layers[1](layers[0](x)) + 0, {"layers[0]", "layers[1]"}),
        (lambda x: [each(x) for each in unordered], {"unordered[0]"}),
        (lambda x: trainer.loss(x) + 0, {"trainer.model", "trainer.average", "scale"}),
        (trainer.loss, {"self.model", "self.average", "scale"}),
        (lambda x: settings.net(x) + 0, {"settings.net"}),
        (closing(), {"net"}),
        (lambda x: [helper(each) for each in x], {"trainer.model", "trainer.average", "scale"}),
        (with_defaults, {"net", "head"}),
        (functools.partial(with_defaults, net=nn.Linear(2, 2)), {"net", "net_", "head"}),
        (decorated, {"layers[0]", "layers[1]"}),
        (lambda x: Shared.net(x) + 0, {"Shared.net"}),
        (functools.cache(lambda n: [layers[n]]), {"layers[0]", "layers[1]"}),
        (lambda x: optimizer.step(x) + 0, {f"optimizer.param_groups[0]['params'][{index}]" for index in (0, 1)}),
        (lambda x: cycle[0](x) + 0, {"cycle[0]"}),
        (lambda x: huge["net"](x) + 0, {"huge['net']"}),
        (Block(), {"self.hidden[0]", "self.plain", "scale"}),
        (lambda x: x, set()),
    ],
)
def test_what_a_function_reaches_is_found(function: Any, names: set[str]) -> None:
    """Closures, globals, containers, attributes, defaults, methods, partial objects, classes, other functions."""
    assert set(reachable(function)) == names


def test_a_name_that_is_taken_means_something_else() -> None:
    """Two things of one name are both found."""
    scale_ = reachable(lambda: scale, ["scale"])
    assert list(scale_) == ["scale_"]
    assert scale_["scale_"] is scale


def test_what_is_put_in_a_place_later_is_found_there() -> None:
    """A running value that is replaced, not written to, is the new one."""
    own = Trainer()
    before = reachable(own.loss)["self.average"]
    own.average = torch.ones(2)
    after = reachable(own.loss)["self.average"]
    assert before is not after
    assert after is own.average

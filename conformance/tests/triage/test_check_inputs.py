from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.observation import user_code
from conformance.tests.checking import cells, checked

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

GIVEN = """
from dataclasses import dataclass, field

import torch


@dataclass
class Batch:
    x: torch.Tensor
    more: dict = field(default_factory=dict)


kept = torch.randn(8, requires_grad=True)


def f(**given):
    return given


def anew():
    base, leaf = torch.randn(8), torch.randn(3, requires_grad=True)
    return dict(
        strided=torch.randn(4, 4)[:, ::2], expanded=torch.randn(4, 1).expand(4, 6), one=base[:5], other=base[3:],
        computed=leaf * 2, again=leaf, batch=Batch(x=leaf, more={"base": base}),
    )


def from_what_is_kept():
    return dict(one=kept[:5], other=kept[3:], again=kept, batch=Batch(x=kept), computed=kept * 2)


def overlapping(a, b):
    a.add_(1)
    return b * 2


def overlapping_inputs():
    base = torch.randn(8)
    return base[:5], base[3:]


def written(h):
    h[1:] = h[:-1].clone()
    return h * 2


def written_inputs():
    return torch.randn(5, requires_grad=True) * 2


def batched(batch):
    return Batch(x=batch.x * 2, more={"sparse": torch.eye(2).to_sparse() * batch.x.detach().sum(), "n": 3})


def batched_inputs():
    return (Batch(x=torch.randn(3, requires_grad=True)),)


def sparse(s, x):
    return torch.sparse.mm(s, x)


def sparse_inputs():
    return torch.eye(3).to_sparse(), torch.randn(3, 3, requires_grad=True)


def embedded(weight, index):
    return torch.nn.functional.embedding(index, weight, sparse=True).sin()


def embedded_inputs():
    return torch.randn(5, 3, requires_grad=True), torch.tensor([1, 1, 3])


class Tagged(torch.Tensor):
    pass


def tagged(t):
    return t.sin()


def tagged_inputs():
    return torch.randn(3).as_subclass(Tagged)


class Sealed(torch.Tensor):
    @staticmethod
    def __new__(cls, x):
        return torch.Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError("sealed")


def sealed(x):
    return Sealed(x)


def sealed_inputs():
    return torch.randn(3)


def off(graph, examples):
    return lambda *args: tuple(each * 1.5 for each in graph.forward(*args))
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A file of functions that are given tensors of every kind."""
    path = tmp_path / "given.py"
    path.write_text(GIVEN)
    return path


def test_inputs_arrive_as_they_are_made(given: Path) -> None:
    """Strides, offsets, shared memory, the same object twice, and what was computed from a leaf."""
    made: Any = _arguments(given, "anew")
    assert made["strided"].stride() == (4, 2)
    assert made["expanded"].stride() == (1, 0)
    assert (made["one"]._base is made["other"]._base, made["other"].storage_offset()) == (True, 3)
    assert made["batch"].x is made["again"]
    assert made["batch"].more["base"] is made["one"]._base
    assert (made["computed"].requires_grad, made["computed"].is_leaf) == (True, False)


def test_inputs_that_a_function_keeps_are_copies_that_hang_together(given: Path) -> None:
    """Each call has its own, as if they had been made for it."""
    first, second = (_arguments(given, "from_what_is_kept") for _ in range(2))
    for made in (first, second):
        assert made["one"]._base is made["other"]._base is made["again"] is made["batch"].x
        assert (made["computed"].requires_grad, made["computed"].is_leaf) == (True, False)
    assert first["again"] is not second["again"]
    assert first["again"].data_ptr() != second["again"].data_ptr()
    assert torch.equal(first["again"], second["again"])


def _arguments(path: Path, maker: str) -> Any:
    return user_code.arguments(f"{path}:{maker}", f"{path}:f", 0)


@pytest.mark.parametrize(
    ("name", "check"), [("overlapping", "values"), ("written", "values"), ("batched", "values"), ("tagged", "values")]
)
def test_inputs_and_results_of_every_kind_are_compared(given: Path, name: str, check: str) -> None:
    """A backend that is right passes, one that is not is detected through views, dataclasses and subclasses."""
    code, output = checked(f"{given}:{name}", "--backend", "eager", "--backend", f"{given}:off")
    assert (code, cells(output)[check]) == (1, ["yes", "NO"]), output
    assert cells(output)["verdict"] == ["pass", "fail"]
    assert "the uncompiled function raises" not in output


@pytest.mark.parametrize("name", ["sparse", "embedded"])
def test_sparse_inputs_and_gradients_are_compared(given: Path, name: str) -> None:
    """By their indices and values; uncompiled is found to agree with itself."""
    _, output = checked(f"{given}:{name}", "--backend", "eager")
    assert (cells(output)["gradients"], cells(output)["values"]) == (["yes"], ["yes"]), output
    # Dynamo compiles nothing of a function that is given a sparse tensor.
    assert cells(output)["verdict"] == ["vacuous" if name == "sparse" else "pass"]


def test_what_cannot_be_compared_is_refused_by_its_class(given: Path) -> None:
    """The uncompiled function is not reported to differ from itself."""
    code, output = checked(f"{given}:sealed", "--backend", "eager")
    assert (code, cells(output)["verdict"]) == (1, ["invalid"]), output
    assert "is a Sealed" in output
    assert "differs from itself" not in output

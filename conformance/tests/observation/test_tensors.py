from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

from conformance.observation.parts import copied, leaves_of
from conformance.observation.snapshot import memory
from conformance.observation.tensors import Copies, inner
from conformance.observation.widening import WIDER

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch


def facts(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Properties that a copy shares with its original."""
    return (
        *(type(tensor), tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset()),
        *(tensor.requires_grad, tensor.is_leaf, tensor.is_inference(), tensor.is_conj(), tensor.is_neg()),
    )


def inference() -> torch.Tensor:
    """A tensor made in inference mode."""
    with torch.inference_mode():
        return torch.ones(3)


LEAF = torch.ones(8, requires_grad=True)


LYING = [
    lambda: torch.randn(4, 4)[:, ::2],
    lambda: torch.randn(4, 1).expand(4, 6),
    lambda: torch.randn(8)[3:],
    lambda: torch.randn(2, 3, 4).permute(2, 0, 1),
    lambda: torch.randn(3, requires_grad=True),
    lambda: torch.randn(3, requires_grad=True) * 2,
    lambda: LEAF[2:],
    lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_(),
    lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
    lambda: torch.randn(3, dtype=torch.complex64).conj(),
    lambda: torch.empty(0, 3),
    inference,
]


@pytest.mark.parametrize("make", LYING)
def test_a_copy_has_the_layout_of_the_original(make: Callable[[], torch.Tensor]) -> None:
    """Strides, offset, requires_grad, whether it is a leaf, and every bit of its numbers; no memory is shared."""
    original = make()
    copy = Copies()(original)
    assert facts(copy) == facts(original)
    assert torch.equal(copy, original)
    own, other = memory(copy), memory(original)
    assert own is None or other is None or own.start != other.start


@pytest.mark.parametrize("make", LYING)
def test_a_copy_in_another_dtype_has_the_layout_of_the_original(make: Callable[[], torch.Tensor]) -> None:
    """Everything but the dtype and the size of the memory is as it was."""
    original = make()
    copy = Copies(WIDER)(original)
    assert copy.dtype is WIDER[original.dtype]
    assert facts(copy)[2:] == facts(original)[2:]
    assert torch.equal(copy, original.to(copy.dtype))


def test_memory_of_one_dtype_is_shared_in_another_dtype_too() -> None:
    """The same bits read as two dtypes are two sets of numbers."""
    base = torch.arange(8.0).div(3)
    convert = Copies(WIDER)
    first, second, read_otherwise = convert(base[1:]), convert(base[:4]), convert(base.view(torch.bfloat16))
    assert memory(first) == memory(second) != memory(read_otherwise)
    assert torch.equal(second, base[:4].double())
    assert torch.equal(read_otherwise, base.view(torch.bfloat16).double())


def test_copies_hang_together_as_the_originals_do() -> None:
    """The same object twice, two views of one base, and gradients that accumulate in it."""
    base = torch.randn(8, requires_grad=True)
    given = {"x": base[:5], "y": [base[3:], base], "z": base}
    made: Any = copied(given, Copies())
    assert made["y"][1] is made["z"]
    assert made["x"]._base is made["z"]
    assert made["x"].data_ptr() == made["z"].data_ptr()
    assert made["y"][0].data_ptr() == made["x"].data_ptr() + 3 * 4
    (made["x"].sum() + made["y"][0].sum()).backward()
    assert made["z"].grad.tolist() == [1, 1, 1, 2, 2, 1, 1, 1]
    assert base.grad is None


LEAVES = [torch.ones(4, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize(
    ("given", "is_cut"),
    [
        ([LEAVES[0], LEAVES[0] * 2], True),
        ([LEAVES[0], (LEAVES[1] + LEAVES[0].sin())[1:]], True),
        ([hidden := LEAVES[0] * 2, hidden.exp()], True),
        ([LEAVES[0], LEAVES[1] * 2], False),
        ([LEAVES[0], LEAVES[0][1:], LEAVES[0].detach()], False),
        ([LEAVES[0] * 2], False),
    ],
)
def test_an_original_computed_from_another_is_reported(given: list[torch.Tensor], is_cut: bool) -> None:
    """A gradient of the one gets there through the other, which among copies it does not; a view of a leaf does."""
    copies = Copies(WIDER)
    for tensor in given:
        copies(tensor)
    assert copies.has_cut is is_cut


def test_objects_are_copied_with_their_tensors_and_locks_are_not() -> None:
    """A module, a dataclass and what refers to itself; what cannot be copied is handed on."""

    @dataclass
    class Batch:
        x: torch.Tensor
        more: dict[str, Any]

    net, lock = torch.nn.Linear(2, 2), threading.Lock()
    batch = Batch(x=torch.ones(2), more={"net": net})
    batch.more["batch"] = batch
    made: Any = copied({"batch": batch, "lock": lock}, Copies())
    assert made["lock"] is lock
    assert made["batch"].more["batch"] is made["batch"]
    assert made["batch"].x is not batch.x
    weight = made["batch"].more["net"].weight
    assert weight is not net.weight
    assert isinstance(weight, torch.nn.Parameter)


def two(a: torch.Tensor, b: torch.Tensor) -> Any:
    """A subclass that wraps two tensors."""
    return TwoTensor(a, b)  # type: ignore[no-untyped-call]


class Plain(torch.Tensor):
    """A subclass that is its own memory."""


@pytest.mark.parametrize(
    ("tensor", "steps"),
    [
        (torch.eye(2).to_sparse(), ["._indices()", "._values()"]),
        (two(torch.eye(2), torch.ones(2, 2)), [".a", ".b"]),
        (torch.eye(2).as_subclass(Plain), []),
        (torch.eye(2), []),
    ],
)
def test_the_parts_of_a_tensor_are_named_as_python_reads_them(tensor: torch.Tensor, steps: list[str]) -> None:
    """So a script can."""
    found = inner(tensor)
    assert list(found) == steps
    assert all(torch.equal(eval(f"tensor{step}", {"tensor": tensor}), each) for step, each in found.items())  # noqa: S307 - made by the suite


@pytest.mark.filterwarnings("ignore:.*(beta state|prototype stage)")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.eye(2).to_sparse_csr(),
        lambda: two(torch.eye(2), torch.ones(2, 2)),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    ],
)
def test_what_is_made_of_tensors_is_copied_in_another_dtype(make: Callable[[], torch.Tensor]) -> None:
    """Each part with numbers of that dtype is widened."""
    tensor = make()
    copy = Copies(WIDER)(tensor)
    assert (type(copy), copy.layout, copy.dtype) == (type(tensor), tensor.layout, torch.float64)
    found = inner(copy)
    for step, each in ((step, each) for step, each in inner(tensor).items() if each.numel()):
        assert found[step].dtype is WIDER.get(each.dtype, each.dtype)
        assert torch.equal(found[step], each.to(found[step].dtype))


def test_leaves_of_an_object_are_found_once_and_cycles_end() -> None:
    """Tensors and plain values by path, with the type of each object; code is left out."""

    class Node:
        def __init__(self) -> None:
            self.value, self.next, self.make = torch.ones(1), self, torch.ones

    assert [(path, None if isinstance(each, torch.Tensor) else each) for path, each in leaves_of(Node(), "n")] == [
        ("n.structure", Node.__qualname__),
        ("n.value", None),
    ]

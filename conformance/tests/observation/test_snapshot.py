from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from conformance.observation import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch


class Pair(NamedTuple):
    """A result with names."""

    one: object
    other: object


class Broken(torch.Tensor):
    """A tensor that raises whatever it is asked."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse."""
        raise LookupError


def broken() -> torch.Tensor:
    """A tensor that raises on every attribute and operation."""
    return torch.ones(2).as_subclass(Broken)


def fake() -> torch.Tensor:
    """A tensor without numbers, as a compiler uses them."""
    with FakeTensorMode():
        return torch.ones(2)


UNREADABLE: list[Callable[[], torch.Tensor]] = [
    broken,
    fake,
    lambda: torch.ones(2, device="meta"),
    lambda: torch.ones(2).to_sparse(),
]


def paths(tree: object) -> dict[str, object]:
    """Leaves by path, without the words for the structure."""
    return {path: leaf for path, leaf in snapshot.flatten(tree, "output").items() if not path.endswith(".structure")}


def structure(tree: object) -> object:
    """The words for the structure."""
    return snapshot.flatten(tree, "output")["output.structure"]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (1, {"output": 1}),
        (None, {"output": None}),
        ((1, None), {"output[0]": 1, "output[1]": None}),
        ({"x": [1, (2.5,)]}, {"output['x'][0]": 1, "output['x'][1][0]": 2.5}),
        (Pair(1, 2), {"output.one": 1, "output.other": 2}),
        ((), {}),
    ],
)
def test_a_leaf_has_the_path_a_reader_would_write(tree: object, expected: dict[str, object]) -> None:
    """Paths are Python expressions on the result; None is a leaf."""
    assert paths(tree) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 2), [1, 2]), ((1,), 1), (Pair(1, 2), (1, 2)), ({"a": ()}, {"a": []}), ({"a": 1}, {"b": 1}), ((), None)],
)
def test_containers_of_another_kind_differ(one: object, other: object) -> None:
    """A tuple for a list shows, even where no leaf does."""
    assert structure(one) != structure(other)


def test_a_copy_shares_nothing() -> None:
    """A snapshot keeps its numbers when the tensor changes."""
    tensor = torch.zeros(3, requires_grad=True)
    leaf = snapshot.take(tensor)
    with torch.no_grad():
        tensor.add_(1)
    assert leaf.data is not None
    assert leaf.data.tolist() == [0, 0, 0]
    assert not leaf.data.requires_grad


def test_the_facts_of_a_tensor_are_words() -> None:
    """All facts that checks need are read at once."""
    leaf = snapshot.take(torch.zeros(2, 3, requires_grad=True).t())
    assert leaf.facts == {
        "shape": "(3, 2)",
        "dtype": "torch.float32",
        "device": "cpu",
        "tensor_layout": "torch.strided",
        "type": "Tensor",
        "stride": "(1, 3)",
        "stride of size 1": "(None, None)",
        "storage_offset": "0",
        "channels_last": "False",
        "requires_grad": "True",
        "is_leaf": "False",
        "grad_fn": "True",
        "is_inference": "False",
        "conjugated": "False",
    }


@pytest.mark.parametrize(
    ("tensor", "fact", "expected"),
    [
        (lambda: torch.zeros(1, 3), "stride", "(None, 1)"),
        (lambda: torch.zeros(0, 3), "stride", "(None, None)"),
        (lambda: torch.zeros(()), "stride", "()"),
        (lambda: torch.zeros(4)[2:], "storage_offset", "2"),
        (lambda: torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last), "channels_last", "True"),
        (lambda: torch.zeros(2, dtype=torch.complex64).conj(), "conjugated", "True"),
        (lambda: torch.zeros(2, dtype=torch.complex64).conj().imag, "conjugated", "True"),
        (lambda: torch.nn.Parameter(torch.zeros(2)), "type", "Parameter"),
        (broken, "is_leaf", "unreadable: LookupError"),
    ],
)
def test_a_fact_has_what_matters(tensor: Callable[[], torch.Tensor], fact: str, expected: str) -> None:
    """Strides that mean nothing are left out, and unreadable facts are marked."""
    assert snapshot.take(tensor()).facts[fact] == expected


def test_an_inference_tensor_can_be_looked_at() -> None:
    """A snapshot of an inference tensor works outside of inference mode."""
    with torch.inference_mode():
        tensor = torch.ones(2)
    leaf = snapshot.take(tensor)
    assert (leaf.facts["is_inference"], leaf.data is not None) == ("True", True)


def test_conjugation_is_resolved_in_the_copy() -> None:
    """Numbers are compared as they are read, not as they are stored."""
    leaf = snapshot.take(torch.tensor([1 + 2j]).conj())
    assert leaf.data is not None
    assert (leaf.data.is_conj(), leaf.data.tolist()) == (False, [1 - 2j])


@pytest.mark.parametrize("make", UNREADABLE)
def test_what_has_no_numbers_has_no_data(make: Callable[[], torch.Tensor]) -> None:
    """A tensor that cannot be read is a leaf all the same, and is seen to be a tensor."""
    leaf = snapshot.take(make())
    assert leaf.data is None
    assert "dtype" in leaf.facts


def test_what_is_no_tensor_is_kept_itself() -> None:
    """Numbers and None keep their type as a fact."""
    assert snapshot.take(None) == snapshot.Leaf(value=None, facts={"type": "NoneType"})


def test_relations_name_identity_and_shared_memory() -> None:
    """A result may be an input, a view of one, or have memory of its own."""
    a = torch.ones(4)
    found = snapshot.relations({"x": a, "y": a[1:], "z": a + 1, "n": 3}, {"a": a, "k": 2})
    assert found == {
        "x ~ a": "same object",
        "y ~ a": "same storage",
        "y ~ x": "same storage",
    }


def test_results_are_related_to_each_other_once() -> None:
    """A pair of results is named in one direction."""
    a = torch.ones(4)
    assert snapshot.relations({"x": a, "y": a}, {}) == {"y ~ x": "same object"}


def test_empty_tensors_share_nothing() -> None:
    """Two tensors without elements have no memory in common."""
    assert snapshot.relations({"x": torch.empty(0)}, {"a": torch.empty(0)}) == {}


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("make", UNREADABLE)
def test_what_has_no_memory_shares_none(make: Callable[[], torch.Tensor]) -> None:
    """A tensor that cannot be asked for its memory is related to nothing but itself."""
    tensor = make()
    assert snapshot.relations({"x": tensor}, {"a": torch.ones(2), "b": tensor}) == {"x ~ b": "same object"}


DTYPES = (torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.bool)


@settings(max_examples=50, deadline=None)
@given(shape=st.lists(st.integers(0, 3), max_size=3).map(tuple), dtype=st.sampled_from(DTYPES))
def test_nothing_changes_by_itself(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Two snapshots of one tensor are the same bits, whatever they are."""
    tensor = torch.full(shape, float("nan")).to(dtype)
    assert snapshot.changed(snapshot.take_all({"x": tensor}), snapshot.take_all({"x": tensor})) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.tensor(0.0), torch.tensor(-0.0)),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (torch.tensor([1 + 1j]), torch.tensor([1 - 1j])),
        (torch.zeros(2), torch.zeros(1, 2)),
        (torch.zeros(2), torch.zeros(2).int()),
        (torch.zeros(2), broken()),
    ],
)
def test_other_bits_are_a_change(before: torch.Tensor, after: torch.Tensor) -> None:
    """A sign of zero, a shape and a dtype are changes too."""
    assert snapshot.changed(snapshot.take_all({"x": before}), snapshot.take_all({"x": after})) == ["x"]


def test_what_never_could_be_read_did_not_change() -> None:
    """Without numbers on both sides there is nothing to compare."""
    leaves = snapshot.take_all({"x": broken(), "n": 3})
    assert snapshot.changed(leaves, leaves) == []

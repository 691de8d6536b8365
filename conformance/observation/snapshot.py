"""Values as they are at one moment: leaves with their numbers copied and their facts read, whatever a backend made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch.utils import _pytree as pytree

from conformance.observation.parts import is_plain, leaves_of
from conformance.observation.tensors import inner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Leaf",
    "Leaves",
    "changed",
    "flatten",
    "may_overlap",
    "memory",
    "relations",
    "take",
    "take_all",
    "unreadable",
]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One leaf of a result, an input or a weight, as it was when the snapshot was taken.

    `data` is a detached copy (None for what is no tensor). `value` is the leaf itself when it is no tensor, else None.
    `facts` are words: shape, dtype, stride, requires_grad, ...; a fact that could not be read says so. The numbers of a
    tensor that has `parts` (a sparse one, a subclass that wraps others) are leaves of their own, at `<path>._values()`.
    """

    data: torch.Tensor | None = None
    value: object = None
    parts: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


Leaves = dict[str, Leaf]

_NESTED_SIZE = re.compile(r"\bj\d+\b")
"""The ragged size of a nested tensor, numbered as they are made."""

_OF_PARTS = ("shape", "dtype", "device", "tensor_layout", "type")
"""Facts of the tensors inside a tensor: the others are those of the tensor itself."""


def _stride(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """Strides, None where the size is below two and the stride means nothing."""
    return tuple(
        step if size > 1 and tensor.numel() else None for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )


def _idle_stride(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """The other strides: those of sizes below two, which say where no element is."""
    used = _stride(tensor)
    return tuple(step if its is None else None for its, step in zip(used, tensor.stride(), strict=True))


_READERS: dict[str, Callable[[torch.Tensor], object]] = {
    "shape": lambda t: tuple(t.shape),
    "dtype": lambda t: t.dtype,
    "device": lambda t: t.device,
    "tensor_layout": lambda t: t.layout,
    "type": lambda t: type(t).__name__,
    "stride": _stride,
    "stride of size 1": _idle_stride,
    "storage_offset": lambda t: t.storage_offset(),
    "channels_last": lambda t: t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last),  # noqa: PLR2004
    "requires_grad": lambda t: t.requires_grad,
    "is_leaf": lambda t: t.is_leaf,
    "grad_fn": lambda t: t.grad_fn is not None,
    "is_inference": lambda t: t.is_inference(),
    "conjugated": lambda t: t.is_conj() or t.is_neg(),
}


def _read(tensor: torch.Tensor, reader: Callable[[torch.Tensor], object]) -> str:
    """One fact as words; a broken tensor raises on attributes that every tensor has."""
    try:
        return _NESTED_SIZE.sub("j", str(reader(tensor)))
    except Exception as error:  # noqa: BLE001 - what a broken tensor raises is the observation
        return f"unreadable: {type(error).__name__}"


def flatten(tree: object, root: str) -> dict[str, object]:
    """Leaves of nested containers by path, e.g. `output[0]['x']`; None is a leaf like any other.

    What PyTorch does not take apart but holds tensors (a dataclass, an object) is taken apart too: `output.loss`. The
    containers themselves come last, as the words at `<root>.structure`.
    """
    pairs, structure = pytree.tree_flatten_with_path(tree, is_leaf=lambda node: node is None)
    leaves: dict[str, object] = {}
    for path, leaf in pairs:
        leaves |= _opened(leaf, root + pytree.keystr(path))
    return leaves | {f"{root}.structure": str(structure).replace("\n", "")}


def _opened(value: object, path: str) -> dict[str, object]:
    """The leaves in an object that holds tensors; any other is a leaf itself."""
    if isinstance(value, torch.Tensor) or is_plain(value):
        return {path: value}
    found = dict(leaves_of(value, path))
    return found if any(isinstance(each, torch.Tensor) for each in found.values()) else {path: value}


def take(value: object) -> Leaf:
    """Snapshot one value; of a tensor with parts, without them."""
    if isinstance(value, torch.Tensor):
        facts = {name: _read(value, reader) for name, reader in _READERS.items()}
        parts = tuple(inner(value))
        return Leaf(data=None if parts else _copy(value), facts=facts, parts=parts)
    facts = {"type": type(value).__name__}
    if type(value).__module__ == "numpy":
        found = _of_numpy(value)
        return (
            Leaf(value=value, facts=facts) if found is None else Leaf(data=found.data, facts={**found.facts, **facts})
        )
    return Leaf(value=value, facts=facts)


def _of_numpy(value: object) -> Leaf | None:
    """An array, or a number, as a tensor; None where PyTorch has no dtype for it."""
    try:
        return take(torch.as_tensor(value).clone())
    except (TypeError, ValueError, RuntimeError):
        return None


def take_all(values: Mapping[str, object]) -> Leaves:
    """Snapshot values by path, with the parts of tensors that have some."""
    found: Leaves = {}
    for path, value in values.items():
        found[path] = take(value)
        if found[path].parts and isinstance(value, torch.Tensor):
            inside = take_all({path + step: each for step, each in inner(value).items()})
            found |= {each: _as_part(leaf) for each, leaf in inside.items()}
    return found


def _as_part(leaf: Leaf) -> Leaf:
    return replace(leaf, facts={name: word for name, word in leaf.facts.items() if name in _OF_PARTS})


def unreadable(leaves: Leaves) -> tuple[str, Leaf] | None:
    """The first tensor whose numbers nobody can read, if there is one."""
    for path, leaf in leaves.items():
        if "dtype" in leaf.facts and leaf.data is None and not leaf.parts:
            return path, leaf
    return None


def _copy(tensor: torch.Tensor) -> torch.Tensor | None:
    """A contiguous copy that shares nothing, or None when the tensor cannot be read: it raises, or has no numbers."""
    try:
        with torch.no_grad():
            copy = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
            copy = copy if type(copy) is torch.Tensor else _without_subclass(copy)
    except Exception:  # noqa: BLE001 - unreadable data shows as a difference in the values
        return None
    is_ordinary = type(copy) is torch.Tensor and copy.layout is torch.strided
    return copy if is_ordinary and not (copy.is_meta or copy.is_quantized or copy.is_nested) else None


def _without_subclass(tensor: torch.Tensor) -> torch.Tensor:
    """The ordinary tensor that a subclass adds methods to; raises for one that wraps another and has no memory."""
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - it has no public name
        plain = tensor.as_subclass(torch.Tensor)
    plain.reshape(-1)[:1].tolist()
    return plain


def memory(tensor: torch.Tensor) -> range | None:
    """Addresses of a tensor's storage; None when they cannot be told: it has none, or raises when asked."""
    try:
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        return range(start, start + storage.nbytes()) if start else None
    except Exception:  # noqa: BLE001 - what a broken tensor raises is no address
        return None


def may_overlap(one: range | None, other: range | None) -> bool:
    """Whether a write to one memory may be seen in the other: not when both are known and apart."""
    return one is None or other is None or (one.start < other.stop and other.start < one.stop)


def relations(results: Mapping[str, object], others: Mapping[str, object]) -> dict[str, str]:
    """Which results are, or share storage with, which other values: `"output[0] ~ a" -> "same object"`.

    Pairs without a relation are left out; a pair of results is named once. Empty tensors share nothing.
    """
    found: dict[str, str] = {}
    earlier = {path: (value, memory(value)) for path, value in others.items() if isinstance(value, torch.Tensor)}
    for path, value in results.items():
        if not isinstance(value, torch.Tensor):
            continue
        own = memory(value)
        for name, (other, its) in earlier.items():
            if value is other:
                found[f"{path} ~ {name}"] = "same object"
            elif own and its and own.start == its.start:
                found[f"{path} ~ {name}"] = "same storage"
        earlier[path] = (value, own)
    return found


def changed(before: Leaves, after: Leaves) -> list[str]:
    """Paths whose numbers are not the bits they were."""
    return [path for path, leaf in before.items() if path not in after or not _same_bits(leaf.data, after[path].data)]


def _same_bits(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))

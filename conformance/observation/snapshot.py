"""Snapshots of values: leaves with their numbers copied and their facts read, even from broken tensors."""

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

    `data` is a detached copy (None if not a tensor). `value` is the leaf itself if it is not a tensor, else None.
    `facts` are text: shape, dtype, stride, requires_grad, ..., or `unreadable: ...`. The numbers of a
    tensor that has `parts` (a sparse one, a subclass that wraps others) are leaves of their own, at `<path>._values()`.
    """

    data: torch.Tensor | None = None
    value: object = None
    parts: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> torch.Tensor | None:
        """What was computed: the copy of a tensor, or a number of Python, as `loss.item()` gives it."""
        precision = _PRECISIONS.get(type(self.value))
        return self.data if precision is None else torch.tensor(self.value, dtype=precision)


_PRECISIONS: dict[type, torch.dtype] = {float: torch.float64, complex: torch.complex128}

Leaves = dict[str, Leaf]

_NESTED_SIZE = re.compile(r"\bj\d+\b")
"""The ragged size of a nested tensor, numbered as they are made."""

_PART_FACTS = ("shape", "dtype", "device", "tensor_layout", "type")
"""Facts kept for the tensors inside a tensor: the others describe only the tensor itself."""


def _stride(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """Strides, None where the size is below two and the stride means nothing."""
    return tuple(
        step if size > 1 and tensor.numel() else None for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )


def _idle_stride(tensor: torch.Tensor) -> tuple[int | None, ...]:
    """The other strides: those of sizes below two, which address no element."""
    used = _stride(tensor)
    return tuple(step if size is None else None for size, step in zip(used, tensor.stride(), strict=True))


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
    """One fact as text; a broken tensor raises on attributes that every tensor has."""
    try:
        return _NESTED_SIZE.sub("j", str(reader(tensor)))
    except Exception as error:  # noqa: BLE001 - what a broken tensor raises is the observation
        return f"unreadable: {type(error).__name__}"


def flatten(tree: object, root: str) -> dict[str, object]:
    """Return leaves of nested containers by path, e.g. `output[0]['x']`; None is a leaf like any other.

    An object with tensors that is no pytree node (a dataclass, say) is flattened too: `output.loss`. The containers
    themselves come last, as text at `<root>.structure`.
    """
    pairs, structure = pytree.tree_flatten_with_path(tree, is_leaf=lambda node: node is None)
    leaves: dict[str, object] = {}
    for path, leaf in pairs:
        leaves |= _opened(leaf, root + pytree.keystr(path))
    return leaves | {f"{root}.structure": str(structure).replace("\n", "")}


def _opened(value: object, path: str) -> dict[str, object]:
    """The leaves in an object that contains tensors; any other object is a leaf itself."""
    if isinstance(value, torch.Tensor) or is_plain(value):
        return {path: value}
    found = dict(leaves_of(value, path))
    return found if any(isinstance(each, torch.Tensor) for each in found.values()) else {path: value}


def take(value: object) -> Leaf:
    """Take a snapshot of one value, without the parts of a tensor."""
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
    """An array or a number as a tensor; None if PyTorch has no dtype for it."""
    try:
        return take(torch.as_tensor(value).clone())
    except (TypeError, ValueError, RuntimeError):
        return None


def take_all(values: Mapping[str, object]) -> Leaves:
    """Take snapshots of values by path, including the parts of tensors that have some."""
    found: Leaves = {}
    for path, value in values.items():
        found[path] = take(value)
        if found[path].parts and isinstance(value, torch.Tensor):
            inside = take_all({path + step: each for step, each in inner(value).items()})
            found |= {each: _as_part(leaf) for each, leaf in inside.items()}
    return found


def _as_part(leaf: Leaf) -> Leaf:
    return replace(leaf, facts={name: word for name, word in leaf.facts.items() if name in _PART_FACTS})


def unreadable(leaves: Leaves) -> tuple[str, Leaf] | None:
    """Return the first tensor whose numbers cannot be read, if there is one."""
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
    """The plain tensor under a subclass; raises for a subclass that wraps a tensor and has no memory."""
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - it has no public name
        plain = tensor.as_subclass(torch.Tensor)
    plain.reshape(-1)[:1].tolist()
    return plain


def memory(tensor: torch.Tensor) -> range | None:
    """Return the addresses of a tensor's storage; None if it has none, or raises."""
    try:
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        return range(start, start + storage.nbytes()) if start else None
    except Exception:  # noqa: BLE001 - what a broken tensor raises is no address
        return None


def may_overlap(left: range | None, right: range | None) -> bool:
    """Whether a write to one memory range may change the other: not if both are known and disjoint."""
    return left is None or right is None or (left.start < right.stop and right.start < left.stop)


def relations(results: Mapping[str, object], others: Mapping[str, object]) -> dict[str, str]:
    """Return which results are, or share storage with, which other values: `"output[0] ~ a" -> "same object"`.

    Pairs without a relation are left out; a pair of results occurs once. Empty tensors share nothing.
    """
    found: dict[str, str] = {}
    earlier = {path: (value, memory(value)) for path, value in others.items() if isinstance(value, torch.Tensor)}
    for path, value in results.items():
        if not isinstance(value, torch.Tensor):
            continue
        own = memory(value)
        for name, (tensor, addresses) in earlier.items():
            if value is tensor:
                found[f"{path} ~ {name}"] = "same object"
            elif own and addresses and own.start == addresses.start:
                found[f"{path} ~ {name}"] = "same storage"
        earlier[path] = (value, own)
    return found


def changed(before: Leaves, after: Leaves) -> list[str]:
    """Return the paths whose numbers are no longer bitwise the same."""
    return [path for path, leaf in before.items() if path not in after or not _same_bits(leaf.data, after[path].data)]


def _same_bits(left: torch.Tensor | None, right: torch.Tensor | None) -> bool:
    if left is None or right is None:
        return left is right
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8))

"""Tensors made of inner tensors (sparse, quantized, nested, wrapper subclasses), and copies of any tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Copies", "inner"]

_COMPRESSED_ROWS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    ".crow_indices()": lambda t: t.crow_indices(),
    ".col_indices()": lambda t: t.col_indices(),
    ".values()": lambda t: t.values(),
}
_COMPRESSED_COLUMNS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    ".ccol_indices()": lambda t: t.ccol_indices(),
    ".row_indices()": lambda t: t.row_indices(),
    ".values()": lambda t: t.values(),
}
_BY_LAYOUT: Mapping[torch.layout, Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    torch.sparse_coo: {"._indices()": lambda t: t._indices(), "._values()": lambda t: t._values()},  # noqa: SLF001 - as stored
    torch.sparse_csr: _COMPRESSED_ROWS,
    torch.sparse_bsr: _COMPRESSED_ROWS,
    torch.sparse_csc: _COMPRESSED_COLUMNS,
    torch.sparse_bsc: _COMPRESSED_COLUMNS,
}


def inner(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the inner tensors of a tensor, each with the Python expression that leads to it.

    Empty for an ordinary tensor, and for one whose inner tensors cannot be read.
    """
    try:
        with torch.no_grad():
            return _inner(tensor)
    except Exception:  # noqa: BLE001 - a broken tensor has no parts, and so is unreadable
        return {}


def _inner(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if flattened := getattr(type(tensor), "__tensor_flatten__", None):
        names, _ = flattened(tensor)
        return {f".{name}": getattr(tensor, name) for name in names}
    if type(tensor) not in {torch.Tensor, torch.nn.Parameter}:
        return {}
    if tensor.layout in _BY_LAYOUT:
        return {step: read(tensor.detach()) for step, read in _BY_LAYOUT[tensor.layout].items()}
    if tensor.is_quantized:
        return {".int_repr()": tensor.int_repr(), ".dequantize()": tensor.dequantize()}
    if tensor.is_nested:
        return {f".unbind()[{index}]": each for index, each in enumerate(tensor.detach().unbind())}
    return {}


class Copies:
    """Copies of tensors that keep memory layout, aliasing and autograd relations.

    Strides, offsets and shared memory are kept; a repeated tensor gets the same copy; a view becomes a view of the
    copied base, a leaf a leaf, and a tensor with a `grad_fn` gets one, of one step.

    Args:
        dtypes: the dtypes to convert, with their targets; others are kept.
    """

    def __init__(self, dtypes: Mapping[torch.dtype, torch.dtype] | None = None) -> None:
        self._dtypes = dtypes or {}
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # keeps originals alive, so ids stay unique
        self._storages: dict[tuple[int, torch.dtype | None], torch.UntypedStorage] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the copy of a tensor, the same each time."""
        if id(tensor) not in self._made:
            with torch.inference_mode(tensor.is_inference()):
                self._made[id(tensor)] = tensor, self._copy(tensor)
        return self._made[id(tensor)][1]

    @property
    def has_cut(self) -> bool:
        """Whether one original was computed from another, which the copies do not reproduce."""
        originals = [tensor for tensor, _ in self._made.values()]
        cut = [tensor for tensor in originals if tensor.grad_fn is not None and tensor._base is None]  # noqa: SLF001 - as below
        behind = {node for tensor in cut for node in _history(tensor)}
        return any(each.grad_fn in behind for each in cut) or any(
            getattr(node, "variable", None) is each for node in behind for each in originals
        )

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if inner(tensor) or type(tensor) not in {torch.Tensor, torch.nn.Parameter} or tensor.is_meta:
            made = tensor.detach().clone().to(self._dtypes.get(tensor.dtype, tensor.dtype))
            return made.requires_grad_(tensor.requires_grad and tensor.is_leaf)
        base = tensor._base  # noqa: SLF001 - documented in the autograd notes, without a public name
        if base is not None and base.dtype == tensor.dtype and not tensor.is_conj() and not tensor.is_neg():
            return self._view(tensor, self(base))
        made = self._plain(tensor)
        if tensor.is_leaf or not tensor.requires_grad:
            made.requires_grad_(tensor.requires_grad)
            return torch.nn.Parameter(made, made.requires_grad) if isinstance(tensor, torch.nn.Parameter) else made
        with torch.enable_grad():
            return made.copy_(made.clone().requires_grad_())

    def _view(self, tensor: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(not tensor.is_leaf and tensor.grad_fn is not None):
            made = base.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        return made if made.requires_grad == tensor.requires_grad else made.requires_grad_(tensor.requires_grad)

    def _plain(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same numbers at the same place in a copy of the memory."""
        found = tensor.detach()
        made = torch.empty(0, dtype=self._dtypes.get(found.dtype, found.dtype), device=found.device)
        made.set_(self._storage(found), found.storage_offset(), found.shape, found.stride())
        made = torch._conj(made) if found.is_conj() else made  # noqa: SLF001 - sets the bit alone
        return torch._neg_view(made) if found.is_neg() else made  # noqa: SLF001 - so does this

    def _storage(self, found: torch.Tensor) -> torch.UntypedStorage:
        """The copy of a tensor's memory, shared by all that share the original, if their dtypes convert alike."""
        storage, dtype = found.untyped_storage(), self._dtypes.get(found.dtype)
        place = storage.data_ptr(), dtype and found.dtype
        if place not in self._storages or not storage.data_ptr():
            if dtype is None:
                self._storages[place] = storage.clone()  # type: ignore[no-untyped-call]
            else:
                numbers: Any = torch.empty(0, dtype=found.dtype, device=found.device)
                self._storages[place] = numbers.set_(storage).to(dtype).untyped_storage()
        return self._storages[place]


def _history(tensor: torch.Tensor) -> Iterator[Any]:
    """The autograd nodes behind a tensor, without its own."""
    seen: set[Any] = set()
    pending = [tensor.grad_fn]
    while pending:
        for node, _ in getattr(pending.pop(), "next_functions", ()):
            if node is not None and node not in seen:
                seen.add(node)
                pending.append(node)
                yield node

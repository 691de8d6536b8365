"""Tensors of the oracle (dtype, requires_grad, is_inference), and the results of operations on them.

The lists of autocast are those documented for the CPU:
https://docs.pytorch.org/docs/stable/amp.html#cpu-op-specific-behavior (tests compare each name with PyTorch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.oracle.modes import Modes

__all__ = ["ELEMENTWISE", "FLOAT32", "LOWER", "UNKNOWN", "Tensor", "Unknown", "operate"]

LOWER = frozenset({"addmm", "baddbmm", "bmm", "linear", "matmul", "mm"})
"""Operations that autocast runs in its own dtype."""

FLOAT32 = frozenset({"mse_loss"})
"""Operations that autocast runs in float32."""

ELEMENTWISE = frozenset(
    {
        "abs",
        "add",
        "clone",
        "cos",
        "div",
        "exp",
        "mul",
        "neg",
        "relu",
        "sigmoid",
        "sin",
        "sinh",
        "square",
        "sub",
        "tanh",
    }
)
"""Operations outside the lists, whose results have the one floating dtype of their operands."""

_CASTABLE = frozenset({"bfloat16", "float16", "float32"})
_FLOATING = _CASTABLE | {"float64"}


class Unknown:
    """A value the oracle does not model; everything computed from it is unknown too."""


UNKNOWN = Unknown()


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Predicted properties of a tensor."""

    dtype: str
    requires_grad: bool = False
    is_inference: bool = False


def operate(name: str, operands: Sequence[object], modes: Modes) -> Tensor | Unknown:
    """Return the result of an operation that allocates it; unknown where mixed dtypes or saved tensors matter."""
    tensors = [each for each in operands if isinstance(each, Tensor)]
    dtypes = {each.dtype for each in tensors}
    if not tensors or not dtypes <= _FLOATING or any(isinstance(each, Unknown) for each in operands):
        return UNKNOWN
    if modes.records and any(each.is_inference for each in tensors):
        return UNKNOWN  # it may raise, depending on what backward would need
    dtype = _dtype(name, dtypes, modes)
    if dtype is None:
        return UNKNOWN
    recorded = modes.records and any(each.requires_grad for each in tensors)
    return Tensor(dtype=dtype, requires_grad=recorded, is_inference=modes.inference)


def _dtype(name: str, dtypes: set[str], modes: Modes) -> str | None:
    if modes.autocast and dtypes <= _CASTABLE:
        if name in LOWER:
            return modes.dtype
        if name in FLOAT32:
            return "float32"
    if len(dtypes) > 1 or name not in LOWER | FLOAT32 | ELEMENTWISE:
        return None
    return next(iter(dtypes))

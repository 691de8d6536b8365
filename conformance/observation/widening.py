"""The dispatch modes of the fp64 reference: one records dtypes and random draws, one widens and replays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Operator = Any  # an overload of an operator, as a dispatch mode is given it

__all__ = ["WIDER", "Draw", "Trace", "Widening"]

WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}
"""The dtype that each dtype is widened to; others stay."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One operator that drew random numbers: what it wrote into its arguments, and what it returned.

    `returned` contains the index into `written` where the operator returned that argument.
    """

    operator: str
    written: tuple[torch.Tensor, ...]
    returned: Any


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the dtypes of everything that operators return, and the random numbers that they draw.

    `is_pointwise` says whether all operators were pointwise, or only arranged and converted numbers.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()
        self.draws: list[Draw] = []
        self.is_pointwise = True

    def __torch_dispatch__(
        self, func: Operator, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        kwargs = kwargs or {}
        self.is_pointwise &= _is_pointwise(func)
        before = _state(args, kwargs) if _may_draw(func) else None
        result = func(*args, **kwargs)
        leaves = result if isinstance(result, tuple | list) else (result,)
        self.dtypes.update(leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor))
        if before is not None and not torch.equal(before, _state(args, kwargs)):
            self.draws.append(_draw(func, list(_written(func, args, kwargs)), result))
        return result


class Widening(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Turns every floating dtype that a program asks for into float64, and replays draws in place of new ones.

    Args:
        draws: the draws of the uncompiled program, in order.
    """

    def __init__(self, draws: Sequence[Draw]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pending = list(draws)
        self.has_intervened = False
        self._has_diverged = False

    @property
    def has_followed(self) -> bool:
        """Whether the program drew exactly what it drew uncompiled."""
        return not self._has_diverged and not self._pending

    def __torch_dispatch__(
        self, func: Operator, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        kwargs = kwargs or {}
        if _may_draw(func) and self._pending and self._pending[0].operator == _name(func):
            return self._replay(self._pending.pop(0), list(_written(func, args, kwargs)))
        before = _state(args, kwargs) if _may_draw(func) else None
        wide = [self._wider(value) for value in args], {name: self._wider(value) for name, value in kwargs.items()}
        result = func(*wide[0], **wide[1])
        if before is not None and not torch.equal(before, _state(args, kwargs)):
            self._has_diverged = True
        return result

    def _wider(self, value: Any) -> Any:  # noqa: ANN401 - any argument of any operator
        if not isinstance(value, torch.dtype) or value not in WIDER:
            return value
        self.has_intervened = True
        return WIDER[value]

    def _replay(self, draw: Draw, targets: Sequence[torch.Tensor]) -> object:
        self.has_intervened = True
        for target, value in zip(targets, draw.written, strict=True):
            self._has_diverged |= target.shape != value.shape
            target.copy_(value)

        def again(leaf: int | torch.Tensor) -> torch.Tensor:
            return targets[leaf] if isinstance(leaf, int) else leaf.to(WIDER.get(leaf.dtype, leaf.dtype), copy=True)

        return pytree.tree_map(again, draw.returned)


_ARRANGING = frozenset(
    f"aten.{name}"
    for name in (
        *("_to_copy", "copy_", "cat", "stack", "detach"),
        *("fill_", "zero_", "_unsafe_view"),
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("full", "full_like", "new_full", "ones", "ones_like", "zeros", "zeros_like", "new_zeros", "scalar_tensor"),
    )
)
"""Operators that are not tagged as pointwise, but compute no number either."""


def _is_pointwise(func: Operator) -> bool:
    if _may_draw(func):
        return False
    return torch.Tag.pointwise in func.tags or func.is_view or _name(func) in _ARRANGING


def _may_draw(func: Operator) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _name(func: Operator) -> str:
    """The operator without its overload, which differs with the Python types of numbers."""
    return str(func.overloadpacket)


def _state(args: Sequence[Any], kwargs: dict[str, Any]) -> torch.Tensor:
    """The state of the generator that an operator draws from."""
    given = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator))
    return next(given, torch.default_generator).get_state()


def _written(func: Operator, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """The tensors among an operator's arguments that it writes into, by its schema."""
    for index, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - the schema has no public name
        value = args[index] if index < len(args) else kwargs.get(argument.name)
        if isinstance(value, torch.Tensor) and argument.alias_info is not None and argument.alias_info.is_write:
            yield value


def _draw(func: Operator, written: Sequence[torch.Tensor], result: object) -> Draw:
    places = {id(tensor): index for index, tensor in enumerate(written)}
    return Draw(
        operator=_name(func),
        written=tuple(tensor.detach().clone() for tensor in written),
        returned=pytree.tree_map(lambda leaf: places.get(id(leaf), leaf.detach().clone()), result),
    )

"""The fp64 reference: the same program and inputs in float64; run only when a comparison asks for it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.role import Role, perform
from conformance.tolerance import lowest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from conformance.model import Request
    from conformance.role import RoleObservation
    from conformance.snapshot import Leaves

__all__ = ["Reference"]

_CALL = re.compile(r"call\[(\d+)\]")

_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}


class Reference:
    """What exact arithmetic would give, and how precise the program's own path is.

    Args:
        request: what is run.
        build: makes a fresh namespace of the program, seeded as every other role's.
    """

    def __init__(self, request: Request, build: Callable[[], ModuleType]) -> None:
        self._request = request
        self._build = build
        claimed, allowed = request.backend.tolerance, request.case.tolerance
        self.overrides = {name: max(claimed.get(name, 0.0), allowed.get(name, 0.0)) for name in {*claimed, *allowed}}

    def precision(self, where: str) -> torch.dtype:
        """The lowest floating dtype on eager's path to a set of leaves, casts by autocast included."""
        index = _index(where)
        return lowest(set[torch.dtype]().union(*self._paths) if index is None else self._paths[index])

    @cached_property
    def _paths(self) -> list[set[torch.dtype]]:
        """The dtypes eager computes in, call by call; what changed the program's state stays on the path."""
        module = self._build()
        modes = [_Dtypes() for _ in self._request.case.calls]
        seen = perform(Role(request=self._request, module=module, function=module.program, around=modes.__getitem__))
        carried: set[torch.dtype] = set()
        for mode, call in zip(modes, seen.calls, strict=True):
            mode.dtypes |= carried
            if any(change for name, change in call.versions.items() if name not in self._request.case.inputs):
                carried = mode.dtypes
        return [mode.dtypes for mode in modes]

    def leaf(self, where: str, path: str) -> torch.Tensor | None:
        """The float64 counterpart of a leaf, or None where float64 has no say.

        Args:
            where: `retained`, or `call[i].outputs`, `call[i].gradients`, `call[i].tracked`, ...
            path: the leaf's path.
        """
        if self._double is None:
            return None
        index = _index(where)
        home = self._double if index is None else self._double.calls[index]
        leaves: Leaves = getattr(home, where.rpartition(".")[2])
        found = leaves.get(path)
        return None if found is None else found.data

    @cached_property
    def _double(self) -> RoleObservation | None:
        module = self._build()
        _widen(module)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            seen = perform(
                Role(
                    request=self._request,
                    module=module,
                    function=module.program,
                    prepare=_double,
                    around=lambda _: _Widening(),  # type: ignore[no-untyped-call]
                )
            )
        finally:
            torch.set_default_dtype(default)
        return None if any(call.raised for call in seen.calls) else seen


def _index(where: str) -> int | None:
    """The call that a set of leaves belongs to; None for `retained`, which looks back at all of them."""
    found = _CALL.match(where)
    return int(found[1]) if found else None


def _double(tensor: torch.Tensor) -> torch.Tensor:
    """A leaf in float64 with the same numbers; float64 is left alone by autocast, so autocast is off for it."""
    if tensor.dtype not in _WIDER:
        return tensor
    return tensor.detach().to(_WIDER[tensor.dtype]).requires_grad_(tensor.requires_grad)


def _widen(module: ModuleType) -> None:
    """Turn the weights of a program's setup into float64 in place, so that optimizers and closures see it."""
    for value in vars(module).values():
        if isinstance(value, torch.nn.Module):
            value.double()
        elif isinstance(value, torch.Tensor) and value.dtype in _WIDER:
            value.data = value.data.to(_WIDER[value.dtype])


class _Widening(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Turns every floating dtype that a program asks for into float64, below autograd."""

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        args = tuple(_wider(value) for value in args)
        return func(*args, **{name: _wider(value) for name, value in (kwargs or {}).items()})


def _wider(value: Any) -> Any:  # noqa: ANN401 - any argument of any operator
    return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value


class _Dtypes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the dtypes of everything that operators return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        leaves = result if isinstance(result, tuple | list) else (result,)
        self.dtypes.update(leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor))
        return result

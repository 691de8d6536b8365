"""The parts of Python objects (containers, dataclasses, modules, plain objects), each with its path.

No code of an object is called: no property, no iterator. A cycle is followed once, and of a huge object only a part is
read.
"""

from __future__ import annotations

import copy
import enum
import types
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["copied", "is_plain", "leaves_of", "parts_of"]

_MOST = 10_000  # parts read of one container, and objects of one walk
_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice, range, enum.Enum),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_REGISTRIES = ("_parameters", "_buffers", "_modules")


def is_plain(value: object) -> bool:
    """Whether it is a value that is compared as a whole: a number, a string, a dtype."""
    return isinstance(value, _PLAIN)


def parts_of(value: object) -> Iterator[tuple[str, Any]]:
    """The parts of an object, each with the Python expression that leads to it: `[0]`, `['x']`, `.weight`.

    Tensors, plain values, code and opaque objects have none.
    """
    if isinstance(value, (*_PLAIN, *_CODE, torch.Tensor)):
        return
    if isinstance(value, torch.nn.Module):
        yield from _of_module(value)
        return
    if isinstance(value, Mapping):
        yield from _items(value)
    elif isinstance(value, (list, tuple, deque)):
        yield from ((f"[{index}]", each) for index, each in zip(range(_MOST), value, strict=False))
    elif isinstance(value, (set, frozenset)):
        yield from ((f"[{index}]", each) for index, each in zip(range(_MOST), _in_order(value), strict=False))
    yield from _attributes(value)


def _of_module(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Parameters, buffers and modules under the names that PyTorch gives them, then the attributes."""
    attributes = vars(module)
    for name in _REGISTRIES:
        yield from ((f".{key}", each) for key, each in attributes.get(name, {}).items())
    yield from ((f".{name}", each) for name, each in list(attributes.items()) if name not in _REGISTRIES)


def _items(value: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Values by key; keys that are not plain values are named by their position."""
    for index, (key, each) in zip(range(_MOST), list(value.items()), strict=False):
        yield (f"[{key!r}]" if is_plain(key) else f"[#{index}]"), each
        if not is_plain(key):
            yield f".keys[#{index}]", key


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from ((f".{each.name}", getattr(value, each.name, None)) for each in fields(value))
        return
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict):
        yield from ((f".{name}", each) for name, each in list(held.items()) if isinstance(name, str))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if isinstance(vars(kind).get(name), types.MemberDescriptorType) and hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _in_order(value: set[Any] | frozenset[Any]) -> list[Any]:
    """The elements of a set in an order that does not depend on where they are in memory."""
    return sorted(value, key=lambda each: (type(each).__name__, _sort_text(each)))


def _sort_text(value: object) -> str:
    tensors = [each for _, each in leaves_of(value, "") if isinstance(each, torch.Tensor)]
    numbers = [(tuple(each.shape), str(each.dtype), each.detach().reshape(-1)[:8].tolist()) for each in tensors]
    return repr(value if is_plain(value) else numbers)


def leaves_of(value: object, path: str) -> Iterator[tuple[str, Any]]:
    """Tensors and other values without parts, at any depth in an object, by path; `.structure` names the object's type.

    Code and opaque objects are left out. An object that occurs twice is yielded once, unless it is a leaf.
    """
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [(path, value)]
    while pending and len(seen) < _MOST:
        where, each = pending.pop()
        if isinstance(each, torch.Tensor) or is_plain(each) or _is_array(each):
            yield where, each
        elif id(each) not in seen and not isinstance(each, _CODE):
            seen.add(id(each))
            if parts := list(parts_of(each)):
                yield f"{where}.structure", type(each).__qualname__
            pending += [(where + step, part) for step, part in reversed(parts)]


def _is_array(value: object) -> bool:
    return type(value).__module__ == "numpy" and hasattr(value, "dtype")


def copied(values: Mapping[str, object], convert: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, object]:
    """Return copies of values in which `convert` replaces each tensor, consistently wherever it occurs.

    What cannot be copied, such as a lock or an iterator, is kept itself.
    """
    memo: dict[int, Any] = {}
    for name, value in values.items():
        for _, leaf in leaves_of(value, name):
            if isinstance(leaf, torch.Tensor) and id(leaf) not in memo:
                memo[id(leaf)] = _like(convert(leaf), leaf)
    return {name: _copy(value, memo) for name, value in values.items()}


def _like(made: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Make a parameter of it if the original is one."""
    is_parameter = isinstance(original, torch.nn.Parameter) and not isinstance(made, torch.nn.Parameter)
    return torch.nn.Parameter(made, made.requires_grad) if is_parameter else made


def _copy(value: Any, memo: dict[int, Any]) -> Any:  # noqa: ANN401 - any value
    tried = dict(memo)
    try:
        made = copy.deepcopy(value, tried)
    except Exception:  # noqa: BLE001 - what cannot be copied is passed on as it is
        return value
    memo.update(tried)
    return made

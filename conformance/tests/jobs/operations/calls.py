"""How a sample of `op_db` is called, as Python over named tensors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name

__all__ = ["NotWritable", "Written", "public_name", "short_name", "traced", "written"]

_ROOTS = {"torch.nn.functional.": "F."}
_SEEDING = re.compile(r"rng_state|manual_seed|default_generator|fork_rng|Generator")


class NotWritable(Exception):  # noqa: N818 - a reason, no failure
    """A call has a part that a program cannot contain."""


@dataclass
class Written:
    """A call: its first argument, the others, and the tensors by name."""

    first: str
    rest: str
    lines: list[str] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)


class _Names:
    """Names of the tensors of a call, in the order in which they occur."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix
        self.tensors: dict[str, torch.Tensor] = {}
        self._made: dict[int, str] = {}
        self._kept: list[object] = []

    def of(self, tensor: torch.Tensor) -> str:
        if id(tensor) in self._made:
            return self._made[id(tensor)]
        if type(tensor) not in {torch.Tensor, torch.nn.Parameter} or tensor.layout is not torch.strided:
            raise NotWritable("a tensor that is not dense")
        if tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
            raise NotWritable("a tensor with a lazy conjugation, or quantized")
        if len(self.tensors) >= len(ascii_lowercase):
            raise NotWritable("more tensors than there are letters")
        name = ascii_lowercase[len(self.tensors)] + self._suffix
        self.tensors[name] = tensor
        self._made[id(tensor)] = name
        return name

    def give(self, value: object, name: str) -> None:
        """Let a value that is computed have a name."""
        self._made[id(value)] = name
        self._kept.append(value)

    def knows(self, value: object) -> str | None:
        return self._made.get(id(value))


def public_name(op: Any) -> str:
    """The name under which programs call an operation, if `op_db` calls that; else empty."""
    try:
        found = eval(f"torch.{op.name}", {"torch": torch})  # noqa: S307 - names of PyTorch's own list
    except AttributeError:
        return ""
    return short_name(f"torch.{op.name}") if found is op.op else ""


def written(sample: Any, suffix: str) -> Written:
    """Write a sample of an operation that has a name."""
    names = _Names(suffix)
    first = _text(sample.input, names)
    rest = [_text(each, names) for each in sample.args]
    rest += [f"{name}={_text(each, names)}" for name, each in sample.kwargs.items()]
    return Written(first, ", ".join(rest), tensors=names.tensors)


def traced(op: Any, sample: Any, suffix: str) -> Written:
    """Write what `op_db`'s own wrapper of an operation calls.

    Raises:
        NotWritable: it does more than to call functions of torch in turn.
    """
    recorder = _Recorder(suffix)
    given = [sample.input, *sample.args, *sample.kwargs.values()]
    for leaf in torch.utils._pytree.tree_leaves(given):
        if isinstance(leaf, torch.Tensor):
            recorder.names.of(leaf)
    with recorder:
        result = op.op(sample.input, *sample.args, **sample.kwargs)
    value = _text(result, recorder.names)
    lines = _live(recorder.lines, value)
    if not lines:
        raise NotWritable("nothing that is called can be seen")
    return Written(value, "", lines=lines, tensors=recorder.names.tensors)


class _Recorder(TorchFunctionMode):
    """Writes each function of torch that is called as a line."""

    def __init__(self, suffix: str) -> None:
        super().__init__()
        self.names, self.lines, self._suffix = _Names(suffix), list[str](), suffix

    def __torch_function__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = resolve_name(func) or ""
        if _SEEDING.search(name) or _SEEDING.search(str(func)):
            return result
        if isinstance(result, torch.Tensor) and self.names.knows(result) and not name.endswith("_"):
            return result
        step = f"step{len(self.lines) + 1}{'_' * bool(self._suffix)}{self._suffix}"
        self.lines.append(f"{step} = {_expression(func, name, args, kwargs, self.names)}")
        self._give(result, step)
        return result

    def _give(self, result: Any, step: str) -> None:
        self.names.give(result, step)
        if isinstance(result, tuple | list):
            for index, each in enumerate(result):
                self.names.give(each, f"{step}[{index}]")


def _live(lines: list[str], result: str) -> list[str]:
    """The lines that a result depends on."""
    kept: list[str] = []
    for line in reversed(lines):
        name, _, _ = line.partition(" = ")
        if re.search(rf"\b{name}\b", "\n".join([result, *(each.partition(" = ")[2] for each in kept)])):
            kept.append(line)
    return kept[::-1]


def _expression(func: Any, name: str, args: Any, kwargs: Any, names: _Names) -> str:
    parts = [_text(each, names) for each in args]
    named_ = [f"{key}={_text(each, names)}" for key, each in kwargs.items()]
    if not name:
        raise NotWritable(f"{func} has no name")
    if name.endswith(".__get__"):
        return f"{parts[0]}.{name.split('.')[-2]}"
    if name.startswith("torch.Tensor."):
        method = name.rpartition(".")[2]
        if method == "__getitem__":
            return f"{parts[0]}[{_index(args[1], names)}]"
        return f"{parts[0]}.{method}({', '.join([*parts[1:], *named_])})"
    return f"{short_name(name)}({', '.join([*parts, *named_])})"


def _index(value: Any, names: _Names) -> str:
    if isinstance(value, tuple):
        return ", ".join(_index(each, names) for each in value) + "," * (len(value) == 1) or "()"
    return _text(value, names)


def short_name(name: str) -> str:
    """A dotted name as programs write it."""
    for root, short in _ROOTS.items():
        name = short + name.removeprefix(root) if name.startswith(root) else name
    return f"torch.ops.{name}" if name.startswith("aten.") else name


def _text(value: Any, names: _Names) -> str:
    if known := names.knows(value):
        return known
    match value:
        case torch.Tensor():
            return names.of(value)
        case bool() | None | str() | int():
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        case complex():
            return repr(value)
        case torch.dtype() | torch.memory_format() | torch.layout():
            return str(value)
        case torch.device():
            return repr(str(value))
        case slice():
            return f"slice({_text(value.start, names)}, {_text(value.stop, names)}, {_text(value.step, names)})"
        case list():
            return f"[{', '.join(_text(each, names) for each in value)}]"
        case tuple():
            return f"({', '.join(_text(each, names) for each in value)}{',' * (len(value) == 1)})"
        case dict() if not value:
            return "{}"
        case _ if value is Ellipsis:
            return "..."
    raise NotWritable(f"an argument of type {type(value).__name__}")

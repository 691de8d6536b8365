"""Whether a compiled function differs from the uncompiled one, found with torch alone: no part of the judge is used.

As a script of its own: `python plain_torch.py FILE.py:NAME BACKEND`, where BACKEND is a name that `torch.compile` knows
or `FILE.py:NAME`; it prints what differs and exits with 1 where something does. Numbers are compared by
`torch.testing.assert_close` with its own tolerances, or as near as two roundings of the largest number in the tensor.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch._inductor import config as inductor_config
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

__all__ = ["shown", "told"]

_SEED = 1
_CALLS = 2
_ROUNDINGS = 16  # of the largest number
_DENORMAL = 1e-310


_Seen = dict[str, dict[str, Any]]
"""Observations by kind and path: tensors, or facts that are compared with `==`."""


def shown(function: str, backend: str) -> tuple[dict[str, str], dict[str, str]]:
    """The first difference of each kind, as text.

    The function runs twice uncompiled and once compiled, each time from a fresh copy of its file.

    Args:
        function: `FILE.py:NAME`; `NAME_inputs` beside it makes its arguments.
        backend: what compiles it.

    Returns:
        How compiled differs from uncompiled, and how uncompiled differs from itself.
    """
    with inductor_config.patch(fallback_random=True):
        expected = _role(function, "")
        unstable = _differences(expected, _role(function, ""))
        torch._dynamo.utils.counters.clear()
        found = _differences(expected, _role(function, backend))
    if not torch._dynamo.utils.counters["stats"]["unique_graphs"]:
        found["compiled"] = "Dynamo made no graph"
    return found, unstable


def told(function: str, backend: str) -> bool:
    """Whether `NAME_shows` beside a function, given it compiled, says that it is wrong."""
    torch.manual_seed(_SEED)
    home, name = _load(function)
    with inductor_config.patch(fallback_random=True):
        return bool(getattr(home, f"{name}_shows")(torch.compile(getattr(home, name), backend=_backend(backend))))


def _role(ref: str, backend: str) -> _Seen:
    torch.manual_seed(_SEED)
    home, name = _load(ref)
    function = getattr(home, name)
    if isinstance(function, type):
        function = function()
    state = dict(_state({**vars(home), "function": function}))
    called = torch.compile(function, backend=_backend(backend)) if backend else function
    seen: _Seen = {}
    earlier: list[tuple[str, torch.Tensor, torch.Tensor]] = []
    for index in range(_CALLS):
        torch.manual_seed(_SEED + index)
        random.seed(_SEED + index)
        made = getattr(home, f"{name}_inputs")()
        arguments = made if isinstance(made, tuple | list) else (made,)
        if index:
            _change(state)
        note = _Notes(seen, earlier, f"call[{index}].")
        if not _call(called, arguments, state, note):
            break
    seen["retention"] = {path: same(tensor, kept) for path, tensor, kept in earlier}
    return seen


def _load(ref: str) -> tuple[ModuleType, str]:
    """A fresh copy of the module of a file, and the name of what is meant in it."""
    path, _, name = ref.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"plain_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        message = f"{path} is no Python file"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module, name


def _backend(name: str) -> Any:
    if ":" not in name:
        return name
    module, attribute = _load(name)
    return getattr(module, attribute)


def _state(names: Mapping[str, object]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors at the top of a module: those of lists, and of modules."""
    for name, value in names.items():
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, torch.nn.Module):
            yield from ((f"{name}.{key}", each) for key, each in value.named_parameters())
            yield from ((f"{name}.{key}", each) for key, each in value.named_buffers())
        elif isinstance(value, list):
            yield from ((f"{name}[{key}]", each) for key, each in enumerate(value) if isinstance(each, torch.Tensor))


def _change(state: Mapping[str, torch.Tensor]) -> None:
    """Change weights as between two calls: not all of them by one factor, which norms would hide."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for tensor in state.values():
            tensor.grad = None
            if isinstance(tensor, torch.nn.Parameter):
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=generator).to(tensor.dtype))


def _call(
    called: Callable[..., object], arguments: Sequence[object], state: Mapping[str, torch.Tensor], note: _Notes
) -> bool:
    """One call with its backward; whether it came to its end."""
    given = dict(_tensors(arguments, "input"))
    try:
        output = called(*arguments)
    except Exception as error:  # noqa: BLE001 - the exception is the result
        note("raised", "call", _kind(error))
        return False
    note.ambient("after the call")
    leaves, _ = pytree.tree_flatten_with_path(output)
    for path, leaf in leaves:
        name = f"output{pytree.keystr(path)}"
        note("values", name, _kept(leaf))
        if isinstance(leaf, torch.Tensor):
            note.tensor(name, leaf)
    outputs = dict(_tensors(output, "output"))
    for (one, first), (other, second) in combinations({**given, **state, **outputs}.items(), 2):
        if one in outputs or other in outputs:
            note("aliasing", f"{one}, {other}", (first is second, _start(first) == _start(second)))
    for name, tensor in {**given, **state}.items():
        note("mutation", name, _kept(tensor))
    return _backward(note, outputs, given, state)


def _backward(
    note: _Notes,
    outputs: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
) -> bool:
    results = {name: each for name, each in outputs.items() if each.requires_grad and each.grad_fn is not None}
    generator = torch.Generator().manual_seed(_SEED)
    cotangents = [torch.randn(each.shape, generator=generator).to(each.dtype) for each in results.values()]
    if results:
        try:
            torch.autograd.backward(list(results.values()), cotangents)
        except Exception as error:  # noqa: BLE001 - as in the call
            note("raised", "backward", _kind(error))
            return False
        note.ambient("after backward")
    for name, tensor in {**given, **state}.items():
        if tensor.is_leaf:
            note("gradients", f"grad({name})", _kept(tensor.grad))
        note("mutation", f"{name} after backward", _kept(tensor))
    for name, tensor in zip(results, cotangents, strict=True):
        note("mutation", f"cotangent({name})", _kept(tensor))
    return True


class _Notes:
    """The observations of one call, by kind."""

    def __init__(self, seen: _Seen, earlier: list[tuple[str, torch.Tensor, torch.Tensor]], at: str) -> None:
        self.seen, self.earlier, self.at = seen, earlier, at

    def __call__(self, kind: str, path: str, value: object) -> None:
        self.seen.setdefault(kind, {})[self.at + path] = value

    def tensor(self, name: str, leaf: torch.Tensor) -> None:
        """The properties of a tensor besides its numbers, which are read again later."""
        self.earlier.append((self.at + name, leaf, _kept(leaf)))
        flags = (leaf.requires_grad, leaf.grad_fn is not None, leaf.is_leaf, leaf.is_inference())
        self("autograd_flags", name, flags)
        steps = [step for size, step in zip(leaf.shape, leaf.stride(), strict=True) if size > 1]
        self("layout", name, (steps if leaf.numel() else [], leaf.storage_offset()))

    def ambient(self, moment: str) -> None:
        """The modes and settings around the code."""
        for name, value in _AMBIENT.items():
            self("ambient", f"{name} {moment}", value())


_AMBIENT: Mapping[str, Callable[[], object]] = {
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "autocast": lambda: torch.is_autocast_enabled("cpu"),
    "autocast dtype": lambda: torch.get_autocast_dtype("cpu"),
    "autocast cache": torch.is_autocast_cache_enabled,
    "default dtype": torch.get_default_dtype,
    "threads": torch.get_num_threads,
    "matmul precision": torch.get_float32_matmul_precision,
    "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
    "anomaly detection": torch.is_anomaly_enabled,
    "flush denormal": lambda: (torch.tensor(_DENORMAL, dtype=torch.float64) * 1).item() == 0,
    "saved tensor hooks": lambda: torch._C._autograd._top_saved_tensors_default_hooks(True) is None,
    "function modes": torch._C._len_torch_function_stack,
    "random numbers of torch": lambda: torch.random.get_rng_state().tolist(),
    "random numbers of Python": random.getstate,
}


def _tensors(tree: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    leaves, _ = pytree.tree_flatten_with_path(tree)
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            yield f"{name}{pytree.keystr(path)}", leaf


def _kind(error: Exception) -> str:
    """The nearest built-in class: compilers wrap what is raised."""
    return next(each.__name__ for each in type(error).__mro__ if each.__module__ == "builtins")


def _start(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _differences(expected: _Seen, actual: _Seen) -> dict[str, str]:
    """The first difference of each kind."""
    found: dict[str, str] = {}
    for kind in {**expected, **actual}:
        before, after = expected.get(kind, {}), actual.get(kind, {})
        for path in before if "raised" not in actual else before.keys() & after.keys():
            if why := _difference(before[path], after.get(path)):
                found.setdefault(kind, f"{path}: {why}")
        if kind == "raised" and before.keys() != after.keys():
            found[kind] = f"uncompiled {before or 'raises nothing'}, compiled {after or 'raises nothing'}"
    return found


def _difference(expected: Any, actual: Any) -> str:
    if isinstance(expected, torch.Tensor) and isinstance(actual, torch.Tensor):
        return "" if same(actual, expected) else _words(actual, expected)
    if isinstance(expected, float) and isinstance(actual, float):
        return "" if math.isclose(expected, actual, rel_tol=1e-5) else f"{actual}, uncompiled {expected}"
    if type(expected) is type(actual) and expected == actual:
        return ""
    return f"{str(actual)[:60]}, uncompiled {str(expected)[:60]}"


def same(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors are of one type, shape and dtype, and hold the same numbers but for rounding."""
    if (type(actual), actual.shape, actual.dtype) != (type(expected), expected.shape, expected.dtype):
        return False
    try:
        torch.testing.assert_close(actual, expected, equal_nan=True)
    except AssertionError:
        if not expected.is_floating_point() or not torch.isfinite(expected).all() or not expected.numel():
            return False
        allowed = _ROUNDINGS * torch.finfo(expected.dtype).eps * expected.abs().max()
        return bool(((actual - expected).abs() <= allowed).all())
    return True


def _words(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype) or type(actual) is not type(expected):
        told = [f"{type(each).__name__} {each.dtype} {tuple(each.shape)}" for each in (actual, expected)]
        return f"{told[0]}, uncompiled {told[1]}"
    off = (actual.to(torch.complex128) - expected.to(torch.complex128)).abs().max().item()
    largest = expected.to(torch.complex128).abs().max().item()
    return f"off by {off:.3g} where the largest number is {largest:.3g}"


if __name__ == "__main__":
    _found, _unstable = shown(*sys.argv[1:3])
    sys.stdout.write(json.dumps({"differs": _found, "uncompiled differs from itself": _unstable}, indent=1) + "\n")
    sys.exit(1 if _found else 0)

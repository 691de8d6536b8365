"""What a function of a user reaches: modules and tensors in its closure, globals, defaults, and all that these hold.

Code is followed as far as it is the user's own: through functions, methods, partial objects and classes, not into
installed packages. Nothing is called.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
import types
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from conformance.observation.parts import is_plain, parts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    _Holder = torch.nn.Module | torch.Tensor

__all__ = ["reachable"]

_MOST = 20_000  # objects that are looked at
_INSTALLED = {"site-packages", "dist-packages"}
_NOT_THEIRS = (Path(torch.__file__).parent, Path(sysconfig.get_paths()["stdlib"]))


def reachable(function: object, taken: Collection[str] = ()) -> dict[str, _Holder]:
    """Modules and tensors that a function reaches, by the path that leads there: `net`, `models['net']`, `self.head`.

    A module is given once, for itself and all in it; so is a tensor, unless a module holds it. A function that is a
    module itself is not given.

    Args:
        function: what is called.
        taken: names that mean something else; what has such a name gets another.
    """
    found: dict[str, _Holder] = {}
    names, seen = set(taken), set[int]()
    pending: deque[tuple[str, Any]] = deque([("", function)])
    while pending and len(seen) < _MOST:
        path, value = pending.popleft()
        if is_plain(value) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.nn.Module | torch.Tensor) and value is not function:
            name = _free(path, names)
            names.add(name)
            found[name] = value
        pending.extend(_steps(path, value))
    return _outermost(found, function)


def _free(name: str, names: Collection[str]) -> str:
    while name in names:
        name += "_"
    return name


def _outermost(found: Mapping[str, _Holder], function: object) -> dict[str, _Holder]:
    """Without what the function itself, or another one of them, holds already."""
    modules = [each for each in (function, *found.values()) if isinstance(each, torch.nn.Module)]
    inside = {id(each) for one in modules for each in one.modules() if each is not one}
    held = inside | {id(each) for one in modules for each in (*one.parameters(), *one.buffers())}
    return {name: each for name, each in found.items() if id(each) not in held}


def _steps(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any object
    """What is one step from an object; what code names stands under its own name."""
    if isinstance(value, types.FunctionType):
        yield from _of_function(value, path)
    elif isinstance(value, types.MethodType):
        yield from ((path or "self", value.__self__), (path, value.__func__))
    elif isinstance(value, functools.partial):
        yield from ((path, value.func), (f"{path}.args" if path else "args", value.args))
        yield from (value.keywords or {}).items()
    elif isinstance(value, (staticmethod, classmethod, property)):
        yield path, getattr(value, "__func__", None) or getattr(value, "fget", None)
    elif isinstance(value, type):
        if _is_users(value):
            yield from ((f"{path}.{name}" if path else name, each) for name, each in list(vars(value).items()))
    elif not isinstance(value, types.ModuleType):
        yield from (((path or "self") + step, each) for step, each in parts_of(value))
        yield from ((path or "self", kind) for kind in type(value).__mro__ if _is_users(kind))


def _of_function(function: types.FunctionType, path: str) -> Iterator[tuple[str, Any]]:
    """Closure, globals that its code names, defaults, and what it wraps."""
    if path and not _is_theirs(function.__code__.co_filename):
        return
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
    named = set(_names_of(code))
    for name in sorted(named & function.__globals__.keys()):
        value = function.__globals__[name]
        if not isinstance(value, types.ModuleType):
            yield name, value
        elif (file := getattr(value, "__file__", None)) and _is_theirs(file):
            yield from ((f"{name}.{each}", vars(value)[each]) for each in sorted(named & vars(value).keys()))
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    yield from ((f"{path or function.__name__}.{name}", each) for name, each in list(vars(function).items()))


def _names_of(code: types.CodeType) -> Iterator[str]:
    """Names of globals and attributes in code, and in the functions and classes that it defines."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names_of(each)


def _is_users(kind: type) -> bool:
    """Whether a class is of the user's own code."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    return kind is not object and kind.__module__ != "builtins" and (file is None or _is_theirs(file))


@functools.cache
def _is_theirs(file: str) -> bool:
    """Whether a file is the user's, and not of an installed package."""
    path = Path(file)
    installed = file.startswith("<frozen") or _INSTALLED & set(path.parts)
    return not installed and not any(path.is_relative_to(home) for home in _NOT_THEIRS)

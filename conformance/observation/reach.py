"""Modules and tensors that a user's function reaches: in its closure, globals, defaults, and all that these contain.

Only the user's own code is followed, through functions, methods, partial objects and classes, not into installed
packages. Nothing is called.
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

_MOST = 20_000  # objects visited
_INSTALLED = {"site-packages", "dist-packages"}
_NOT_USERS = (Path(torch.__file__).parent, Path(sysconfig.get_paths()["stdlib"]))


def reachable(function: object, taken: Collection[str] = ()) -> dict[str, _Holder]:
    """Return modules and tensors that a function reaches, by path: `net`, `models['net']`, `self.head`.

    A module is listed once, for itself and all in it; so is a tensor, unless it is in a module. A function that is a
    module itself is not listed.

    Args:
        function: the function to inspect.
        taken: names already in use; a module or tensor of such a name gets another.
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
    """Leave out what is in the function itself, or in another module found."""
    modules = [each for each in (function, *found.values()) if isinstance(each, torch.nn.Module)]
    inside = {id(each) for module in modules for each in module.modules() if each is not module}
    held = inside | {id(each) for module in modules for each in (*module.parameters(), *module.buffers())}
    return {name: each for name, each in found.items() if id(each) not in held}


def _steps(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any object
    """Objects one step from an object; those that code names go by that name."""
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
        if _is_users_class(value):
            yield from ((f"{path}.{name}" if path else name, each) for name, each in list(vars(value).items()))
    elif not isinstance(value, types.ModuleType):
        yield from (((path or "self") + step, each) for step, each in parts_of(value))
        yield from ((path or "self", kind) for kind in type(value).__mro__ if _is_users_class(kind))


def _of_function(function: types.FunctionType, path: str) -> Iterator[tuple[str, Any]]:
    """Its closure, globals that its code names, defaults, and attributes (such as `__wrapped__`)."""
    if path and not _is_users_file(function.__code__.co_filename):
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
        elif (file := getattr(value, "__file__", None)) and _is_users_file(file):
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


def _is_users_class(kind: type) -> bool:
    """Whether a class is defined in the user's own code."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    return kind is not object and kind.__module__ != "builtins" and (file is None or _is_users_file(file))


@functools.cache
def _is_users_file(file: str) -> bool:
    """Whether a file is the user's, and not of an installed package."""
    path = Path(file)
    installed = file.startswith("<frozen") or _INSTALLED & set(path.parts)
    return not installed and not any(path.is_relative_to(home) for home in _NOT_USERS)

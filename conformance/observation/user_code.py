"""A user's own function as the program of a case: what `conformance check` is given, described and loaded in a child.

A reference is `path/to/file.py:function`, `package.module:function`, or `path/to/file.pickle:function` for what Python
handed over. Each role runs the user's code anew, with what lies beside it, so that it begins with its own state; what
is installed is imported once. What a function's state is, `conformance.observation.reach` finds.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import symbolic_convert

from conformance.backend.resolution import import_home
from conformance.isolation import handover
from conformance.model.errors import UsageError
from conformance.model.user_function import DECLARED, INPUTS, PICKLE, UserFunction, typed
from conformance.observation.exceptions import traceback_of
from conformance.observation.parts import copied, leaves_of
from conformance.observation.reach import reachable
from conformance.observation.seeding import seed_default
from conformance.observation.snapshot import memory
from conformance.observation.tensors import Copies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from conformance.model.enums import Stage

__all__ = ["arguments", "blamed", "describe", "load", "reached"]

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_INSTALLED = {"site-packages", "dist-packages"}
_MAIN = "__main__"
_PRIVATE = "conformance_user_main"


def describe(ref: str, report: Callable[[Stage], None]) -> UserFunction:  # noqa: ARG001 - as every task of a child
    """Load a user's function, which runs its file, and call what makes its inputs, if there is something.

    Raises:
        UsageError: there is no such file or function, its inputs are not what it takes, or the user's code raises.
    """
    where = ref.rpartition(":")[0]
    with blamed(f"{typed(where)} raises {{}} while it is imported", where):
        home = _home(where)
    found = _found(home, ref)
    with blamed(f"{typed(ref)} raises {{}} while it is made", where):
        function = _made(found, ref)
    declared = getattr(function, DECLARED, {})
    signature = _signature(function, ref)
    maker = _maker(ref)
    if maker:
        with blamed(f"{typed(maker)}() raises {{}}", where):
            made = _call_maker(maker)
        bound = _bound(made, signature, maker, ref)
    else:
        bound = _declared(signature, declared.get("inputs", {}))
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
    return UserFunction(
        ref=ref,
        call=_call(bound),
        arguments=tuple(_flat(bound)),
        takes=() if anything else tuple(signature.parameters),
        maker=maker,
        declared={name: value for name, value in declared.items() if value},
        title=(inspect.getdoc(function) or "").partition("\n")[0],
        is_factory=_is_factory(found),
        is_module=isinstance(function, torch.nn.Module),
        state=tuple(_named(function, home)),
    )


@contextmanager
def blamed(message: str, home: str) -> Iterator[None]:
    """Answer what the code of a user raises with its traceback; `{}` in the message is the type of the exception."""
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        text = f"{message.format(type(error).__name__)}\n{traceback_of(error, home)}"
        raise UsageError(text) from error


def _named(function: object, home: object) -> Iterator[str]:
    """What a function reaches, as far as it can be named from outside."""
    for path in reachable(function):
        head = re.split(r"\W", path, maxsplit=1)[0]
        if hasattr(home, head) or (head == "self" and inspect.ismethod(function)):
            yield path


def load(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    """The function with a state of its own, or the module that a factory makes.

    Raises:
        UsageError: there is no such file or function, or it cannot be called.
    """
    return _made(_found(_run(ref.rpartition(":")[0]), ref), ref)


def reached(function: object, taken: Collection[str]) -> Callable[[], Mapping[str, object]]:
    """What gives the modules and tensors that a function reaches at that time, by the path that leads there.

    Args:
        function: what is called.
        taken: names that mean something else; a module or tensor of such a name gets another.
    """
    return partial(reachable, function, tuple(taken))


def arguments(maker: str, ref: str, seed: int) -> dict[str, object]:
    """What a function makes as arguments of what `ref` names, by name; what it draws depends on the seed alone.

    They are handed on exactly as they are made. If the function gives what it keeps, they are copies.

    Raises:
        UsageError: they are not what it takes.
    """
    if _keeps(maker, ref):
        return copied(_made_arguments(maker, ref, seed), Copies())
    return _made_arguments(maker, ref, seed)


def _made_arguments(maker: str, ref: str, seed: int) -> dict[str, object]:
    signature = _signature(_callable(ref), ref)  # first: to run the user's file may draw too
    seed_default(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    return _flat(_bound(_call_maker(maker), signature, maker, ref))


@cache
def _keeps(maker: str, ref: str) -> bool:
    """Whether what a function makes at two times shares anything, so that a call would see what an earlier one did."""
    one, other = (_made_arguments(maker, ref, seed=0) for _ in range(2))
    return not _held_by(one).isdisjoint(_held_by(other))


def _held_by(values: Mapping[str, object]) -> set[int]:
    """Tensors, by what tells one from another while both are there, and the memory of those that have some."""
    found = [each for name, value in values.items() for _, each in leaves_of(value, name)]
    tensors = [each for each in found if isinstance(each, torch.Tensor)]
    starts = {where.start for each in tensors if (where := memory(each))}
    return starts | {id(each) for each in tensors}


@cache
def _callable(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    return _made(_found(_home(ref.rpartition(":")[0]), ref), ref)


def _made(value: Any, ref: str) -> Any:  # noqa: ANN401 - a function or a module
    """What is to be called: the value itself, the module that it makes, or a copy of the module that it is."""
    if _is_factory(value):
        try:
            value = value()
        except TypeError as error:
            message = (
                f"{typed(ref)} cannot be made without arguments: {error}\n  Name a function that makes and returns it."
            )
            raise UsageError(message) from error
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value)
    if not callable(value):
        message = f"{typed(ref)} is {value!r:.80}, which cannot be called"
        raise UsageError(message)
    return value


def _bound(made: object, signature: inspect.Signature, maker: str, ref: str) -> inspect.BoundArguments:
    """A mapping is arguments by name, a tuple or list those in order, anything else the only one."""
    if made is None:
        message = f"{typed(maker)} returns None\n  It returns the arguments: by name, in order, or the only one."
        raise UsageError(message)
    try:
        if isinstance(made, dict):
            return signature.bind(**made)
        return signature.bind(*(made if isinstance(made, (tuple, list)) else (made,)))
    except TypeError as error:
        message = f"what {typed(maker)} returns does not fit {typed(ref)}: {error}"
        raise UsageError(message) from error


def _declared(signature: inspect.Signature, given: Mapping[str, str]) -> inspect.BoundArguments:
    """Those without a default, and those that are declared beside them."""
    needed = [
        each.name
        for each in signature.parameters.values()
        if each.kind not in _VARIADIC and (each.default is inspect.Parameter.empty or each.name in given)
    ]
    return inspect.BoundArguments(signature, {name: name for name in needed})


def _call(bound: inspect.BoundArguments) -> str:
    """How the arguments are handed on, as Python; they have the names of `_flat`."""
    by_name, words = False, []
    for name, parameter in bound.signature.parameters.items():
        if name not in bound.arguments:
            by_name = by_name or parameter.kind not in _VARIADIC  # what comes after one that is left out
            continue
        by_name = by_name or parameter.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
        words += [f"{each}={each}" if by_name else each for each in _names(name, bound.arguments[name], parameter.kind)]
    return ", ".join(words)


def _flat(bound: inspect.BoundArguments) -> dict[str, object]:
    """Arguments by name; those that `*args` takes are numbered."""
    found: dict[str, object] = {}
    for name, value in bound.arguments.items():
        found |= _names(name, value, bound.signature.parameters[name].kind)
    return found


def _names(name: str, value: Any, kind: object) -> dict[str, object]:  # noqa: ANN401 - an argument, or several
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return {f"{name}{index}": each for index, each in enumerate(value)}
    return dict(value) if kind is inspect.Parameter.VAR_KEYWORD else {name: value}


def _is_factory(value: object) -> bool:
    """Whether it is a class of modules, or a function without arguments that says that it returns a module."""
    if isinstance(value, type):
        return issubclass(value, torch.nn.Module)
    if not inspect.isfunction(value) or inspect.signature(value).parameters:
        return False
    told = inspect.get_annotations(value, eval_str=True).get("return")
    return isinstance(told, type) and issubclass(told, torch.nn.Module)


def _signature(function: Any, ref: str) -> inspect.Signature:  # noqa: ANN401 - a function or a module
    try:
        return inspect.signature(getattr(function, "forward", function))
    except (TypeError, ValueError) as error:
        message = f"what {typed(ref)} takes cannot be told ({error})\n  Name a Python function that calls it."
        raise UsageError(message) from error


def _maker(ref: str) -> str:
    """The reference of what makes the inputs, beside the function; empty where there is none."""
    home, _, name = ref.rpartition(":")
    beside = _home(home)
    return next((f"{home}:{each}" for each in (f"{name}_{INPUTS}", INPUTS) if hasattr(beside, each)), "")


def _call_maker(maker: str) -> object:
    made = _found(_home(maker.rpartition(":")[0]), maker)
    try:
        inspect.signature(made).bind()
    except (TypeError, ValueError) as error:
        message = f"{typed(maker)} makes inputs, so it is to be a function without arguments ({error})"
        raise UsageError(message) from error
    return made()


def _found(home: object, ref: str) -> Any:  # noqa: ANN401 - whatever it is
    """The attribute that a reference names."""
    where, _, name = ref.rpartition(":")
    value: Any = home
    for step in name.split("."):
        if not hasattr(value, step):
            known = ", ".join(sorted(each for each in vars(value) if not each.startswith("_"))) or "nothing"
            message = f"no {step!r} in {typed(where)}; it has {known}"
            raise UsageError(message)
        value = getattr(value, step)
    return value


@cache
def _home(home: str) -> Any:  # noqa: ANN401 - a module, or what stands in a pickle
    return _run(home)


def _run(home: str) -> Any:  # noqa: ANN401 - a module, or what stands in a pickle
    """Run a user's file or module anew, and what lies beside it."""
    if home.endswith(PICKLE):
        return _unpickled(Path(home))
    if home.endswith(".py"):
        folder = Path(home).parent
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))  # as if Python ran it: what lies beside it can be imported
    else:
        folder = _folder_of(home)
    _forget(folder)
    try:
        return import_home(home)
    except ImportError as error:
        if "relative import" in str(error):
            message = f"{home}: {error}\n  Name it as package.module:function."
            raise UsageError(message) from error
        raise


def _folder_of(module: str) -> Path:
    """Where the top-level package or module of a name lies."""
    spec = find_spec(module.partition(".")[0])
    return Path(spec.origin).parent if spec and spec.origin and spec.has_location else Path("/nowhere")


def _forget(folder: Path) -> None:
    """Let modules in a folder be imported anew; those of installed packages and of this one stay as they are.

    Dynamo remembers by name those that it has met, whatever is imported under that name by then.
    """
    symbolic_convert._import_module.cache_clear()  # noqa: SLF001 - it has no public name
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == _MAIN or name.partition(".")[0] in {"conformance", "torch"}:
            continue
        path = Path(file)
        installed = _INSTALLED & set(path.parts) or path.is_relative_to(sys.base_prefix)
        if path.is_relative_to(folder) and not installed:
            del sys.modules[name]


def _unpickled(path: Path) -> SimpleNamespace:
    held = handover.read(path)
    for value in held.values():
        for names in _globals_of(value):
            _give_home(names)
    return SimpleNamespace(**held)


def _globals_of(value: object) -> Iterator[dict[str, Any]]:
    """The globals of a function, or of the methods of a module's classes."""
    if isinstance(value, FunctionType):
        yield value.__globals__
    elif isinstance(value, torch.nn.Module):
        classes = {type(each) for each in value.modules()}
        methods = (method for one in classes for method in vars(one).values() if isinstance(method, FunctionType))
        yield from (method.__globals__ for method in methods)


def _give_home(names: dict[str, Any]) -> None:
    """What was defined in a script or notebook finds its globals there, and Dynamo by the name of their module."""
    if names.get("__name__") == _MAIN:
        names["__name__"] = _PRIVATE
        home = ModuleType(_PRIVATE)
        vars(home).update(names)
        sys.modules[_PRIVATE] = home

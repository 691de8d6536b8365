"""Resolve a backend spec, which has one of four forms, to a `Backend`.

- `inductor`: an entry point of the group `conformance.backends`;
- `torch:aot_eager`: any name torch knows, its debug backends and the group `torch_dynamo_backends` included;
- `package.module:attribute`: a `Backend`, or a plain callable `(gm, example_inputs) -> callable`;
- `path/to/file.py:attribute`: the same in a file.

All functions but `absolute` and `name_of` import the backend, so they belong in a child.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from packaging.requirements import Requirement

from conformance.backend import Backend
from conformance.backend.discovery import GROUP, names
from conformance.model.enums import PRECISIONS
from conformance.model.errors import BackendError
from conformance.model.suggestions import nearest
from conformance.model.user_function import PICKLE
from conformance.model.versions import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

__all__ = [
    "absolute",
    "declared_expectations",
    "import_home",
    "name_of",
    "patched",
    "resolve",
    "setting_of",
]


def absolute(ref: str) -> str:
    """Make the path in a backend spec independent of the working directory; specs without one stay as they are."""
    home, colon, attribute = ref.rpartition(":")
    return f"{Path(home).expanduser().absolute()}{colon}{attribute}" if home.endswith(".py") else ref


def name_of(ref: str) -> str:
    """Guess the name of a backend that cannot be loaded."""
    return ref if ref.startswith("torch:") else ref.rpartition(":")[2].rpartition(".")[2]


def resolve(ref: str) -> Backend:
    """Find and import a backend, and the modules that it declares as imports.

    Raises:
        BackendError: nothing has that name. Whatever a backend's own module raises passes through.
    """
    return load(ref)[0]


def declared_expectations(name: str) -> Path | None:
    """The expectations file of an installed backend, or None if it has none; only its declaration is imported.

    Raises:
        BackendError: no installed distribution declares it.
        ValueError: its declaration is not valid. Whatever its own module raises passes through.
    """
    if name not in names():
        message = f"no installed distribution declares a backend {name!r}"
        raise BackendError(message)
    backend, home = _declaration(name)
    tolerance_of(backend)
    packages_of(backend)
    return expectations_of(backend, home)


def tolerance_of(backend: Backend) -> Mapping[str, float]:
    if unknown := sorted(backend.tolerance.keys() - set(PRECISIONS)):
        message = f"a tolerance for {', '.join(unknown)}; tolerances are by dtype: {', '.join(PRECISIONS)}"
        raise ValueError(message)
    return backend.tolerance


def packages_of(backend: Backend) -> Mapping[str, str]:
    """Return the installed version of each distribution, which has to satisfy the backend's requirement."""
    requirements = [Requirement(text) for text in backend.packages]
    versions = {requirement.name: _version(requirement.name) for requirement in requirements}
    for requirement in requirements:
        if not holds(str(requirement.specifier) or None, versions[requirement.name]):
            message = f"needs {requirement}; installed: {versions[requirement.name]}"
            raise ValueError(message)
    return versions


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def expectations_of(backend: Backend, home: str | None) -> Path | None:
    """Return the declared file, or the one beside the file that defines the backend."""
    folder = Path(home or ".").parent
    if backend.expectations:
        return folder / backend.expectations
    path = folder / f"{backend.name}.expected.yaml"
    return path if home and path.is_file() else None


def load(ref: str) -> tuple[Backend, str | None]:
    """Find a backend and the file that defines it."""
    if f"{PICKLE}:" in ref:
        return _from_pickle(ref), None
    where, colon, attribute = ref.rpartition(":")
    if not colon:
        return _from_entry_point(ref)
    if where == "torch":
        return _from_torch(attribute), None
    module = import_home(where)
    return _from_module(module, attribute), module.__file__


@cache
def _declared() -> metadata.EntryPoints:
    """Return the entry points of the group; finding them reads a file of every installed distribution."""
    return metadata.entry_points(group=GROUP)


def _from_entry_point(name: str) -> tuple[Backend, str | None]:
    backend, home = _declaration(name)
    return _ready(backend), home


def _declaration(name: str) -> tuple[Backend, str | None]:
    """Return an installed backend as declared, importing nothing but its module, and that module's file."""
    found = list(_declared().select(name=name))
    if not found:
        known = [*names(), *(f"torch:{each}" for each in _torch_names())]
        raise BackendError(_unknown(f"backend {name!r}", name, known, f"Declared backends: {', '.join(names())}."))
    if len(found) > 1:
        owners = ", ".join(sorted(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in found))
        hint = "name the intended one as module:attribute"
        message = f"several distributions declare a backend {name!r}: {owners}; {hint}"
        raise ValueError(message)
    backend = _as_backend(found[0].load(), name)
    if backend.name != name:
        message = f"the entry point {name!r} declares a backend named {backend.name!r}"
        raise ValueError(message)
    return backend, sys.modules[found[0].module].__file__


def _from_torch(name: str) -> Backend:
    known = _torch_names()
    if name not in known:
        raise BackendError(_unknown(f"backend 'torch:{name}'", name, known, f"torch knows {', '.join(known)}."))
    return Backend(name=f"torch:{name}", compile={"backend": name})


def _from_pickle(ref: str) -> Backend:
    """Load a backend that another process has pickled, under its own name."""
    home, colon, name = ref.partition(f"{PICKLE}:")
    held = import_module("conformance.isolation.handover").read(Path(f"{home}{colon.removesuffix(':')}"))
    return _ready(_as_backend(held[name], name))


def _torch_names() -> list[str]:
    return list(import_module("torch._dynamo").list_backends(exclude_tags=()))


def import_home(where: str) -> ModuleType:
    """Import the file or module before the colon: a file is run each time, a module is imported once.

    Raises:
        BackendError: there is no such file or module. Whatever it raises passes through.
    """
    return _import_file(Path(where)) if where.endswith(".py") else _import_module(where)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        message = f"no file {path}."
        raise BackendError(message)
    spec = spec_from_file_location(f"_conformance_{path.stem}", path)
    if spec is None or spec.loader is None:
        message = f"{path} cannot be imported."
        raise BackendError(message)
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            message = f"no module {error.name!r}, in which package.module:attribute would be."
            raise BackendError(message) from error
        raise


def _from_module(module: ModuleType, attribute: str) -> Backend:
    try:
        value = attrgetter(attribute)(module)
    except AttributeError as error:
        known = [name for name in vars(module) if not name.startswith("_")]
        what = f"attribute {attribute!r} in {module.__file__}"
        raise BackendError(_unknown(what, attribute, known, f"It has {', '.join(known)}.")) from error
    return _ready(_as_backend(value, name_of(attribute)))


def _as_backend(value: object, name: str) -> Backend:
    if isinstance(value, Backend):
        return value
    if callable(value):
        return Backend(name=name, compile={"backend": value})
    message = f"{name} is {value!r}: neither a Backend nor a callable (gm, example_inputs) -> callable"
    raise TypeError(message)


def _ready(backend: Backend) -> Backend:
    """Import its declared imports, and make its compiler if it has a factory."""
    for module in backend.imports:
        import_module(module)
    if backend.factory is None:
        return backend
    if "backend" in backend.compile:
        message = f"{backend.name} has a factory and names a backend in compile: it can have one compiler"
        raise ValueError(message)
    return replace(backend, compile={**backend.compile, "backend": backend.factory()})


def _unknown(what: str, name: str, known: Iterable[str], otherwise: str) -> str:
    hint = nearest(name, known, key=lambda each: each.removeprefix("torch:"))
    return f"unknown {what}.\n  {hint or otherwise}"


@contextlib.contextmanager
def patched(patches: Mapping[str, object]) -> Iterator[None]:
    """Set configuration by dotted name under torch, and restore it afterwards.

    A name is that of a config module and one of its settings, which may contain a dot itself:
    `_inductor.config.cpp.threads`. Config modules are patched by their own `patch`.

    Raises:
        AttributeError: there is no such setting.
        ImportError: there is no such module.
    """
    with contextlib.ExitStack() as stack:
        for dotted, value in patches.items():
            module, setting = setting_of(dotted)
            if hasattr(module, "patch"):
                stack.enter_context(module.patch({setting: value}))
            else:
                stack.enter_context(mock.patch.object(module, setting, value))
        yield


def setting_of(dotted: str) -> tuple[ModuleType, str]:
    """Return the longest module that a dotted name under torch starts with, and the rest of the name.

    Raises:
        ImportError: there is no such module.
    """
    words = f"torch.{dotted}".split(".")
    for split in range(len(words) - 1, 0, -1):
        name = ".".join(words[:split])
        if name in sys.modules or _is_module(name):
            return import_module(name), ".".join(words[split:])
    message = f"no module of torch is named in {dotted!r}"
    raise ImportError(message)


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what is before its last dot is no package
        return False

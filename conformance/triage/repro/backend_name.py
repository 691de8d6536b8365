"""Child side: how a script that does not know this project names a backend."""

from __future__ import annotations

import ast
import sys
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend.resolution import resolve, setting_of
from conformance.model.enums import Stage
from conformance.model.errors import UsageError
from conformance.triage.repro.script import Compiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["describe"]

_OWN = Path(__file__).parents[2]
_TESTS = _OWN / "tests"


def describe(ref: str, report: Callable[[Stage], None]) -> Compiler:
    """Return how a script names a backend.

    Args:
        ref: backend spec.
        report: called with the stage.

    Raises:
        BackendError: nothing has that name.
        UsageError: its compiler, or a setting of it, cannot be written down without this project.
    """
    report(Stage.LOAD)
    backend = resolve(ref)
    settings = {"backend": backend.name, **backend.compile}
    imports, expression = _named(settings.pop("backend"), ref)
    return Compiler(
        imports=(
            *(f"import {module}" for module in backend.imports),
            *imports,
            *_imports(backend.patches),
        ),
        expression=expression,
        options={name: _literal(value, ref) for name, value in settings.items()},
        patches={name: _literal(value, ref) for name, value in backend.patches.items()},
        imports_of_random=tuple(_imports(backend.eager_random)),
        env=backend.env,
    )


def _imports(settings: Iterable[str]) -> Iterator[str]:
    for name in settings:
        yield f"import {setting_of(name)[0].__name__}"


def _literal(value: object, ref: str) -> str:
    text = repr(value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise UsageError(_refusal(ref, f"its setting {text} cannot be written down")) from None
    return text


def _named(compiler: object, ref: str) -> tuple[tuple[str, ...], str]:
    """The lines that import a compiler, and its name then."""
    if isinstance(compiler, str):
        return (), repr(compiler).replace("'", '"')
    home, _, attribute = ref.rpartition(":")
    if home.endswith(".py"):
        return _of_file(compiler, Path(home), attribute, ref)
    module, name = getattr(compiler, "__module__", ""), getattr(compiler, "__qualname__", "")
    if home and _is_at(compiler, home, attribute):
        module, name = home, attribute
    if not _is_at(compiler, module, name):
        raise UsageError(_refusal(ref, "no module has its compiler by a name"))
    if module.partition(".")[0] == "conformance" and not module.startswith("conformance.tests."):
        raise UsageError(_refusal(ref, f"its compiler is {module}.{name}, of this project"))
    return _imported(module, name)


def _of_file(compiler: object, path: Path, attribute: str, ref: str) -> tuple[tuple[str, ...], str]:
    if not _is_at(compiler, f"_conformance_{path.stem}", attribute):
        raise UsageError(_refusal(ref, "it is no plain callable"))
    if path.is_relative_to(_TESTS):
        return _imported(".".join(path.relative_to(_OWN.parent).with_suffix("").parts), attribute)
    lines = (
        "import importlib.util",
        f'spec = importlib.util.spec_from_file_location("{path.stem}", {str(path)!r})',
        "module = importlib.util.module_from_spec(spec)",
        "spec.loader.exec_module(module)",
    )
    return lines, f"module.{attribute}"


def _imported(module: str, name: str) -> tuple[tuple[str, ...], str]:
    return (f"from {module} import {name.partition('.')[0]}",), name


def _is_at(value: object, module: str, name: str) -> bool:
    try:
        return attrgetter(name)(sys.modules[module]) is value
    except (AttributeError, KeyError):
        return False


def _refusal(ref: str, why: str) -> str:
    return f"a script by itself cannot name the backend {ref}: {why}"

"""Check import paths of Python code by reading its text: nothing is imported, and nothing runs.

An import path is `path/to/file.py:attribute` or `package.module:attribute`. Names that the text does not show, such as
those of a star import, are checked only when it runs.
"""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.errors import UsageError
from conformance.model.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["functions", "parsed", "refuse_absent", "refuse_function"]

_DYNAMIC = frozenset({"exec", "globals", "setattr", "vars"})
"""Functions by which a file may define names that its text does not show."""

_INDENT = "\n  "
_MANY = 20  # names that a hint lists


def refuse_absent(ref: str) -> None:
    """Refuse an import path whose file, package or name does not exist.

    Args:
        ref: `path/to/file.py:attribute` or `package.module:attribute`.

    Raises:
        UsageError: it does not exist; the message lists what does.
    """
    home, _, name = ref.rpartition(":")
    if not home.endswith(".py"):
        _refuse_absent_package(home)
        return
    path = _file(home)
    try:
        tree = parsed(path)
    except UsageError:  # whoever imports the file reports that it is not Python
        return
    known = _bound(tree)
    first = name.partition(".")[0]
    if known is not None and first not in known:
        raise UsageError(_unknown(first, path, [each for each in known if not each.startswith("_")]))


def refuse_function(ref: str) -> None:
    """Refuse the import path of a missing function of a user; for a file alone, the message lists its functions.

    Raises:
        UsageError: there is no such file, it is no Python, or it has no such name.
    """
    home, colon, name = ref.rpartition(":")
    if not colon and ref.endswith(".py"):
        raise UsageError(_which(ref, functions(parsed(_file(ref)))))
    if not (home and name):
        message = f"{ref!r} is not of the form path/to/file.py:function or module:function"
        raise UsageError(message)
    if home.endswith(".py"):
        parsed(_file(home))
    refuse_absent(ref)


def functions(tree: ast.Module) -> list[str]:
    """Return the public functions and classes of a file, in its order, without those that make inputs."""
    defined = [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)]
    return [name for name in defined if not name.startswith("_") and name != "inputs" and not name.endswith("_inputs")]


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        UsageError: it cannot be read, or is no Python.
    """
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UsageError(message) from error
    except SyntaxError as error:
        place = f"{path}:{error.lineno}:{error.offset}" if error.lineno else str(path)
        message = f"{place}: {error.msg}" + (f"\n    {error.text.strip()}" if error.text else "")
        raise UsageError(message) from error
    except ValueError as error:  # null bytes
        message = f"{path} is no Python: {error}"
        raise UsageError(message) from error


def _file(home: str) -> Path:
    path = Path(home).expanduser()
    if path.is_dir():
        message = f"{path} is a folder; name a file, as path/to/file.py:name."
        raise UsageError(message)
    if not path.is_file():
        beside = [str(each) for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = nearest(str(path), beside, most=1)
        message = f"no file {path}.{hint and f'{_INDENT}{hint}'}"
        raise UsageError(message)
    return path


def _refuse_absent_package(name: str) -> None:
    """Look for the top-level package of a module; what is inside it is known only when it is imported."""
    top = name.partition(".")[0]
    # Where it is imported, the working directory is on the path.
    if top in sys.modules or Path(top).is_dir() or Path(f"{top}.py").is_file() or find_spec(top) is not None:
        return
    message = f"no module {top!r}, in which {name}:attribute would be."
    raise UsageError(message)


def _bound(tree: ast.Module) -> list[str] | None:
    """Return the names that a file defines, in their order; None if its text may not show all of them."""
    names: list[str] = []
    for node in _outside_functions(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names += [alias.asname or alias.name.partition(".")[0] for alias in aliases]
            case ast.Name(id=name, ctx=ast.Store()):
                names.append(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.append(name)
            case _:
                continue
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    declared = any(isinstance(node, ast.Global) for node in ast.walk(tree))
    hidden = {"*", "__getattr__"} & {*names} or called & _DYNAMIC or declared
    return None if hidden else list(dict.fromkeys(names))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a file that run when it is imported, except those inside functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _outside_functions(child)


def _unknown(name: str, path: Path, known: Sequence[str]) -> str:
    hint = nearest(name, known)
    more = " ..." if len(known) > _MANY else ""
    return f"no {name!r} in {path}; it has {', '.join(known[:_MANY]) or 'nothing'}{more}{hint and f'{_INDENT}{hint}'}"


def _which(ref: str, known: Sequence[str]) -> str:
    if not known:
        return f"{ref} defines no function; name a file and a function, as path/to/file.py:function"
    lines = "\n".join(f"  conformance check {ref}:{name}" for name in known)
    return f"{ref} is a file; name one of its functions:\n{lines}"

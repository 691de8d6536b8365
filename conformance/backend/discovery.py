"""Parent side: find and describe backends by backend spec; names are read without importing anything."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend.import_path import refuse_absent
from conformance.model.errors import BackendError, UsageError
from conformance.model.ladder import by_ladder
from conformance.model.suggestions import nearest
from conformance.model.user_function import PICKLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.model.request import BackendInfo

__all__ = ["GROUP", "find", "names", "portable", "refuse_unknown", "relative", "usable"]

GROUP = "conformance.backends"
_OF_TORCH = "torch"  # what is before the colon if torch itself knows the name


def names() -> list[str]:
    """Return every backend that an installed distribution declares, in the order of the ladder."""
    return by_ladder(point.name for point in entry_points(group=GROUP))


def find(refs: Sequence[str], describe: Callable[[str], BackendInfo]) -> tuple[BackendInfo, ...]:
    """Describe each backend; no refs means every declared one.

    Raises:
        BackendError: a plain name that nobody declares, or two backends with the same name.
    """
    for ref in refs:
        _refuse_undeclared(ref)
    infos = tuple(describe(ref) for ref in dict.fromkeys(refs or names()))
    _refuse_namesakes(infos)
    return infos


def refuse_unknown(ref: str) -> None:
    """Refuse the spec of a missing backend, as far as that can be known without importing anything.

    Raises:
        BackendError: nobody declares the name, or there is no such file, package or attribute.
    """
    _refuse_undeclared(ref)
    is_handed_over = f"{PICKLE}:" in ref
    if ":" not in ref or ref.startswith(f"{_OF_TORCH}:") or is_handed_over:
        return
    try:
        refuse_absent(ref)
    except UsageError as error:
        raise BackendError(str(error)) from error


def _refuse_undeclared(ref: str) -> None:
    if ":" not in ref and ref not in (known := names()):
        raise BackendError(_unknown(ref, known))


def usable(info: BackendInfo) -> BackendInfo:
    """Return the backend if it can be used here.

    Raises:
        BackendError: it cannot.
    """
    if reason := info.broken or info.unavailable:
        message = f"{info.name} cannot be used here: {reason}"
        raise BackendError(message)
    return info


def relative(ref: str) -> str:
    """Shorten a backend spec for the working directory: the path of a file below it becomes relative."""
    home, colon, attribute = ref.rpartition(":")
    here = Path.cwd()
    if not home.endswith(".py") or not Path(home).is_relative_to(here):
        return ref
    return f"{Path(home).relative_to(here)}{colon}{attribute}"


def portable(info: BackendInfo) -> BackendInfo:
    """Return the part of a backend that files contain, which does not depend on where it is installed."""
    return replace(info, ref=relative(info.ref), expectations=None, env={}, tags=frozenset())


def _unknown(ref: str, known: Sequence[str]) -> str:
    hint = nearest(ref, known) or f"Known: {', '.join(known) or 'none'}."
    return f"unknown backend {ref!r}. {hint}\n  Also: torch:NAME, package.module:attribute, path/to/file.py:attribute."


def _refuse_namesakes(infos: Sequence[BackendInfo]) -> None:
    refs: dict[str, str] = {}
    for info in infos:
        if info.name in refs:
            both = f"{refs[info.name]!r} and {info.ref!r}"
            message = f"{both} are both called {info.name!r}: their records could not be distinguished"
            raise BackendError(message)
        refs[info.name] = info.ref

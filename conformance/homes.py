"""Every case there is: the packaged ones, those that installed packages bring, and those of further folders."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import CaseError, Problem
from conformance.loader import load_cases
from conformance.model import Location

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.metadata import EntryPoint
    from importlib.resources.abc import Traversable

    from conformance.model import Case

__all__ = ["GROUP", "PACKAGED", "collect", "homes"]

GROUP = "conformance.cases"
"""The entry points that name folders of cases: `mylib.cases` is the folder `cases` of the package `mylib`."""

PACKAGED = "conformance.cases"


def collect(folders: Sequence[Path] = ()) -> tuple[Case, ...]:
    """Read the cases of every home.

    Args:
        folders: of case files, beyond what is installed.

    Raises:
        CaseError: with every problem of every file, and of every entry point.
    """
    places = homes(folders)
    return load_cases(places) if len(places) > 1 else load_cases()


def homes(folders: Sequence[Path] = ()) -> tuple[Traversable | Path, ...]:
    """Where cases are: the packaged ones, those of installed packages by name of their entry points, and `folders`.

    Raises:
        CaseError: an entry point names no folder.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return (files(PACKAGED), *map(_folder, points), *folders)


def _folder(point: EntryPoint) -> Path:
    """The folder that an entry point names; no code of the package runs."""
    package, _, rest = point.value.strip().replace(":", ".").partition(".")
    spec = find_spec(package) if package else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place, *filter(None, rest.split(".")))).is_dir():
            return folder
    origin = f"{point.dist.name} {point.dist.version}: " if point.dist else ""
    hint = "It names a folder inside a package, as a dotted name: mylib.cases for mylib/cases/*.yaml."
    where = Location(file=f"{origin}entry point {point.name!r} of group {GROUP!r}")
    raise CaseError([Problem(where, f"there is no folder {point.value!r}", hint)])

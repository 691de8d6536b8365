"""All cases: the packaged ones, those that installed packages bring, and those of further folders."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.case_cache import CaseCache, user_folder
from conformance.catalogue.case_set import whole
from conformance.model.case import Location
from conformance.model.errors import CaseError, Problem, SelectionError
from conformance.model.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.metadata import EntryPoint
    from importlib.resources.abc import Traversable

    from conformance.model.case import Case

    Reader = Callable[[Traversable | Path, str], Iterable[Case | Problem]]

__all__ = ["GROUP", "PACKAGED", "case_called", "collect", "homes"]

GROUP = "conformance.cases"
"""The entry points that name folders of cases: `mylib.cases` is the folder `cases` of the package `mylib`."""

PACKAGED = "conformance.cases"
_LABEL = "cases"  # name of the packaged folder in locations if it is the only one


def collect(folders: Sequence[Path] = (), read: Reader | None = None) -> tuple[Case, ...]:
    """Return the cases of every folder.

    Args:
        folders: of case files, beyond what is installed.
        read: reads a folder, given the label that its locations begin with; default: through this user's cache.

    Raises:
        CaseError: with every problem of every file, and of every entry point.
    """
    places = homes(folders)
    labels = map(str, places) if len(places) > 1 else (_LABEL,)
    read = read or CaseCache(user_folder()).read
    return whole(each for place, label in zip(places, labels, strict=True) for each in read(place, label))


def homes(folders: Sequence[Path] = ()) -> tuple[Traversable | Path, ...]:
    """Return the folders of cases: the packaged one, those of installed packages by entry point name, and `folders`.

    Raises:
        CaseError: an entry point names no folder.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return (files(PACKAGED), *map(_folder, points), *folders)


def _folder(point: EntryPoint) -> Path:
    """Return the folder that an entry point names; no code of the package runs."""
    package, _, rest = point.value.strip().replace(":", ".").partition(".")
    spec = find_spec(package) if package else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (folder := Path(place, *filter(None, rest.split(".")))).is_dir():
            return folder
    origin = f"{point.dist.name} {point.dist.version}: " if point.dist else ""
    hint = "It names a folder inside a package, as a dotted name: mylib.cases for mylib/cases/*.yaml."
    where = Location(file=f"{origin}entry point {point.name!r} of group {GROUP!r}")
    raise CaseError([Problem(where, f"there is no folder {point.value!r}", hint)])


def case_called(case_id: str, folders: Sequence[Path] = ()) -> Case:
    """Return the case that has an id.

    Raises:
        SelectionError: there is none; the message suggests similar ids.
        CaseError: the cases cannot be read.
    """
    known = collect(folders)
    case = next((case for case in known if case.id == case_id), None)
    if case is None:
        hint = nearest(case_id, [case.id for case in known]) or "`conformance list` shows what there is."
        message = f"no case is called {case_id!r}.\n  {hint}"
        raise SelectionError(message)
    return case

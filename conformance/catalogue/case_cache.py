"""A cache of loaded cases that processes share: reading case files takes longer than most commands.

The name of an entry is a digest of all that it depends on: the texts of the files, the modules that make cases of
them, and Python. So no entry is ever out of date. One that is damaged, or that another user may have written, counts as
missing, and so does a cache that cannot be read or written.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
import tempfile
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.case_set import OPERATIONS_DATA, files_of
from conformance.model.case import Case

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

    from conformance.model.errors import Problem

__all__ = ["MAKERS", "CaseCache", "entry_name", "user_folder"]

MAKERS = (
    "catalogue/__init__",
    "catalogue/case_cache",
    "catalogue/case_set",
    "catalogue/documents",
    "catalogue/families",
    "catalogue/loader",
    "catalogue/operations",
    "catalogue/pairwise",
    "catalogue/rules",
    "catalogue/validation",
    "catalogue/yaml_source",
    "isolation/__init__",
    "isolation/garbage",
    "isolation/process",
    "model/__init__",
    "model/case",
    "model/check_catalogue",
    "model/device",
    "model/enums",
    "model/errors",
    "model/moves",
    "model/suggestions",
    "model/user_function",
    "program/__init__",
    "program/allowed_attributes",
    "program/allowed_names",
    "program/build",
    "program/nests",
    "program/parsing",
    "program/subset",
)
"""The modules of this package that determine the cases of a case file."""

_KEPT = 16  # entries; all packaged cases take 2 MB
_DIGEST = hashlib.sha256().digest_size
_SHARED = stat.S_IWGRP | stat.S_IWOTH


def user_folder() -> Path | None:
    """Return the folder of this user's entries; None if there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return home / "torch-compile-conformance" / "cases"


def entry_name(folder: Traversable | Path, label: str, package: Traversable | Path | None = None) -> str:
    """Return the name of the entry of a folder of case files; raise OSError if one of them cannot be read.

    Args:
        folder: of case files, or one of them.
        label: its name in locations.
        package: the folder of the modules that make cases; default: this package.
    """
    package = package or resources.files("conformance")
    texts = [(name, (package / f"{name}.py").read_bytes()) for name in MAKERS]
    files = [folder] if folder.is_file() else files_of(folder)
    files += [resources.files("conformance.cases") / OPERATIONS_DATA]
    texts += [(file.name, file.read_bytes()) for file in files]
    found = hashlib.sha256(os.fsencode(f"{sys.version}\n{label}\n"))
    for name, text in texts:
        found.update(os.fsencode(f"{name} {len(text)}\n") + text)
    return found.hexdigest()


class CaseCache:
    """The entries in a folder.

    Args:
        folder: of the entries, which need not exist; None disables the cache.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, folder: Traversable | Path, label: str) -> Sequence[Case | Problem]:
        """Return the cached cases of a folder; else read them, and cache them if nothing is wrong."""
        name = _name(folder, label)
        if name and (cases := self._get(name)) is not None:
            return cases
        from conformance.catalogue.loader import load_folder  # noqa: PLC0415 - the loader takes long to import

        found = load_folder(folder, label)
        cases = [each for each in found if isinstance(each, Case)]
        # A file may have changed while it was read.
        if name and len(cases) == len(found) and _name(folder, label) == name:
            self._put(name, cases)
        return found

    def _get(self, name: str) -> list[Case] | None:
        if self._folder is None:
            return None
        try:
            with (self._folder / name).open("rb") as file:
                if not _is_private(os.fstat(file.fileno())):
                    return None
                content = file.read()
        except OSError:
            return None
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if digest != _digest(name, payload):
            return None
        with suppress(OSError):
            os.utime(self._folder / name)  # what is used is kept
        cases: list[Case] = pickle.loads(payload)  # noqa: S301 - whole, and written by this user
        return cases

    def _put(self, name: str, cases: list[Case]) -> None:
        if self._folder is None:
            return
        payload = pickle.dumps(cases, pickle.HIGHEST_PROTOCOL)
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._folder / name, _digest(name, payload) + payload)
            for path in _superfluous(self._folder):
                path.unlink(missing_ok=True)


def _name(folder: Traversable | Path, label: str) -> str | None:
    """Return the name of an entry; None if a file cannot be read, which the loader reports."""
    try:
        return entry_name(folder, label)
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically, even if other processes write it at the same time."""
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _superfluous(folder: Path) -> list[Path]:
    """Return the least recently used files, including those that killed processes left."""
    newest = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return newest[_KEPT:]


def _digest(name: str, payload: bytes) -> bytes:
    return hashlib.sha256(name.encode() + payload).digest()


def _is_private(found: os.stat_result) -> bool:
    """Return whether only this user can have written a file: it is unpickled, and its programs run."""
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _SHARED

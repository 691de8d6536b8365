"""Python imports this at its start where the folder is on its path: one module is loaded with another source text.

`CONFORMANCE_MUTANT` names a file: the module on the first line, the text to load after it. No file of torch is changed.
`CONFORMANCE_TRACED` is a pattern of files: the lines that are reached of them are recorded from here on.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


class _Loader(SourceFileLoader):
    """Loads a text as if it stood in the file of the module."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        """Never from bytecode, which is that of the file."""
        return compile(self._text, self.get_filename(fullname), "exec", dont_inherit=True)


class Finder:
    """Finds one module, with its own text."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of the module if it is asked for."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == self._name else None
        if spec and spec.origin:
            spec.loader = _Loader(fullname, spec.origin, self._text)
        return spec


if os.environ.get("CONFORMANCE_TRACED"):
    import coverage

    coverage.Coverage(data_file=None, config_file=False, include=[os.environ["CONFORMANCE_TRACED"]]).start()

if os.environ.get("CONFORMANCE_MUTANT"):
    name, _, text = Path(os.environ["CONFORMANCE_MUTANT"]).read_text(encoding="utf-8").partition("\n")
    sys.meta_path.insert(0, Finder(name, text))

"""Change a module in this process: whatever calls its functions from then on calls those of a mutant.

It imports little, for a child that runs a mutant imports it.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

from conformance.tests.jobs.mutants.codes import compiled, differing
from conformance.tests.jobs.mutants.site.sitecustomize import Finder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType

__all__ = ["become"]


def become(mutant: Path) -> None:
    """Change a module into a mutant: loaded already, its functions; else it will be loaded with the other text.

    Args:
        mutant: a file: the name of the module on the first line, then its text, which differs within functions alone.
    """
    name, _, text = mutant.read_text(encoding="utf-8").partition("\n")
    module = sys.modules.get(name)
    if module is None:
        sys.meta_path.insert(0, Finder(name, text))
        return
    origin = module.__file__ or ""
    before = Path(origin).read_text(encoding="utf-8")
    codes = dict(differing(compiled(before, origin), compiled(text, origin)))
    for function in _holders(codes):
        function.__code__ = codes[function.__code__]


def _holders(codes: Mapping[CodeType, CodeType]) -> Iterator[FunctionType]:
    """The functions that have one of these codes."""
    files, names = {code.co_filename for code in codes}, {code.co_name for code in codes}
    gc.unfreeze()  # a fork server hides what it has loaded from the collector
    objects = gc.get_objects()
    gc.freeze()
    for each in objects:
        if type(each) is FunctionType:
            code = each.__code__
            if code.co_name in names and code.co_filename in files and code in codes:
                yield each

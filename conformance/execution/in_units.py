"""Run requests in a child whose kernels are compiled in units with those of other children."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from conformance.execution.kernel_units import KernelUnits

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.enums import Stage
    from conformance.model.request import Request
    from conformance.model.result import Attempts

__all__ = ["InUnits", "run_all"]


@dataclass(frozen=True, kw_only=True)
class InUnits:
    """Requests to run, and the folder in which children leave the kernels that they need."""

    requests: tuple[Request, ...]
    folder: str


def run_all(given: InUnits, report: Callable[[Stage], None]) -> Attempts:
    """Run requests as `observe.run_all` does."""
    units = Path(given.folder, "units")
    units.mkdir(parents=True, exist_ok=True)
    builder = import_module("torch._inductor.cpp_builder")
    vars(builder)["run_compile_cmd"] = KernelUnits(units, builder.run_compile_cmd)
    # A cache of its own: what a child finds there does not depend on others, and nobody later gets a library of many.
    with TemporaryDirectory(dir=given.folder, ignore_cleanup_errors=True) as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        made: Attempts = import_module("conformance.execution.observe").run_all(given.requests, report)
        return made

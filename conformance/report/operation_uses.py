"""How often real models call each operation, as `python -m conformance.tests.jobs.operations.uses` counted it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PATH", "Uses", "read_uses"]

PATH = Path(__file__).with_name("operation_uses.json")


@dataclass(frozen=True, kw_only=True)
class Uses:
    """How many of so many functions and modules of real models call an operation, by its id."""

    functions: int
    uses: Mapping[str, int]

    def of(self, operation: str) -> int:
        """How many call an operation."""
        return self.uses.get(operation, 0)


def read_uses() -> Uses:
    """Return what was counted."""
    return Uses(**json.loads(PATH.read_text(encoding="utf-8")))

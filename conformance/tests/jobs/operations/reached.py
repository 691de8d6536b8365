"""Which overloads the cases of each operation were seen to reach: a file beside this one, one line an operation."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["read_reached", "write_reached"]

_NAME = "reached.json"


def read_reached() -> dict[str, frozenset[str]]:
    """Return the overloads by the id of the operation."""
    text = (files(__package__) / _NAME).read_text(encoding="utf-8")
    return {name: frozenset(overloads) for name, overloads in json.loads(text).items()}


def write_reached(reached: Mapping[str, AbstractSet[str]]) -> None:
    """Write them."""
    lines = [f"{json.dumps(name)}: {json.dumps(sorted(overloads))}" for name, overloads in sorted(reached.items())]
    Path(str(files(__package__) / _NAME)).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

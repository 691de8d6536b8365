"""The expectations files of installed backends, read from their declarations in a Python process of its own.

A declaration need not import torch, so this takes a fraction of a second where a fork server takes ten. `python -m
conformance.backend.declarations NAME ...` is that process: it prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend.resolution import declared_expectations

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["expectations"]

_LIMIT_S = 60.0


def expectations(names: Sequence[str]) -> dict[str, Path | None]:
    """Return the expectations file of each installed backend, or None for one that has none.

    A backend whose declaration cannot be imported is left out; all are if importing one ends the process or hangs.
    """
    # -P: a folder `conformance` in the working directory is not this package.
    line = [sys.executable, "-P", "-m", "conformance.backend.declarations", *names]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_LIMIT_S, check=False
        )
        found: dict[str, str | None] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return {name: Path(path) if path else None for name, path in found.items()}


def main(names: Sequence[str]) -> None:
    """Print the expectations files as JSON; what a declaration itself prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        found: dict[str, str | None] = {}
        for name in names:
            try:
                path = declared_expectations(name)
            except (Exception, SystemExit):  # noqa: BLE001, S112 - a plug-in may raise anything; a child reports it
                continue
            found[name] = str(path) if path else None
        json.dump(found, out)


if __name__ == "__main__":
    main(sys.argv[1:])

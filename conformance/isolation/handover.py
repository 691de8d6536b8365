"""Python objects that are passed to another process in a file: a user's function, or a backend without a name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import cloudpickle

from conformance.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read", "write"]


def write(path: Path, what: str, values: Mapping[str, object]) -> None:
    """Pickle objects by name, with the search path of their modules.

    Args:
        path: the file.
        what: their name in an error message.
        values: the objects.

    Raises:
        UsageError: one cannot be pickled.
    """
    try:
        content = cloudpickle.dumps(dict(values))
    except Exception as error:
        message = f"{what} cannot be handed to another process: {type(error).__name__}: {error}"
        raise UsageError(message) from error
    path.write_bytes(cloudpickle.dumps((sys.path, content)))


def read(path: Path) -> dict[str, Any]:
    """Return the objects in a file, by name; whatever importing their modules raises passes through."""
    paths, content = cloudpickle.loads(path.read_bytes())
    sys.path += [each for each in paths if each not in sys.path]
    values: dict[str, Any] = cloudpickle.loads(content)
    return values

"""One codec for everything that leaves a process: dataclasses of `conformance.model` to plain JSON and back."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

__all__ = ["encode", "from_plain", "to_plain"]

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  any dataclass; mypy knows no narrower type for it
    return TypeAdapter(kind)


def to_plain(value: object) -> Any:  # noqa: ANN401  any JSON value
    """Turn a dataclass into plain JSON values, leaving out fields that have their default."""
    kind: Any = type(value)  # mypy takes no class for hashable
    return _adapter(kind).dump_python(value, mode="json", exclude_defaults=True)


def from_plain(kind: type[T], plain: object) -> T:
    """Build a dataclass from plain JSON values; raises ValueError where they do not fit."""
    hashable: Any = kind
    value: T = _adapter(hashable).validate_python(plain)
    return value


def encode(plain: object) -> str:
    """Write plain values as one line of JSON. NaN and infinities survive; text that UTF-8 cannot encode becomes `?`."""
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")

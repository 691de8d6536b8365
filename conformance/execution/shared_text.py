"""Text that a process and those forked from it share, by keys, without files, locks or another process."""

from __future__ import annotations

import hashlib
import mmap

__all__ = ["SharedText"]

_PAGES = 16
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 4  # bytes of the length of a text


class SharedText:
    """Texts by keys; what another process puts may be missed, and is never read in part."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PAGES * mmap.PAGESIZE)

    def get(self, key: str) -> str | None:
        """The text of a key, or None where there is none, it is being written, or another one has taken its place."""
        start = _page(key)
        page = self._memory[start : start + mmap.PAGESIZE]
        length = int.from_bytes(page[_DIGEST : _DIGEST + _LENGTH], "big")
        text = page[_DIGEST + _LENGTH :][:length]
        return text.decode() if page[:_DIGEST] == _digest(key, text) else None

    def put(self, key: str, text: str) -> None:
        """Keep a text; one that is too long is not kept."""
        data = text.encode()
        entry = _digest(key, data) + len(data).to_bytes(_LENGTH, "big") + data
        if len(entry) <= mmap.PAGESIZE:
            start = _page(key)
            self._memory[start : start + len(entry)] = entry


def _digest(key: str, text: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + text).digest()


def _page(key: str) -> int:
    return hashlib.sha256(key.encode()).digest()[0] % _PAGES * mmap.PAGESIZE

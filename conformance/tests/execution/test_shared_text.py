"""What a process puts is found by those forked from the same one, whole or not at all."""

from __future__ import annotations

import os

from conformance.execution.shared_text import SharedText


def test_what_a_fork_puts_is_found_by_all() -> None:
    """By the process that it was forked from, too."""
    shared = SharedText()
    if (pid := os.fork()) == 0:
        shared.put("key", "a path")
        os._exit(0)
    os.waitpid(pid, 0)
    assert shared.get("key") == "a path"


def test_what_nobody_has_put_is_missing() -> None:
    """Another key of the same place is another one."""
    shared = SharedText()
    shared.put("key", "text")
    assert [shared.get(f"other {number}") for number in range(64)] == [None] * 64


def test_a_key_may_lose_its_place() -> None:
    """The last one that was put there is right, and the others are missing."""
    shared = SharedText()
    for number in range(64):
        shared.put(f"key {number}", f"text {number}")
    found = {number: text for number in range(64) if (text := shared.get(f"key {number}"))}
    assert 0 < len(found) <= 16
    assert all(text == f"text {number}" for number, text in found.items())


def test_what_is_too_long_is_not_kept() -> None:
    """Nor is it read in part."""
    shared = SharedText()
    shared.put("key", "x" * 5000)
    assert shared.get("key") is None

"""What a process puts is found by those forked from the same one, whole or not at all."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from conformance.execution.shared_text import SharedText

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.torch
def test_a_precompiled_header_is_looked_for_by_one_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others find it, for the same command line and as long as it is there."""
    codecache, warmup = map(import_module, ("torch._inductor.codecache", "conformance.execution.warmup"))
    looked = tmp_path / "looked"

    def find(header: str, hashable_cmd_line: str, **_: object) -> str:
        with looked.open("a") as file:
            file.write(f"{header} {hashable_cmd_line}\n")
        (tmp_path / header).touch()
        return str(tmp_path / header)

    monkeypatch.setattr(codecache, "_precompile_header", find)
    next(step for step in warmup.steps() if step.name == "share precompiled headers").action()
    if (pid := os.fork()) == 0:
        codecache._precompile_header("a.h", "-O3", vec_isa="any")
        os._exit(0)
    os.waitpid(pid, 0)
    paths = [codecache._precompile_header("a.h", flags, vec_isa="any") for flags in ("-O3", "-O1", "-O3")]
    assert set(paths) == {str(tmp_path / "a.h")}
    assert looked.read_text().splitlines() == ["a.h -O3", "a.h -O1"]
    (tmp_path / "a.h").unlink()
    codecache._precompile_header("a.h", "-O3")
    assert looked.read_text().splitlines()[2:] == ["a.h -O3"]


@pytest.mark.torch
def test_an_instruction_set_is_tried_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others take its answer, whichever it is."""
    instruction_sets, warmup = map(import_module, ("torch._inductor.cpu_vec_isa", "conformance.execution.warmup"))
    vec_isa, tried = instruction_sets.VecISA, tmp_path / "tried"

    def load(_: object, output_path: str) -> bool:
        with tried.open("a") as file:
            file.write(f"{output_path}\n")
        return output_path == "good.so"

    monkeypatch.setattr(vec_isa, "_probe_load", load)
    next(step for step in warmup.steps() if step.name == "share which instruction sets work").action()
    if (pid := os.fork()) == 0:
        for path in ("good.so", "bad.so"):
            vec_isa()._probe_load(path)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [vec_isa()._probe_load(path) for path in ("good.so", "bad.so", "good.so")] == [True, False, True]
    assert tried.read_text().split() == ["good.so", "bad.so"]

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import fields, replace
from datetime import datetime, timedelta
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from conformance.isolation import torch_release
from conformance.records import environment
from conformance.tests.fakes import an_environment

if TYPE_CHECKING:
    from pathlib import Path


def a_compiler(folder: Path, script: str) -> str:
    """An executable that replaces a compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_processes_of_one_kernel_are_on_one_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By when it was booted; where that is not known, by name."""
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(environment, "_BOOT", boot)
    assert environment.machine() == platform.node()
    boot.write_text("25e3\n")
    assert environment.machine() == "25e3"


def test_the_environment_is_this_machine() -> None:
    """Versions come from what is installed, the rest from the machine."""
    seen = environment.capture()
    assert seen.torch == torch_release.installed().version
    assert seen.python == platform.python_version()
    assert seen.platform == f"{platform.system()}-{platform.machine()}"
    assert seen.packages["torch-compile-conformance"] == metadata.version("torch-compile-conformance")
    assert seen.threads >= 1
    assert datetime.now().astimezone() - datetime.fromisoformat(seen.started) < timedelta(minutes=1)


def test_capturing_imports_no_torch() -> None:
    """The parent never imports torch."""
    code = (
        "import sys; from conformance.records import environment; environment.capture(); print('torch' in sys.modules)"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "False\n"


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is there has a version."""
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package"))
    assert environment.capture().packages.keys() == {"numpy"}


@pytest.mark.parametrize(
    ("cpuinfo", "processor", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Fast CPU\nmodel name\t: Fast CPU\n", "other", "Fast CPU"),
        ("processor: 0\n", "other", "other"),
        (None, "", "unknown"),
    ],
)
def test_the_cpu_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, processor: str, expected: str
) -> None:
    """From the kernel if available, else from the platform, else unknown."""
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(environment, "_CPUINFO", path)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    assert environment.capture().cpu == expected


def test_threads_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container is often given fewer than the machine has; where that is not known, all count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert environment.capture().threads == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert environment.capture().threads == 12


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo first line; echo second", "first line"), ("exit 1", "none"), ("exit 0", "none")],
)
def test_the_compiler_is_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str
) -> None:
    """One line names the compiler and its version; one without that output is none."""
    monkeypatch.setenv("CXX", f"{a_compiler(tmp_path, script)} -O2")
    assert environment.capture().compiler == expected


def test_a_missing_compiler_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine need not have one."""
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert environment.capture().compiler == "none"


@pytest.mark.parametrize("name", [field.name for field in fields(an_environment())])
def test_the_fingerprint_distinguishes_environments(name: str) -> None:
    """Every field counts but the time of the start."""
    value: object = {"torch": "1"} if name == "packages" else 99 if name == "threads" else "other"
    changed = replace(an_environment(), **{name: value})  # type: ignore[arg-type]
    same = environment.fingerprint(changed) == environment.fingerprint(an_environment())
    assert same == (name == "started")


def test_the_suite_hash_depends_on_the_case_files_alone(tmp_path: Path) -> None:
    """Another text or another name is another suite; other files are not."""
    (tmp_path / "one_two.yaml").write_text("topic: x")
    before = environment.suite_hash([tmp_path])
    (tmp_path / "README.md").write_text("words")
    assert environment.suite_hash([tmp_path]) == before
    (tmp_path / "one_two.yaml").write_text("topic: y")
    assert environment.suite_hash([tmp_path]) != before
    assert environment.suite_hash() == environment.capture().suite_hash

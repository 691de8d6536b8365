"""The machine and software of a run, captured without importing torch."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.isolation import torch_release
from conformance.model.result import Environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable

    from conformance.model.request import BackendInfo

__all__ = ["capture", "facts", "fingerprint", "machine", "now", "suite_hash"]

NONE = "none"
_DISTRIBUTION = "torch-compile-conformance"
_PACKAGES = (_DISTRIBUTION, "numpy", "triton")
_GENERATOR = (
    "catalogue/pairwise.py",
    "catalogue/families.py",
    "catalogue/operations.py",
    "model/case.py",
    "program/nests.py",
)
_CPUINFO = Path("/proc/cpuinfo")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_DIGITS = 12


def capture(folders: Sequence[Traversable] = ()) -> Environment:
    """Describe this machine and what is installed on it.

    Args:
        folders: folders of cases; default: those of this package.
    """
    return Environment(
        torch=torch_release.installed().version,
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        cpu=_cpu(),
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        compiler=_compiler(),
        packages=dict(_installed(_PACKAGES)),
        suite_hash=suite_hash(folders),
        started=now(),
    )


def fingerprint(environment: Environment) -> str:
    """Return twelve digits that are equal for equal environments, whenever a run was started."""
    return _hash(json.dumps(facts(environment), sort_keys=True))


def facts(environment: Environment, backends: Iterable[BackendInfo] = ()) -> dict[str, object]:
    """Return named facts of the machine and backends that do not depend on when a run is started."""
    machine = asdict(environment)
    del machine["started"]
    return machine | {
        f"{field.name} of backend {info.name}": getattr(info, field.name) for info in backends for field in fields(info)
    }


def suite_hash(folders: Sequence[Traversable] = ()) -> str:
    """Return twelve digits over the texts of the cases, the case generator, and the version of this package."""
    folders = folders or (resources.files("conformance.cases"),)
    files = [
        file
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".yaml") or file.name == OPERATIONS_DATA
    ]
    files += [resources.files("conformance") / name for name in _GENERATOR]
    texts = sorted((file.name, file.read_text(encoding="utf-8")) for file in files)
    return _hash(json.dumps([metadata.version(_DISTRIBUTION), texts]))


def machine() -> str:
    """Return what all processes have in common that one kernel runs, in whatever container, since it was booted."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _installed(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _cpu() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or "unknown"


def _compiler() -> str:
    command = shlex.split(os.environ.get("CXX") or "c++")
    try:
        result = subprocess.run(  # noqa: S603 - the compiler that Inductor would run too
            [*command, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return NONE
    return next(iter(result.stdout.splitlines()), NONE)

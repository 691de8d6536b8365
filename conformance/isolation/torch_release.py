"""The installed release of torch and its build, read without importing it.

`importlib.metadata` leaves out the local part of PyPI's wheels: it has 2.13.0 where torch itself has 2.13.0+cu130.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.specifiers import SpecifierSet

__all__ = ["NONE", "TorchRelease", "import_failure", "installed", "unsupported"]

NONE = "none"
"""The version and the build of a torch that is not installed or cannot be read."""

_DISTRIBUTION = "torch-compile-conformance"
_BUILDS = {"rocm": "ROCm", "hip": "ROCm", "cuda": "CUDA", "xpu": "XPU"}
"""Constants of `torch/version.py` that identify a build, by precedence."""


@dataclass(frozen=True, kw_only=True)
class TorchRelease:
    """The installed torch.

    Attributes:
        version: with its local part, such as 2.13.0+cu130.
        build: such as CPU, CUDA 13.0 or ROCm 7.0.
        folder: of the package.
        problem: why the version and the build are not known; empty where they are.
    """

    version: str = NONE
    build: str = NONE
    folder: Path | None = None
    problem: str = ""

    def __str__(self) -> str:
        return self.problem or f"torch {self.version} ({self.build} build)"


def installed() -> TorchRelease:
    """Return the torch that `import torch` would find, whether or not it can be imported."""
    try:
        spec = find_spec("torch")
    except ValueError as error:  # another module was put in its place
        return TorchRelease(problem=f"the version of torch cannot be read: {error}")
    if spec is None:
        return TorchRelease(problem="torch is not installed")
    if not spec.submodule_search_locations:
        return TorchRelease(problem=f"the version of torch cannot be read: {spec.origin} is no package")
    folder = Path(next(iter(spec.submodule_search_locations)))
    path = folder / "version.py"
    try:
        constants = _constants(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        return TorchRelease(folder=folder, problem=f"the version of torch cannot be read: {error}")
    version = constants.get("__version__", "")
    try:
        Version(version)
    except InvalidVersion:
        return TorchRelease(
            folder=folder, problem=f"the version of torch cannot be read: {path} has version {version!r}"
        )
    return TorchRelease(version=version, build=_build(constants), folder=folder)


def unsupported(release: TorchRelease) -> str | None:
    """Return why a release cannot be used, in one line: it is missing, unreadable or too old; None if it can be.

    The range is that of this package's own metadata.
    """
    bounds = sorted(_range(), key=lambda bound: Version(bound.version))
    needed = f"this suite needs torch{','.join(map(str, bounds))}"
    if release.problem:
        return f"{release.problem}: {needed}; install it"
    base = Version(Version(release.version).base_version)  # a pre-release counts as its final release
    if any(bound.operator == ">=" and base < Version(bound.version) for bound in bounds):
        return f"torch {release.version} is too old: {needed}; install a newer one"
    return None


def import_failure(release: TorchRelease, env: Mapping[str, str]) -> str | None:
    """Return how `import torch` fails in a process of its own with these variables, or None if it works.

    The text contains the last line of the exception, which names what is missing.
    """
    done = subprocess.run(
        [sys.executable, "-c", "import torch"], env=env, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0:
        return None
    lines = done.stderr.split("\n") if done.returncode > 0 else []
    why = next((line for line in reversed(lines) if line.strip()), f"the process ended with status {done.returncode}")
    python = f"Python {sys.version.split()[0]}, {sys.executable}"
    return f"torch does not import: {why}\n  This is {release} in {release.folder}, with {python}."


def _range() -> SpecifierSet:
    needed = map(Requirement, metadata.requires(_DISTRIBUTION) or ())
    return next(each.specifier for each in needed if each.name == "torch")


def _constants(text: str) -> dict[str, str]:
    """Return the names that a module binds to text at its top level."""
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(value))):
                found[name] = value
    return found


def _build(constants: Mapping[str, str]) -> str:
    found = (f"{build} {constants[name]}" for name, build in _BUILDS.items() if constants.get(name))
    return next(found, "CPU")

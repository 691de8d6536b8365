from __future__ import annotations

import platform
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from conformance.backend import declarations
from conformance.cli.main import main
from conformance.isolation import torch_release
from conformance.records import environment, kept
from conformance.records.kept import Kind
from conformance.tests.commands import CASE, STARTING
from conformance.tests.runs import a_last_run, red
from conformance.tests.servers import end

if TYPE_CHECKING:
    from collections.abc import Iterator


def wheel(version: str, **names: str) -> str:
    """The text of `torch/version.py` as wheels have it."""
    constants = {"cuda": None, "hip": None, "rocm": None, "xpu": None} | names
    lines = [f"{name}: Optional[str] = {value!r}" for name, value in constants.items()]
    return "\n".join(["from typing import Optional", f"__version__ = {version!r}", "debug = False", *lines])


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of another torch, which comes first on the path; no fork server runs."""
    folder = tmp_path / "site" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    end()
    yield folder
    end()


@pytest.mark.parametrize(
    ("text", "build"),
    [
        (wheel("2.13.0+cpu"), "torch 2.13.0+cpu (CPU build)"),
        (wheel("2.14.1+cu130", cuda="13.0"), "torch 2.14.1+cu130 (CUDA 13.0 build)"),
        (wheel("2.14.1+rocm7.0", hip="7.0.51831", rocm="7.0.2"), "torch 2.14.1+rocm7.0 (ROCm 7.0.2 build)"),
        (wheel("2.13.0+rocm6.4", hip="6.4.43484"), "torch 2.13.0+rocm6.4 (ROCm 6.4.43484 build)"),
        (wheel("2.14.1+xpu", xpu="20250301"), "torch 2.14.1+xpu (XPU 20250301 build)"),
        ("__version__ = '2.15.0a0+git1234567'", "torch 2.15.0a0+git1234567 (CPU build)"),
    ],
)
def test_the_version_and_the_build_are_those_of_torch(torch: Path, text: str, build: str) -> None:
    """Whatever the distribution is called, the local part of the version is there."""
    (torch / "version.py").write_text(text)
    assert str(torch_release.installed()) == build


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory: '{folder}/version.py'"),
        ("__version__ = '2.13.0", "unterminated string literal"),
        ("\0", "null bytes"),
        ("cuda = '13.0'", "{folder}/version.py has version ''"),
        (wheel("Unknown"), "{folder}/version.py has version 'Unknown'"),
    ],
)
def test_a_version_that_cannot_be_read_is_none(torch: Path, text: str | None, problem: str) -> None:
    """The reason is kept in its place."""
    if text is not None:
        (torch / "version.py").write_text(text)
    release = torch_release.installed()
    assert (release.version, release.build) == (torch_release.NONE, torch_release.NONE)
    assert release.problem.startswith("the version of torch cannot be read: ")
    assert problem.format(folder=torch) in release.problem


def test_what_is_no_package_cannot_be_read(torch: Path) -> None:
    """A file torch.py in the working directory hides torch."""
    (torch / "__init__.py").unlink()
    torch.rmdir()
    (torch.parent / "torch.py").touch()
    assert torch_release.installed().problem.endswith("torch.py is no package")


def test_a_stand_in_without_origin_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module in the place of torch has no origin."""
    stand_in = type(sys)("torch")
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    assert "cannot be read: torch.__spec__ is" in torch_release.installed().problem


def test_the_version_names_the_suite_torch_and_python(torch: Path) -> None:
    """Bug reports start with what the results depend on."""
    (torch / "version.py").write_text(wheel("2.14.1+cu130", cuda="13.0"))
    suite, release, python = CliRunner().invoke(main, ["--version"]).stdout.splitlines()
    assert suite == f"conformance, version {metadata.version('torch-compile-conformance')}"
    assert release == "torch 2.14.1+cu130 (CUDA 13.0 build)"
    assert python == f"Python {platform.python_version()}"


def test_records_name_the_build(torch: Path) -> None:
    """The environment of a run differs from that of another build of the same release."""
    (torch / "version.py").write_text(wheel("2.13.0+cu130", cuda="13.0"))
    assert environment.capture().torch == "2.13.0+cu130"


def needed() -> str:
    """Return the torch that this package requires, from the checkout."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    return next(str(text) for text in project["dependencies"] if Requirement(text).name == "torch")


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("2.12.1", "torch 2.12.1 is too old: this suite needs {needed}; install a newer one"),
        ("2.9.1+cu128", "torch 2.9.1+cu128 is too old: this suite needs {needed}; install a newer one"),
        ("2.13.0+cpu", None),
        ("2.13.0a0+git1234567", None),
        ("2.15.0.dev20261101+cpu", None),
        ("3.0.0", None),
    ],
)
def test_what_is_older_than_the_range_is_unsupported(version: str, refused: str | None) -> None:
    """The range is the one that the package requires; a pre-release counts as its final release."""
    found = torch_release.unsupported(torch_release.TorchRelease(version=version, build="CPU"))
    assert found == (refused.format(needed=needed()) if refused else None)


def test_what_is_installed_here_is_supported() -> None:
    """Otherwise nothing could be tested."""
    assert torch_release.unsupported(torch_release.installed()) is None


def test_a_missing_torch_is_refused_and_the_version_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run ends before anything starts, in one line; commands that only read still work."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(tmp_path)
    end()
    result = CliRunner().invoke(main, ["run", "--backend", "eager"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: torch is not installed: this suite needs {needed()}; install it\n"
    assert not list(tmp_path.iterdir())
    assert "\ntorch is not installed\n" in CliRunner().invoke(main, ["--version"]).stdout
    assert environment.capture().torch == torch_release.NONE
    assert CliRunner().invoke(main, ["list", CASE]).exit_code == 0


@pytest.mark.parametrize("words", [*STARTING, "expectations apply"])
def test_an_old_torch_is_refused_in_one_line(
    torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Every command that runs something ends before it has written anything."""
    (torch / "version.py").write_text(wheel("2.9.1"))
    records = a_last_run(tmp_path, red(CASE, "eager", variant="grad=enabled"))
    (tmp_path / "mine.py").write_text("def function(x): ...\n")
    monkeypatch.chdir(tmp_path)
    before = records.read_bytes()
    result = CliRunner().invoke(main, words.split())
    why = f"torch 2.9.1 is too old: this suite needs {needed()}; install a newer one"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {why}\n")
    assert {path.name for path in tmp_path.iterdir()} == {".conformance", "mine.py", "site"}
    assert kept.earlier(*Kind) == [records.relative_to(tmp_path)]
    assert records.read_bytes() == before


def test_what_is_installed_is_validated_without_a_torch(torch: Path) -> None:
    """Neither cases nor expectations of installed backends need one."""
    (torch / "version.py").write_text(wheel("2.9.1"))
    result = CliRunner().invoke(main, ["validate"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "no problems found\n", "")


def test_a_backend_that_needs_torch_to_be_declared_is_left_out_without_one(
    torch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its expectations are not checked, which is reported as a problem."""
    (torch / "version.py").write_text(wheel("2.9.1"))
    monkeypatch.setattr(declarations, "expectations", lambda _: {})
    result = CliRunner().invoke(main, ["validate"])
    (line,) = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (1, "")
    assert line.startswith("the expectations of eager, pre_dispatch_eager, ")
    assert " were not checked: torch 2.9.1 is too old: " in line


def test_a_torch_that_does_not_import_is_named(torch: Path) -> None:
    """The fault is the machine's: exit code 3, with the end of the exception, which Python, and which torch."""
    (torch / "version.py").write_text(wheel("2.13.0+cpu"))
    (torch / "__init__.py").write_text("raise ImportError('libtorch.so:\\ncannot open shared object file')")
    result = CliRunner(env={"PYTHONPATH": str(torch.parent)}).invoke(main, ["run", "--backend", "eager"])
    assert (result.exit_code, result.stdout) == (3, "")
    what = "error: torch does not import: cannot open shared object file"
    where = f"  This is torch 2.13.0+cpu (CPU build) in {torch}, with Python "
    starting, first, second = result.stderr.splitlines()
    assert (starting, first) == ("starting torch 2.13.0+cpu ...", what)
    assert second.startswith(where)
    assert second.endswith(f", {sys.executable}.")


def test_a_torch_that_ends_the_process_is_named(torch: Path) -> None:
    """A library built for another processor raises nothing."""
    (torch / "version.py").write_text(wheel("2.13.0+cpu"))
    (torch / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    result = CliRunner(env={"PYTHONPATH": str(torch.parent)}).invoke(main, ["run", "--backend", "eager"])
    assert result.exit_code == 3
    assert "torch does not import: the process ended with status -4\n" in result.stderr

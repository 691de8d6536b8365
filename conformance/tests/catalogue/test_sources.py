from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.sources import collect, homes
from conformance.cli import listing
from conformance.model.errors import CaseError

if TYPE_CHECKING:
    from pathlib import Path

CASES = """\
topic: Demonstration
cases:
  - id: demo.plain.one
    title: doubles its input
    inputs: {a: {shape: [1]}}
    program: return a * 2
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that brings cases, in a package that must not be imported."""
    (tmp_path / "mylib" / "cases").mkdir(parents=True)
    (tmp_path / "mylib" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "mylib" / "cases" / "demo_plain.yaml").write_text(CASES)
    declare(tmp_path, "mylib.cases")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def declare(folder: Path, value: str) -> None:
    """Write what an installer writes of a distribution with this entry point."""
    (folder / "mylib-1.0.dist-info").mkdir(exist_ok=True)
    (folder / "mylib-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mylib\nVersion: 1.0\n")
    (folder / "mylib-1.0.dist-info" / "entry_points.txt").write_text(f"[conformance.cases]\nmylib = {value}\n")


def test_without_plugins_the_packaged_cases_are_all() -> None:
    """Their places are those of the checkout."""
    assert homes() == (files("conformance.cases"),)
    assert {case.location.file.partition("/")[0] for case in collect()} == {"cases"}


def test_an_installed_package_brings_cases_and_is_not_imported(installed: Path, tmp_path: Path) -> None:
    """They come behind the packaged ones, and before those of a folder."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "demo_more.yaml").write_text(CASES.replace("plain", "more"))
    assert homes([tmp_path / "more"])[1:] == (installed / "mylib" / "cases", tmp_path / "more")
    assert [case.id for case in collect([tmp_path / "more"])][-2:] == ["demo.plain.one", "demo.more.one"]


@pytest.mark.parametrize("value", ["mylib.missing", "nowhere.cases", "mylib:missing"])
def test_an_entry_point_that_names_no_folder_is_reported(installed: Path, value: str) -> None:
    """The message has its distribution, its value, and the form that it should have."""
    declare(installed, value)
    message = rf"mylib 1\.0: entry point 'mylib' of group .*: there is no folder '{value}'"
    with pytest.raises(CaseError, match=message):
        collect()


@pytest.mark.usefixtures("installed")
def test_cases_of_a_plugin_are_listed_and_shown() -> None:
    """As the packaged ones, which are shown as before."""
    assert "demo.plain.one" in listing.cases(["demo.*"])
    assert "- id: demo.plain.one\n  title: doubles" in listing.show("demo.plain.one")
    assert "- id: pre_dispatch.no_grad_simple" in listing.show("pre_dispatch.no_grad_simple")

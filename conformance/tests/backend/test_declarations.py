from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conformance.backend import declarations, discovery
from conformance.backend.resolution import declared_expectations
from conformance.model.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

_DECLARED = """\
from conformance.backend import Backend
print("hello")
quiet = Backend(name="quiet")
loud = Backend(name="loud", expectations="known.yaml")
old = Backend(name="old", packages=("click>=10000",))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that declares three backends in one module, one that raises, and one that ends the process."""
    (tmp_path / "mine.py").write_text(_DECLARED)
    (tmp_path / "raising.py").write_text("raise ImportError('no')")
    (tmp_path / "ending.py").write_text("import os\nos._exit(3)")
    points = ["quiet = mine:quiet", "loud = mine:loud", "old = mine:old", "raises = raising:raises", "ends = ending:x"]
    home = tmp_path / "mine-1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (home / "entry_points.txt").write_text("\n".join([f"[{discovery.GROUP}]", *points]))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_expectations_are_found_without_a_fork_server(mine: Path) -> None:
    """A declared file, none at all, and the one beside the module of an in-tree backend."""
    found = declarations.expectations(["quiet", "loud", "eager"])
    assert (found["quiet"], found["loud"]) == (None, mine / "known.yaml")
    assert str(found["eager"]).endswith("eager.expected.yaml")


def test_what_cannot_be_declared_is_left_out(mine: Path) -> None:
    """A module that raises, a version that is not installed, and an undeclared name affect no other backend."""
    assert mine.exists()
    assert declarations.expectations(["quiet", "raises", "old", "unknown"]) == {"quiet": None}


def test_a_declaration_that_ends_the_process_leaves_all_out(mine: Path) -> None:
    """They are then described one by one, each in a child."""
    assert mine.exists()
    assert declarations.expectations(["quiet", "ends"]) == {}


def test_a_declaration_that_hangs_is_ended(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a limit, with the same result."""
    (mine / "ending.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(declarations, "_LIMIT_S", 2.0)
    assert declarations.expectations(["ends"]) == {}


def test_declarations_need_no_torch() -> None:
    """Nor does reading the expectations of in-tree backends import it."""
    program = (
        "import sys\nfrom importlib import metadata\nfrom conformance.backend.discovery import GROUP\n"
        "from conformance.backend.declarations import declared_expectations\n"
        "for name in metadata.entry_points(group=GROUP).names:\n    declared_expectations(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_backend_that_nobody_declares_is_refused() -> None:
    """With its name."""
    with pytest.raises(BackendError, match="no installed distribution declares a backend 'nothing'"):
        declared_expectations("nothing")


def test_what_a_declaration_prints_is_not_among_the_answers(capfd: pytest.CaptureFixture[str]) -> None:
    """They are one object of JSON on stdout; what raises is left out."""
    stdout = os.dup(1)
    try:
        declarations.main(["eager", "nothing"])
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    (found,) = json.loads(capfd.readouterr().out).items()
    assert found[0] == "eager"
    assert found[1].endswith("eager.expected.yaml")

"""The help of commands and the lists of packaged files; nothing is run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.backend import discovery
from conformance.catalogue.sources import collect
from conformance.cli.main import main
from conformance.model import ladder
from conformance.model.enums import Verdict

if TYPE_CHECKING:
    from click.testing import Result


def _conformance(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_list_shows_backends_and_checks() -> None:
    """Each as a table, and neither imports a backend."""
    assert "aot_eager_decomp_partition  conformance.backends.aot" in _conformance("list", "--backends").stdout
    shown = " ".join(_conformance("list", "--checks").stdout.split())
    assert "double_backward must, where a case asks gradients of gradients" in shown
    assert "move.leaf_hooks must, where moves are made a hook on each leaf after the call" in shown


def test_the_ladder_orders_declared_backends() -> None:
    """The in-tree backends come in compiler order, not by the alphabet."""
    assert discovery.names()[:5] == list(ladder.LADDER)


def test_show_knows_the_packaged_cases() -> None:
    """With the location of the case in its file."""
    shown = _conformance("show", "pre_dispatch.no_grad_simple").stdout
    assert shown.startswith("# cases/pre_dispatch")
    assert "id: pre_dispatch.no_grad_simple" in shown


def test_show_of_an_unknown_case_has_close_matches() -> None:
    """A typo is easily made."""
    result = _conformance("show", "pre_dispatch.no_grad_simpel")
    assert result.exit_code == 2
    assert "Did you mean 'pre_dispatch.no_grad_simple'" in result.stderr


def test_help_of_run_teaches_the_verdicts() -> None:
    """Examples, the legend and the exit codes."""
    text = _conformance("run", "--help").stdout
    assert all(f" {verdict}" in text for verdict in Verdict)
    assert "Examples:" in text
    assert "Exit codes:" in text


def test_the_package_can_be_run_as_a_module() -> None:
    """Where the command is not on the path, `python -m conformance` is it."""
    output = subprocess.run(
        [sys.executable, "-m", "conformance", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("conformance, version ")


@pytest.mark.parametrize("command", [None, "run", "list", "show"])
def test_the_examples_of_the_help_name_cases_there_are(command: str | None) -> None:
    """Command lines copied from the help work."""
    text = _conformance(*filter(None, [command]), "--help").stdout
    globs = re.findall(r"conformance .*'([\w.]+\*)'", text) + re.findall(r"conformance show (pre\S+)", text)
    assert globs
    for glob in globs:
        assert _conformance("list", glob).exit_code == 0, glob


@pytest.mark.parametrize("line", ["--help", "list", "list --backends", "list --checks", "run --help"])
def test_quick_commands_import_neither_torch_nor_pandas(line: str) -> None:
    """They answer in a fraction of a second, which they could not otherwise."""
    collect()  # what case files hold is remembered from then on
    program = f"""
import sys, atexit
atexit.register(lambda: print(*sorted({{"torch", "pandas", "pydantic"}} & set(sys.modules)), file=sys.stderr))
from conformance.cli.main import main
main({line.split()!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == ""

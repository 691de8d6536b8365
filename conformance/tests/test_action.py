"""The GitHub Action of `backends/README.md`, by the shell that it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.tests.runs import a_run, red

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "conformance" / "tests" / "plugin"
ACTION = PLUGIN / ".github" / "actions" / "conformance" / "action.yml"


def _perform(folder: Path, **inputs: str) -> list[int]:
    """Run the steps of the action as GitHub does; return their exit codes."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    given = {name: about.get("default", "") for name, about in action["inputs"].items()} | inputs
    codes: list[int] = []
    for step in action["runs"]["steps"]:
        if not any(codes) or step.get("if") == "always()":
            codes.append(_step(step, folder, given))
    return codes


def _step(step: dict[str, Any], folder: Path, given: dict[str, str]) -> int:
    values = {
        name: re.sub(r"\$\{\{ inputs\.(\S+) \}\}", lambda found: given[found[1]], text)
        for name, text in step["env"].items()
    }
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    files = {name: str(folder / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    env = {**os.environ, **own, **values, **files, "GITHUB_ACTIONS": "true"}
    return subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True).returncode


@pytest.mark.torch
def test_the_action_gates_and_reports(tmp_path: Path) -> None:
    """What conforms passes; JUnit, SARIF, site, comparison, summary and the counts for the relay are there."""
    a_run(tmp_path / "before.jsonl", red("pre_dispatch.no_grad_simple", backend="eager"))
    codes = _perform(tmp_path, backend="eager", options="--case 'pre_dispatch.*'", baseline="before.jsonl")
    made = {each.name for each in (tmp_path / "conformance-results").iterdir()}
    assert codes == [0, 0]
    assert made == {"run.jsonl", "junit.xml", "conformance.sarif", "site", "comparison.md"}
    assert '"failed": 0' in (tmp_path / "github_output").read_text(encoding="utf-8")
    assert "## torch.compile conformance" in (tmp_path / "github_step_summary").read_text(encoding="utf-8")
    comparison = (tmp_path / "conformance-results" / "comparison.md").read_text(encoding="utf-8")
    assert "pre_dispatch.no_grad_simple" in comparison


@pytest.mark.torch
def test_the_action_is_red_where_something_is(tmp_path: Path) -> None:
    """Reports are made all the same."""
    backend = "conformance.tests.saboteurs.results:values_off"
    codes = _perform(tmp_path, backend=backend, options="--case pre_dispatch.no_grad_simple")
    assert codes == [1, 0]
    assert '"values"' in (tmp_path / "conformance-results" / "conformance.sarif").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [ACTION, PLUGIN / ".github" / "workflows" / "conformance.yml"])
def test_the_recipe_shows_the_files(path: Path) -> None:
    """As they are."""
    recipe = (ROOT / "backends" / "README.md").read_text(encoding="utf-8")
    assert f"```yaml\n# {path.relative_to(PLUGIN)}\n{path.read_text(encoding='utf-8')}```\n" in recipe

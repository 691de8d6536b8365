"""The commands of the README and the guides, typed: their blocks, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import conformance
from conformance.cli.main import main
from conformance.tests.saboteurs import ref

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    """README.md, and the tutorial and the how-to guides that go on from it."""
    guides = checkout / "conformance" / "docs"
    pages = [checkout / "README.md", guides / "tutorial.md", *sorted((guides / "how-to").glob("*.md"))]
    return "\n".join(page.read_text() for page in pages)


@pytest.fixture
def folder(tmp_path: Path, readme: str) -> Path:
    """A folder with every file that the README shows: blocks that begin with a comment that is a path."""
    for path, text in re.findall(r"^```\w+\n# (\S+\.(?:py|yaml))\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"# {path}\n{text}")
    return tmp_path


def command(readme: str, start: str) -> str:
    """The one line of the shell blocks that starts like this, and is of no user's function or cluster, unless that."""
    lines = re.findall(rf"^{re.escape(start)}.*$", readme, re.MULTILINE)
    others = [word for word in ("/user.", "--scheduler") if word not in start]
    (line,) = [line for line in lines if not any(word in line for word in others)]
    return str(line)


def typed(line: str, folder: Path, status: int) -> str:
    """Return the output of a command line in this folder, by commands of this environment; checks its status.

    A command of the suite alone runs in this process, where a warm fork server serves the next as well.
    """
    if line.startswith("conformance ") and not set("|>&;") & set(line):
        with contextlib.chdir(folder):
            result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == status, f"{line}\n{result.output}"
        return result.stdout
    scripts = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def assert_shown(start: str, readme: str, printed: str) -> None:
    """The output block of the README that begins like this is what was printed, but for what it leaves out.

    How wide a column is depends on how long something took.
    """
    blocks = re.findall(r"^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (shown,) = [block for block in blocks if block.startswith(start)]
    for part in shown.split("...\n"):
        assert _narrow(part) in _narrow(printed)


def _narrow(text: str) -> str:
    """The text with columns as narrow as can be."""
    return re.sub(r"-{2,}", "--", re.sub(r" {2,}", " ", text)).strip()


def test_the_function_of_the_readme_shows_what_it_says(readme: str, folder: Path) -> None:
    """The table that the README shows is the one that is printed."""
    printed = typed(command(readme, "conformance check step.py:loss"), folder, 1)
    assert_shown("          ", readme, printed)


def test_the_function_of_the_readme_leads_to_its_cause(readme: str, folder: Path) -> None:
    """From the check to its own lines, to a script that shows it, to the smallest case."""
    typed(f"{command(readme, 'conformance check step.py:loss')} --backend aot_eager", folder, 1)
    name = "aot_eager/user.loss"
    assert_shown("aot_eager / user.loss", readme, typed(command(readme, f"conformance explain {name}"), folder, 0))
    typed(command(readme, f"conformance repro {name}"), folder, 1)
    assert "is_inference()" in (folder / "repro.py").read_text()
    assert_shown("# 2 lines after 39", readme, typed(command(readme, f"conformance shrink {name}"), folder, 0))


def test_the_backend_of_the_readme_is_found_out(readme: str, folder: Path) -> None:
    """The report that the README shows is the one that is printed."""
    line = command(readme, "conformance run --backend mine.py:mine --tier quick").removesuffix(" --tier quick")
    printed = typed(f"{line} --case 'pre_dispatch.*'", folder, 1)
    assert_shown("area          mine", readme, printed)


def test_the_backend_of_the_readme_is_found_out_by_pytest(readme: str, folder: Path) -> None:
    """The same requests as pytest items."""
    line = command(readme, "pytest --pyargs conformance.suite --backend mine.py:mine")
    assert "--case 'autocast.*'" in line
    assert " failed" in typed(line.replace("autocast.*", "pre_dispatch.*"), folder, 1)


def test_the_case_of_the_readme_passes_everywhere(readme: str, folder: Path) -> None:
    """Validated, shown, run on every backend, and loaded as data."""
    assert typed(command(readme, "conformance validate my_cases"), folder, 0) == "no problems found\n"
    assert "def program(a):" in typed(command(readme, "conformance show"), folder, 0)
    assert "25 pass;" in typed(command(readme, "conformance run --cases my_cases"), folder, 0)
    (folder / "results" / "records").mkdir(parents=True)
    (folder / ".conformance" / "last-run.jsonl").resolve().rename(folder / "results" / "records" / "mine.jsonl")
    (program,) = re.findall(r"^```python\n(import conformance\n.*?)^```", readme, re.MULTILINE | re.DOTALL)
    done = [sys.executable, "-c", f"{program}\nprint(len(frame))"]
    assert subprocess.run(done, cwd=folder, capture_output=True, text=True, check=True).stdout == "25\n"


def test_the_timing_of_the_readme_gives_ratios(readme: str, folder: Path) -> None:
    """Each phase has its row, and what was timed can be read as a frame."""
    printed = typed(f"{command(readme, 'conformance bench')} --budget 0.1 --compiles 1", folder, 0)
    _, _, of_one = printed.partition("aot_eager / training.steps.mlp / grad=enabled,rows=8\n")
    phases = re.findall(r"^\w+(?= )", of_one.partition("\n\n")[0], re.MULTILINE)
    assert {*phases} == {"phase", "compile_cold", "compile_warm", "forward", "backward", "step"}
    assert set(conformance.load_timing(folder / ".conformance" / "last-bench.jsonl")["case"]) == {"training.steps.mlp"}


def test_the_comparison_of_the_readme_is_markdown(readme: str, checkout: Path) -> None:
    """Of two backends of the committed records."""
    printed = typed(command(readme, "conformance compare"), checkout, 1)
    assert "aot_eager against results" in printed
    assert "#### New failures" in printed


def test_a_failure_of_the_published_records_is_explained(readme: str, checkout: Path) -> None:
    """The output in the README is what is printed."""
    printed = typed(command(readme, "conformance explain"), checkout, 0)
    assert_shown("Program", readme, printed)


def test_a_failure_of_the_published_records_has_a_script(readme: str, checkout: Path, tmp_path: Path) -> None:
    """It shows the failure by itself."""
    line = command(readme, "conformance repro").replace("repro.py", str(tmp_path / "repro.py"))
    typed(line, checkout, 0)
    assert "compiled:   False" in typed(f"python {tmp_path / 'repro.py'}", tmp_path, 1)


def test_a_failure_of_the_published_records_is_shrunk(readme: str, checkout: Path) -> None:
    """To the lines that the README shows."""
    printed = typed(command(readme, "conformance shrink"), checkout, 0)
    assert_shown("# 2 lines after 20", readme, printed)


def test_fuzzing_finds_a_defect_and_writes_it_down(readme: str, tmp_path: Path) -> None:
    """On a backend that is broken on purpose few programs are enough; what was found is a case that shows it again."""
    line = command(readme, "conformance fuzz").replace("--budget 60s", "--programs 30")
    broken = ref("modes", "inner_grad_modes_dropped")
    printed = typed(f"{line.replace('aot_eager', broken)} --output found", tmp_path, 1)
    assert printed.count("it exits with 1") == len(list((tmp_path / "found").glob("*.py"))) > 0
    typed("conformance validate found", tmp_path, 0)
    again = typed(f"conformance run --cases found --case 'fuzz.*' --backend {broken}", tmp_path, 1)
    assert re.search(r"^\d+ (fail|error)", again, re.MULTILINE), again

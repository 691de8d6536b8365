from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.catalogue.sources import collect
from conformance.cli.main import main
from conformance.isolation import forkserver
from conformance.tests.fakes import a_record
from conformance.tests.runs import a_run
from conformance.tests.servers import end

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

PLACES = ("missing", "folder", "empty", "words", "other.json")
"""A file that is not there, a folder without files, an empty file, one that is no JSON, and JSON of another kind."""

READING = (
    "explain fake/demo.first.one --records {}",
    "repro fake/demo.first.one --records {}",
    "shrink fake/demo.first.one --records {}",
    "compare {} run.jsonl",
    "compare run.jsonl {}",
    "compare {}@fake run.jsonl",
    "report --records {}",
    "expectations update --records {}",
    "expectations apply --records {}",
    "fuzz --backend eager --known {}",
)
"""Commands that read records."""

WRONG = (
    "run --backend nosuch",
    "run --backend nosuch.py:mine",
    "run --backend step.py:mine",
    "run --backend nosuch_module_:mine",
    "run --case gradmode.*",
    "run --variant grad=never",
    "run --tag smokey",
    "run --exclude-tag smokey",
    "run --shard 5/4",
    "run --shard 0/4",
    "run --shard four",
    "run --jobs 0",
    "run --jobs two",
    "run --batch -1",
    "run --timeout 0",
    "run --timeout soon",
    "run --max-fail 0",
    "run --seed x",
    "run --shuffle x",
    "run --cases missing",
    "run --cases words",
    "run --expectations missing",
    "run --expectations folder",
    "run --backend eager --expectations words",
    "run --backend eager --backend aot_eager --expectations empty",
    "run --records folder",
    "run --nosuch",
    "run inductor",
    "check",
    "check step.py",
    "check step.py:nosuch",
    "check missing.py:f",
    "check nosuch_module_:f",
    "check loss",
    "check step.py:loss --backend nosuch",
    "check step.py:loss --input x",
    "check step.py:loss --input x=float33[2]",
    "check step.py:loss --check valeus",
    "check step.py:loss --requires nosuch",
    "check step.py:loss --dynamic perhaps",
    "check step.py:loss --tolerance float32=much",
    "check step.py:loss --call '{'",
    "check step.py:loss --expectations missing",
    "check step.py:loss --timeout 0",
    "bench --backend nosuch",
    "bench --case nosuch.*",
    "bench --variant grad=never",
    "bench --budget 0",
    "bench --compiles -1",
    "bench --threads 0",
    "bench --records folder",
    "bench inductor",
    "fuzz",
    "fuzz --backend nosuch",
    "fuzz --backend eager --budget soon",
    "fuzz --backend eager --programs 0",
    "fuzz --backend eager --seed -1",
    "fuzz --backend eager --output words",
    "explain",
    "explain nosuch",
    "explain fake/nosuch --records run.jsonl",
    "explain nosuch/demo.first.one --records run.jsonl",
    "explain fake/demo.first.one",
    "repro nosuch",
    "repro fake/nosuch --records run.jsonl",
    "shrink nosuch",
    "shrink nosuch --backend eager",
    "shrink grad_mode.nesting.enable_in_no_grad --backend nosuch",
    "shrink grad_mode.nesting.enable_in_no_grad --backend eager --variant grad=never",
    "shrink fake/demo.first.one --variant grad=enabled",
    "shrink fake/demo.first.one --budget 0",
    "list nosuch.*",
    "list inductor",
    "list --tag smokey",
    "list --cases missing",
    "show",
    "show nosuch",
    "validate missing",
    "capabilities --backend nosuch",
    "capabilities --most 0",
    "compare run.jsonl",
    "compare run.jsonl run.jsonl@nosuch",
    "compare run.jsonl run.jsonl --gate nosuch",
    "report",
    "report --output words --records run.jsonl",
    "report run.jsonl",
    "expectations",
    "expectations nosuch",
    "expectations update",
    "expectations update --records run.jsonl --backend nosuch",
    "expectations update --records run.jsonl --like nosuch",
    "expectations update --output folder --records run.jsonl",
    "expectations apply",
    "nosuch",
    "--nosuch",
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run, a function, and files of every wrong kind, in which torch cannot be started."""

    def started(*_: object) -> None:
        message = "torch was started"
        raise AssertionError(message)

    end()  # another test may have left a server
    monkeypatch.setattr(forkserver, "ForkServer", started)
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "run.jsonl", a_record())
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "words").write_text("neither JSON nor YAML: [\n")
    (tmp_path / "other.json").write_text('{"some": "thing"}\n')
    (tmp_path / "step.py").write_text("def loss(x):\n    return x\n")
    return tmp_path


def typed(line: str) -> Result:
    """The result of a command line."""
    words = [word.strip("'") for word in line.split()]
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("line", [*WRONG, *(line.format(kind) for line in READING for kind in PLACES)])
@pytest.mark.usefixtures("place")
def test_wrong_usage_exits_with_2_before_torch_starts(line: str) -> None:
    """For any wrong usage, with one message on stderr and nothing on stdout."""
    result = typed(line)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "rror: " in result.stderr or result.stderr.startswith("Usage: "), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("backends", "`conformance list --backends`"),
        ("cases", "`conformance list`"),
        ("diff", "`conformance compare`"),
        ("version", "`conformance --version`"),
        ("rnu", "`conformance run`"),
        ("benhc", "`conformance bench`"),
        ("inductor", "`conformance run --backend inductor`"),
        ("step.py:loss", "`conformance check step.py:loss`"),
        ("expectations updat", "`conformance expectations update`"),
        ("run inductor", "`conformance run --backend inductor`"),
        ("run inductr", "`conformance run --backend inductor`"),
        ("run step.py:mine", "`conformance run --backend step.py:mine`"),
        ("run smoke", "`conformance run --tag smoke`"),
        ("run grad_mode", "`conformance run --case 'grad_mode.*'`"),
        ("run autocast.*", "`conformance run --case 'autocast.*'`"),
        ("run grad=enabled", "`conformance run --variant grad=enabled`"),
        ("run eager inductor", "`conformance run --backend eager --backend inductor`"),
        ("bench training.steps.mlp", "`conformance bench --case training.steps.mlp`"),
        ("report run.jsonl", "`conformance report --records run.jsonl`"),
        ("run zzzzzz", "`conformance run --help`"),
        ("zzzzzz", "`conformance --help`"),
        ("list inductor", "`conformance list --backends`"),
        ("list checks", "`conformance list --checks`"),
        ("list gradmode.*", "'grad_mode.*'"),
        ("list --tag smokey", "'smoke'"),
        ("run --case gradmode.*", "'grad_mode.*'"),
        ("run --tag smokey", "'smoke'"),
        ("check stpe.py:loss", "'step.py'"),
        ("check step.py", "conformance check step.py:loss"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_was_probably_meant_is_said(line: str, meant: str) -> None:
    """As it is to be typed."""
    assert meant in typed(line).stderr


@pytest.mark.parametrize(
    "line",
    ["run --tag smokey", "run --backend nosuch", "check missing.py:f", "bench --case nosuch", "diff", "run eager"],
)
def test_wrong_usage_is_answered_before_anything_heavy_is_imported(line: str) -> None:
    """It takes less than half a second of processor time, which it could not otherwise."""
    collect()  # what case files hold is remembered from then on
    program = f"""
import sys, atexit
atexit.register(lambda: print(*sorted({{"torch", "pandas", "pydantic"}} & set(sys.modules)), file=sys.stdout))
from conformance.cli.main import main
main({line.split()!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (2, ""), done.stderr

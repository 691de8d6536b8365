from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.backend import discovery
from conformance.cli.main import main
from conformance.execution import attempts as execution_attempts
from conformance.model.errors import HarnessError, RecordError
from conformance.records import kept, record_file
from conformance.records.kept import Kind
from conformance.records.shards import merge
from conformance.tests.fakes import a_backend, an_attempt, crashed, failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from click.testing import Result

    from conformance.model.request import BackendInfo, Request
    from conformance.model.result import Attempt, Record

_CASES = """\
topic: Demonstration
cases:
  - id: demo.first.one
    title: doubles its input
    inputs:
      a: {shape: [4]}
    program: |
      return a * 2
    axes: {grad: [enabled, disabled]}
    moves: none
    tags: [special]

  - id: demo.first.two
    title: scales its input
    inputs:
      a: {shape: [4]}
    program: |
      # one of several
      return a * ${factor}
    axes: {params: {factor: [2, 3]}}
    moves: none
"""


@dataclass(kw_only=True)
class _World:
    """A folder of cases, backends that exist by name only, and what comes of running a case on them."""

    folder: Path
    attempts: dict[str, Attempt | BaseException] = field(default_factory=dict)
    backends: dict[str, BackendInfo] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)

    def describe(self, ref: str) -> BackendInfo:
        return self.backends.get(ref, a_backend(ref))

    def attempt(self, request: Request) -> Attempt:
        result = self.attempts.get(request.case.id, an_attempt())
        if isinstance(result, BaseException):
            raise result
        return result

    def attempt_all(self, requests: Sequence[Request]) -> list[Attempt]:
        self.batches.append(len(requests))
        return [self.attempt(request) for request in requests]

    def run(self, *words: str) -> Result:
        """Run the demonstration cases on `fake`, one at a time."""
        chosen = ("--backend", "fake", "--cases", "mine", "--case", "demo.*", "--jobs", "1")
        return _conformance("run", *chosen, *words)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _World:
    """A world in which nothing needs torch; its folder is the working directory."""
    made = _World(folder=tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "demo_first.yaml").write_text(_CASES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution_attempts, "describe", made.describe)
    monkeypatch.setattr(execution_attempts, "run_batch", made.attempt_all)
    monkeypatch.setattr(discovery, "names", lambda: ["fake", "other"])
    return made


def _conformance(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_the_package_is_the_command() -> None:
    """`python -m conformance` does what `conformance` does."""
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("conformance, version ")


def test_a_conforming_run_exits_with_0_and_tells_each_of_a_few_results(world: _World) -> None:
    """Four requests are shown in full: verdict, evidence, every check."""
    result = world.run("--case", "demo.first.one")
    assert result.exit_code == 0, result.output
    assert "fake / demo.first.one / grad=disabled: pass\n  outcome pass, stage compare" in result.stdout
    assert "evidence: graphs 1, backend_calls 1" in result.stdout
    assert "    values           held (bitwise)" in result.stdout
    assert result.stdout.endswith(f"4 pass; records in {kept.last_run()}\n")
    assert record_file.publishable(record_file.read(kept.last(Kind.RUN))) is not None


def test_a_finding_exits_with_1_and_says_how_to_see_it_again(world: _World) -> None:
    """With many requests there is a matrix, and each red one has its message and command to reproduce it."""
    world.attempts["demo.first.two"] = failed("values")
    result = _conformance("run", "--backend", "fake", "--backend", "other", "--cases", "mine", "--case", "demo.*")
    assert result.exit_code == 1
    assert "demo   2/4 (2 F)  2/4 (2 F)" in result.stdout
    assert "demo.first.two / grad=enabled,factor=2: fail: values differ in output[0]: 3 of 12" in result.stdout
    chosen = "--backend fake --cases mine --case demo.first.two --variant grad=enabled,factor=2"
    assert f"\n  Reproduce: conformance run {chosen}\n" in result.stdout


def test_results_go_where_gates_live(world: _World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JUnit XML, and in a step of GitHub Actions as annotations and in the summary of the job."""
    world.attempts["demo.first.two"] = failed("values")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    result = world.run("--junitxml", str(tmp_path / "junit.xml"))
    assert result.exit_code == 1
    assert "::error file=" in result.stdout
    assert "<failure" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert "torch.compile conformance" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_findings_are_in_the_order_of_the_plan(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the requests that run at a time ends first."""

    def first_last(requests: Sequence[Request]) -> list[Attempt]:
        time.sleep(0.3 if requests[0].case.id == "demo.first.one" else 0)
        return [failed("values") for _ in requests]

    monkeypatch.setattr(execution_attempts, "run_batch", first_last)
    printed = world.run("--jobs", "4", "--batch", "1").stdout
    assert printed.index("demo.first.one / grad=disabled: fail") < printed.index("demo.first.two / grad=")


def test_the_command_that_reproduces_a_finding_runs_it_again(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be typed where the run was started: a file below is named from there, and folders of cases are named."""
    ref = f"{world.folder}/sub/mine.py:fake"
    (world.folder / "sub").mkdir()
    (world.folder / "sub" / "mine.py").write_text("fake = None\n")
    monkeypatch.setattr(execution_attempts, "describe", lambda ref: a_backend(ref=str(world.folder / ref)))
    world.attempts["demo.first.one"] = failed("values")
    first = _conformance("run", "--backend", ref, "--cases", "mine", "--case", "demo.first.*", "--seed", "3")
    (command, _) = [line.partition("Reproduce: ")[2] for line in first.stdout.splitlines() if "Reproduce: " in line]
    assert command.startswith("conformance run --backend sub/mine.py:fake --cases mine --case demo.first.one ")
    again = _conformance(*shlex.split(command)[1:])
    assert again.stdout.endswith(f"1 fail; records in {kept.last_run()}\n"), again.output
    assert str(world.folder) not in kept.last(Kind.RUN).read_text()


def test_a_crash_is_a_finding_not_a_fault(world: _World) -> None:
    """The other requests are run."""
    world.attempts["demo.first.one"] = crashed()
    result = world.run()
    assert result.exit_code == 1
    assert "2 pass, 2 crash" in result.stdout


def test_many_findings_are_cut(world: _World) -> None:
    """Beyond a screen or two, the pages are the better reader."""
    factors = ", ".join(map(str, range(30)))
    text = _CASES.replace("factor: [2, 3]", f"factor: [{factors}]")
    (world.folder / "mine" / "demo_first.yaml").write_text(text)
    world.attempts["demo.first.two"] = failed("values")
    result = world.run("--tag", "special", "--case", "demo.first.two", "--exclude-tag", "special")
    assert result.exit_code == 2  # the tags contradict each other
    result = world.run("--exclude-tag", "special")
    assert result.stdout.count("Reproduce:") == 25
    assert "... and 5 more red;" in result.stdout


def test_only_a_run_of_many_shares_processes(world: _World) -> None:
    """A run of few, and the end of one of many, keeps every job busy and prints each result, unless options differ."""
    world.run()
    assert world.batches == [1, 1, 1, 1]
    world.batches.clear()
    world.run("--batch", "3")
    assert world.batches == [3, 1]
    factors = ", ".join(map(str, range(100)))
    text = _CASES.replace("factor: [2, 3]", f"factor: [{factors}]")
    (world.folder / "mine" / "demo_first.yaml").write_text(text)
    world.batches.clear()
    world.run()
    assert world.batches[0] == 16
    assert world.batches == sorted(world.batches, reverse=True)
    assert world.batches[-1] == 1


def test_quiet_prints_one_line(world: _World) -> None:
    """For scripts: counts and the place of the records."""
    assert world.run("--quiet").stdout == f"4 pass; records in {kept.last_run()}\n"


@pytest.mark.usefixtures("world")
def test_an_unknown_backend_exits_with_2_and_close_matches() -> None:
    """Nothing has run."""
    result = _conformance("run", "--backend", "fkae")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown backend 'fkae'. Did you mean 'fake'?\n")
    assert not kept.last(Kind.RUN).exists()


@pytest.mark.usefixtures("world")
def test_an_unknown_backend_like_no_other_gets_the_list() -> None:
    """Without a close match, all names are listed."""
    assert "unknown backend 'zzz'. Known: fake, other." in _conformance("run", "--backend", "zzz").stderr


def test_two_backends_of_one_name_are_refused(world: _World) -> None:
    """Their records could not be distinguished."""
    world.backends["file.py:fake"] = a_backend("fake")
    (world.folder / "file.py").write_text("fake = None\n")
    result = _conformance("run", "--backend", "fake", "--backend", "file.py:fake")
    assert result.exit_code == 2
    assert "are both called 'fake'" in result.stderr


@pytest.mark.usefixtures("world")
def test_without_backend_every_declared_one_runs() -> None:
    """The default is all."""
    result = _conformance("run", "--cases", "mine", "--case", "demo.first.one")
    assert "fake / demo.first.one" in result.stdout
    assert "other / demo.first.one" in result.stdout


@pytest.mark.parametrize(
    "words",
    [["--case", "nothing.*"], ["--shard", "3"], ["--shard", "9/3"], ["--jobs", "0"], ["--cases", "absent"], ["--what"]],
)
def test_wrong_usage_exits_with_2(world: _World, words: list[str]) -> None:
    """Whoever finds it, click or the suite."""
    assert world.run(*words).exit_code == 2


def test_malformed_cases_exit_with_2_and_every_problem(world: _World) -> None:
    """Both files are reported, nothing has run."""
    for name in ("demo_a", "demo_b"):
        (world.folder / "mine" / f"{name}.yaml").write_text("topic: x\ncases: 3\n")
    result = world.run()
    assert result.exit_code == 2
    assert "demo_a.yaml:2:8" in result.stderr
    assert "demo_b.yaml:2:8" in result.stderr


def test_expectations_turn_failures_into_xfail(world: _World) -> None:
    """A file named on the command line takes the place of the backend's own."""
    (world.folder / "known.yaml").write_text(_expects("demo.first.two"))
    world.attempts["demo.first.two"] = failed("values")
    result = world.run("--expectations", "known.yaml")
    assert (result.exit_code, "2 pass, 2 xfail" in result.stdout) == (0, True)


def test_expectations_are_for_one_backend(world: _World) -> None:
    """With two there is no telling whose failures they are."""
    (world.folder / "known.yaml").write_text(_expects("demo.first.two"))
    result = world.run("--backend", "other", "--expectations", "known.yaml")
    assert result.exit_code == 2
    assert "--expectations is for one backend" in result.stderr


def test_stale_expectations_are_findings_of_a_complete_run(world: _World) -> None:
    """An entry that nothing needs any more makes the run red; one of a gated or broken backend does not."""
    entry = _expects("demo.first.two").replace("- cases:", "- variants: {factor: 9}\n  cases:")
    (world.folder / "known.yaml").write_text(entry)
    world.backends["fake"] = a_backend(expectations=world.folder / "known.yaml")
    world.backends["other"] = a_backend("other", broken="it raises ImportError")
    result = _conformance("run", "--cases", "mine")
    assert result.exit_code == 1
    assert "no record matches this expectation (cases: demo.first.two)" in result.stdout
    assert "known.yaml:2:10" in result.stdout
    assert world.run().exit_code == 0  # other cases than the selected ones are ignored


def test_a_gated_backend_is_a_line_not_hundreds(world: _World) -> None:
    """Where every smoke case fails the rest is not run, and the summary states why."""
    text = _CASES.replace("tags: [special]", "tags: [smoke]")
    (world.folder / "mine" / "demo_first.yaml").write_text(text)
    world.attempts["demo.first.one"] = failed("values")
    result = world.run()
    assert "fake: the other cases were not run, because all 2 smoke requests failed" in result.stdout
    assert "2 fail; records in" in result.stdout


def test_ctrl_c_leaves_a_file_that_can_be_resumed(world: _World) -> None:
    """The command that continues is printed, and completes the run."""
    world.attempts["demo.first.two"] = KeyboardInterrupt()
    result = world.run()
    assert result.exit_code == 130
    assert "Interrupted; 2 of 4 requests are missing. Continue: conformance run --backend fake" in result.stdout
    assert result.stdout.endswith("--jobs 1 --resume\n")
    del world.attempts["demo.first.two"]
    again = world.run("--resume")
    assert again.stderr.splitlines() == [
        f"{kept.last_run()}: 2 of 4 records are there",
        "2 requests on 1 backend: about 10 seconds, and some to start",
    ]
    assert again.stdout.endswith(f"4 pass; records in {kept.last_run()}\n")


def test_resuming_says_what_was_cut_off(world: _World) -> None:
    """A line that was cut off is dropped, and not in silence; its request runs again."""
    world.run()
    path = kept.last(Kind.RUN)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3])[:-5])
    assert world.run("--resume", "--quiet").stderr == ""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3])[:-5])
    result = world.run("--resume")
    note = "1 of 4 records are there; its last line was cut off, and that request runs again"
    assert result.stderr.splitlines()[0] == f"{kept.last_run()}: {note}"
    assert len(record_file.read(path).records) == 4


@pytest.mark.parametrize(("tier", "number"), [("quick", 2), ("default", 4), ("exhaustive", 4)])
def test_a_tier_says_how_long_it_takes_before_it_starts(world: _World, tier: str, number: int) -> None:
    """What is quick is marked in the case files; records state that a run was of a part."""
    path = world.folder / "mine" / "demo_first.yaml"
    path.write_text(path.read_text().replace("tags: [special]", "tags: [special, quick]"))
    result = world.run("--tier", tier, "--records", "tier.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"{number} requests on 1 backend: about ")
    selection = record_file.read(world.folder / "tier.jsonl").header.selection
    assert selection.tier == tier


def test_nothing_quick_among_what_is_asked_for_exits_with_2(world: _World) -> None:
    """Rather than a run of nothing."""
    result = world.run("--tier", "quick")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: none of the 2 cases that are asked for has the tag quick\n"


def test_a_run_leaves_every_earlier_one_as_it_was(world: _World) -> None:
    """The command that a summary prints is pasted: the run that it came from is still there, and can be resumed."""
    world.attempts["demo.first.two"] = KeyboardInterrupt()
    world.run()
    first = kept.last_run()
    before = first.read_bytes()
    again = world.run("--case", "demo.first.one", "--variant", "grad=disabled")
    assert kept.earlier(Kind.RUN) == [kept.last_run(), first]
    assert again.stdout.endswith(f"records in {kept.last_run()}\n")
    assert first.read_bytes() == before
    del world.attempts["demo.first.two"]
    assert world.run("--resume", "--quiet").stderr == ""
    assert len(record_file.read(first).records) == 4
    assert kept.last_run() == first
    assert (kept.FOLDER / ".gitignore").read_text() == "*\n"


def test_a_file_that_is_named_is_replaced(world: _World) -> None:
    """As ever; nothing is kept beside it."""
    world.run("--records", "mine.jsonl")
    world.run("--records", "mine.jsonl", "--case", "demo.first.one", "--variant", "grad=disabled")
    assert len(record_file.read(world.folder / "mine.jsonl").records) == 1
    assert kept.earlier(*Kind) == []


def test_a_folder_that_cannot_be_written_is_reported(world: _World) -> None:
    """With the option that names another place."""
    kept.FOLDER.write_text("")
    result = world.run()
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "error: cannot write below .conformance: File exists; --records names another place\n"


def test_another_run_cannot_be_resumed(world: _World) -> None:
    """To continue a file with another plan is wrong usage; the file stays as it is."""
    world.run()
    before = kept.last(Kind.RUN).read_bytes()
    result = world.run("--resume", "--seed", "1")
    assert result.exit_code == 2
    assert "seed was 0, is now 1" in result.stderr
    assert kept.last(Kind.RUN).read_bytes() == before


def test_a_disk_that_fills_up_is_reported_and_keeps_what_was_written(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the machine, exit 3; with room again, --resume completes the run."""
    write, room = record_file.RecordWriter.write, 2

    def limited(writer: record_file.RecordWriter, each: Record) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            message = "cannot write r.jsonl: No space left on device"
            raise RecordError(message)
        write(writer, each)

    with monkeypatch.context() as patched:
        patched.setattr(record_file.RecordWriter, "write", limited)
        result = world.run()
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        3,
        "error: cannot write r.jsonl: No space left on device",
    )
    assert len(record_file.read(kept.last(Kind.RUN)).records) == 2
    assert world.run("--resume").stdout.startswith("fake / demo.first.one")
    assert world.run("--records", "/dev/full").exit_code == 3


def test_ctrl_c_before_anything_ran(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While backends are described there is nothing to resume."""

    def interrupted(_ref: str) -> BackendInfo:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution_attempts, "describe", interrupted)
    result = world.run()
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_max_fail_stops_and_says_how_to_continue(world: _World) -> None:
    """The requests that were not run are missing, not passes."""
    world.attempts["demo.first.one"] = failed("values")
    result = world.run("-x")
    assert result.exit_code == 1
    assert "Stopped by --max-fail;" in result.stdout
    assert record_file.read(kept.last(Kind.RUN)).footer is None


def test_a_fault_of_the_harness_exits_with_3(world: _World) -> None:
    """The suite's own error is one line, and records before it are kept."""
    world.attempts["demo.first.two"] = HarnessError("the fork server died")
    result = world.run()
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (3, "error: the fork server died")
    assert len(record_file.read(kept.last(Kind.RUN)).records) == 2


def test_a_bug_of_ours_exits_with_3_and_its_traceback(world: _World) -> None:
    """An unexpected exception never looks like a finding."""
    world.attempts["demo.first.two"] = ZeroDivisionError("oops")
    result = world.run()
    assert result.exit_code == 3
    assert "ZeroDivisionError: oops" in result.stderr
    assert "a fault of the suite itself" in result.stderr


def test_an_unwritable_place_is_reported_before_anything_runs(world: _World) -> None:
    """The record file is opened first."""
    world.attempts["demo.first.one"] = ZeroDivisionError("must not run")
    result = world.run("--records", "mine/demo_first.yaml/records.jsonl")
    assert result.exit_code == 3
    assert "error: cannot write mine/demo_first.yaml/records.jsonl" in result.stderr


def test_shards_together_are_the_whole(world: _World) -> None:
    """What the parts recorded is, put together, what one run records; only the name of the run differs."""
    world.attempts["demo.first.two"] = failed("gradients")
    for index in (1, 2, 3):
        world.run("--records", f"part{index}.jsonl", "--shard", f"{index}/3")
    world.run("--records", "whole.jsonl")
    merged = merge([world.folder / f"part{index}.jsonl" for index in (3, 1, 2)])
    whole = record_file.read(world.folder / "whole.jsonl")
    assert [_unnamed(each) for each in merged.records] == sorted(map(_unnamed, whole.records), key=lambda it: it.key)
    assert merged.header.digest == whole.header.digest


def _unnamed(each: Record) -> Record:
    return replace(each, run_id="")


@pytest.mark.usefixtures("world")
def test_list_shows_cases_and_their_variants() -> None:
    """Globs choose; further folders add."""
    result = _conformance("list", "--cases", "mine", "demo.*")
    assert result.exit_code == 0
    assert result.stdout == dedent("""\
        case            variants  tags     title
        --------------- --------- -------- -----------------
        demo.first.one  2         special  doubles its input
        demo.first.two  2                  scales its input
        """)
    assert "pre_dispatch.autocast_simple" in _conformance("list").stdout


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("glob", "hint"), [("demo.first.on", "Did you mean 'demo.first.one'"), ("zzz", "`conformance list`")]
)
def test_list_of_nothing_is_wrong_usage(glob: str, hint: str) -> None:
    """A glob that matches no case is a mistake."""
    result = _conformance("list", "--cases", "mine", glob)
    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.usefixtures("world")
def test_show_gives_the_yaml_and_each_different_function() -> None:
    """Comments stay; variants that make the same function share it."""
    two = _conformance("show", "demo.first.two", "--cases", "mine").stdout
    assert two.startswith("# mine/demo_first.yaml:13:5\n- id: demo.first.two\n  title: scales its input\n")
    assert "      # one of several\n" not in two.split("# Python", maxsplit=1)[0]
    assert "\n    # one of several\n" in two
    assert "# Python for grad=enabled,factor=2\n" in two
    assert "    return a * 3\n" in two
    one = _conformance("show", "demo.first.one", "--cases", "mine").stdout
    assert one.count("def program(a):") == 1
    assert "# Python for grad=enabled; grad=disabled\n" in one
    assert "demo.first.two" not in one


def test_validate_finds_nothing_wrong_with_good_files(world: _World) -> None:
    """Packaged cases, a folder, and expectations that speak of either."""
    (world.folder / "fake.expected.yaml").write_text(_expects("demo.first.*") + _expects("pre_dispatch.*"))
    for words in ([], ["mine"], ["mine", "fake.expected.yaml"]):
        assert _conformance("validate", *words).output == "no problems found\n"


def test_validate_prints_every_problem_and_exits_with_1(world: _World) -> None:
    """Of cases, of expectations, and of backends that cannot be used."""
    (world.folder / "fake.expected.yaml").write_text(_expects("nothing.*") + _expects("nowhere.*"))
    world.backends["fake"] = a_backend(expectations=world.folder / "fake.expected.yaml")
    world.backends["other"] = a_backend("other", broken="loading it raised ImportError")
    result = _conformance("validate")
    assert result.exit_code == 1
    assert "backend 'other' cannot be used: loading it raised ImportError" in result.stdout
    assert result.stdout.count("no case matches") == 2


def test_validate_says_what_it_could_not_check(world: _World) -> None:
    """Where cases cannot be read, expectations cannot be checked."""
    (world.folder / "mine" / "demo_first.yaml").write_text("topic: x\ncases: 3\n")
    (world.folder / "fake.expected.yaml").write_text(_expects("demo.*"))
    assert "expectations were not checked" not in _conformance("validate", "mine").stdout
    result = _conformance("validate", "mine", "fake.expected.yaml")
    assert (result.exit_code, "expectations were not checked" in result.stdout) == (1, True)


def _expects(cases: str) -> str:
    return f"- cases: {cases}\n  outcome: fail\n  checks: [values]\n  kind: notyet\n  reason: not written yet\n"

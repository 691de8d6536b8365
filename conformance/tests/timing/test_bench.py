from __future__ import annotations

import re
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from conformance.cli.main import main
from conformance.execution.engine import Engine
from conformance.isolation.messages import Report
from conformance.isolation.supervisor import Exit
from conformance.model.codec import to_plain
from conformance.model.enums import Verdict
from conformance.model.errors import HarnessError, SelectionError, UsageError
from conformance.model.result import Attempt, Ended
from conformance.records import kept
from conformance.records.kept import Kind
from conformance.tests.fakes import a_backend, a_case, an_attempt, failed, some_blocks
from conformance.timing import bench, timing_file
from conformance.timing.bench import BenchOptions, prepare
from conformance.timing.model import FirstCall, Noise, Phase, Timing, TimingRequest
from conformance.timing.timed import Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from click.testing import Result

    from conformance.model.request import Request

CASES = (
    a_case("demo.first.one", tags=frozenset({"timing"})),
    a_case("demo.first.two", tags=frozenset({"timing"})),
    a_case("demo.first.untagged"),
)


class Child:
    """Takes the place of children: gives each task what it asks for, and notes them."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, object]] = []
        self.attempts: dict[str, Attempt] = {}
        self.ended: Ended | None = None
        self.interrupted_at = ""  # the case at which Ctrl-C is pressed
        self.dying = ""  # the function in which a child dies
        self.noise = 0.001  # uncompiled vs. uncompiled

    def check(self, requests: Sequence[Request]) -> list[Attempt]:
        """Report each as conforming, unless set otherwise."""
        return [self.attempts.get(request.case.id, an_attempt()) for request in requests]

    def do(self, function: str, task: Any, **_: object) -> Exit:
        """Do a task of timing."""
        name = function.partition(":")[2]
        self.tasks.append((name, task))
        if name == "run" and task.request.case.id == self.interrupted_at:
            raise KeyboardInterrupt
        ended = Ended(signal="SIGSEGV") if name == self.dying else self.ended
        return Exit(ended=ended, report=Report(kind="result", body=self._body(name, task)), output="", duration_s=1)

    def _body(self, name: str, task: Any) -> Any:
        base = Timing.of(task.request)
        bodies: dict[str, Callable[[], object]] = {
            "run_against_itself": lambda: Noise(ratios={task.request.case.id: (1 - self.noise, 1.0, 1 + self.noise)}),
            "run": lambda: replace(base, blocks=(some_blocks(),), metrics={"graphs": 1}),
            "first_call": lambda: replace(base, compiles={task.phase: (1.0 if task.phase.endswith("cold") else 0.5,)}),
            "instructions": lambda: replace(base, instructions={Phase.STEP: (100, 150)}),
        }
        return to_plain(bodies[name]())


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """What runs in place of children, over two cases that are tagged for timing and one that is not."""
    child = Child()
    monkeypatch.setattr(bench, "collect", lambda _: CASES)
    monkeypatch.setattr("conformance.execution.attempts.describe", a_backend)
    monkeypatch.setattr("conformance.backend.discovery.refuse_unknown", lambda _: None)  # there is no module `m`
    monkeypatch.setattr("conformance.isolation.tasks.run_task", child.do)
    monkeypatch.setattr("conformance.execution.attempts.run_batch", child.check)
    return child


def timings_of(options: BenchOptions) -> Path:
    """The file that options name."""
    assert options.records is not None
    return options.records


def test_what_conforms_is_timed_and_compiled(child: Child, tmp_path: Path) -> None:
    """Each request gets its blocks, its metrics, and its first calls, cold and warm by turns on one cache."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], compiles=2)
    done: list[str] = []
    ready = prepare(options)
    result = ready.execute(done.append)
    run = timing_file.read(timings_of(options))
    assert run.timings == result.run.timings
    assert [timing.case_id for timing in run.timings] == ["demo.first.one", "demo.first.two"]
    assert run.timings[0].blocks == (some_blocks(),)
    assert run.timings[0].compiles == {Phase.COMPILE_COLD: (1.0, 1.0), Phase.COMPILE_WARM: (0.5, 0.5)}
    (noise,) = run.noises
    assert noise.ratios == {"demo.first.one": (0.999, 1.0, 1.001), "demo.first.two": (0.999, 1.0, 1.001)}
    assert run.footer is not None
    assert (len(done), result.exit_code) == (ready.steps, 0)
    caches = [task.cache for name, task in child.tasks if isinstance(task, FirstCall)]
    assert caches[0] == caches[1] != caches[2] == caches[3]


def test_timings_for_which_no_file_is_named_are_kept(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run in a file of its own; to resume is to continue the one of the same plan, whatever ran since."""
    monkeypatch.chdir(tmp_path)
    first = prepare(BenchOptions(backends=["m:fake"], resume=True)).execute(lambda _: None).path
    second = prepare(BenchOptions(backends=["m:fake"], seed=1)).execute(lambda _: None).path
    assert kept.earlier(Kind.BENCH) == [second, first]
    kept.new(Kind.BENCH).write_text('{"kind":"timings","of":"another version"}\n')
    child.tasks = []
    assert prepare(BenchOptions(backends=["m:fake"], resume=True)).execute(lambda _: None).path == first
    assert child.tasks == []


def test_what_does_not_conform_is_not_timed(child: Child, tmp_path: Path) -> None:
    """It is a line with the reason."""
    child.attempts = {"demo.first.one": failed("gradients")}
    result = prepare(BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"])).execute(lambda _: None)
    first, second = result.run.timings
    assert result.exit_code == 1
    assert (first.verdict, first.blocks) == (Verdict.FAIL, ())
    assert "gradients" in first.message
    assert second.blocks
    assert {task.request.case.id for _, task in child.tasks} == {"demo.first.two"}  # type: ignore[attr-defined]


def test_a_child_that_dies_is_a_line_with_the_reason(child: Child, tmp_path: Path) -> None:
    """Neither noise nor times are made up."""
    child.ended = Ended(signal="SIGSEGV")
    result = prepare(BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"])).execute(lambda _: None)
    assert [timing.message for timing in result.run.timings] == ["it could not be timed: killed by SIGSEGV"] * 2
    assert result.run.noises == ()
    assert result.exit_code == 1


def test_ctrl_c_keeps_what_was_timed(child: Child, tmp_path: Path) -> None:
    """The file has its noise, what was timed, and no footer."""
    child.interrupted_at = "demo.first.two"
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"])
    result = prepare(options).execute(lambda _: None)
    assert (result.interrupted, result.exit_code) == (True, 130)
    run = timing_file.read(timings_of(options))
    assert (run.footer, len(run.noises), len(run.timings)) == (None, 1, 1)


def test_what_is_missing_of_an_interrupted_run_is_timed(child: Child, tmp_path: Path) -> None:
    """Nothing else is; both times have their noise, and what was cut off is timed again."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], resume=True)
    child.interrupted_at = "demo.first.two"
    prepare(options).execute(lambda _: None)
    with timings_of(options).open("ab") as file:
        file.write(b'{"kind":"tim')
    child.interrupted_at, child.tasks = "", []
    done: list[str] = []
    ready = prepare(options)
    result = ready.execute(done.append)
    assert {task.request.case.id for _, task in child.tasks} == {"demo.first.two"}  # type: ignore[attr-defined]
    run = timing_file.read(timings_of(options))
    assert [timing.case_id for timing in run.timings] == ["demo.first.one", "demo.first.two"]
    assert run.timings == result.run.timings
    assert [sorted(noise.ratios) for noise in run.noises] == [["demo.first.one", "demo.first.two"], ["demo.first.two"]]
    assert run.noises == result.run.noises
    assert run.footer is not None
    assert (run.footer.timings, len(done), ready.steps, result.exit_code) == (2, 2, 2, 0)


def test_a_machine_that_has_become_noisy_spoils_nothing(child: Child, tmp_path: Path) -> None:
    """A run is not continued where its verdicts would be lost; what was timed is kept, and it goes on later."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], resume=True)
    child.interrupted_at = "demo.first.two"
    prepare(options).execute(lambda _: None)
    before = timings_of(options).read_bytes()
    child.interrupted_at, child.noise = "", 0.1
    with pytest.raises(HarnessError, match=r"noise is now 11\.0%, above the smallest effect of 3%"):
        prepare(options).execute(lambda _: None)
    assert timings_of(options).read_bytes() == before
    child.noise = 0.001
    assert prepare(options).execute(lambda _: None).exit_code == 0


def test_a_wrong_file_of_expectations_costs_no_timings(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that may be wrong is looked at before the file of an earlier run is replaced."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"])
    prepare(options).execute(lambda _: None)
    before = timings_of(options).read_bytes()

    def refuse(*_: object) -> None:
        raise UsageError

    monkeypatch.setattr(bench, "known_failures", refuse)
    with pytest.raises(UsageError):
        prepare(options)
    assert timings_of(options).read_bytes() == before
    assert child.tasks


@pytest.mark.parametrize(("function", "told"), [("first_call", "compile_cold could"), ("instructions", "its instruct")])
def test_what_of_a_request_could_not_be_timed_is_reported(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, told: str
) -> None:
    """Its blocks are kept, and the exit code shows that something is missing."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    child.dying = function
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], callgrind=True)
    result = prepare(options).execute(lambda _: None)
    assert all(timing.blocks and timing.message.startswith(told) for timing in result.run.timings)
    assert result.exit_code == 1
    assert f"m:fake0 demo.first.one grad=enabled: {told}" in typed(tmp_path, "--callgrind").stdout


def test_a_complete_run_has_nothing_left_to_do(child: Child, tmp_path: Path) -> None:
    """Its file stays as it is."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], resume=True)
    prepare(options).execute(lambda _: None)
    before, child.tasks = timings_of(options).read_bytes(), []
    result = prepare(options).execute(lambda _: None)
    assert (timings_of(options).read_bytes(), child.tasks, result.exit_code) == (before, [], 0)


def test_a_run_of_something_else_is_not_continued(child: Child, tmp_path: Path) -> None:
    """The differences are reported, and the file stays as it is."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], resume=True)
    prepare(options).execute(lambda _: None)
    before, child.tasks = timings_of(options).read_bytes(), []
    with pytest.raises(
        UsageError, match=r"(?s)cannot be continued.*kernels was 1, is now 2.*budget_s was 2.0, is now 9"
    ):
        prepare(replace(options, threads=2, budget_s=9, compiles=1))
    assert (timings_of(options).read_bytes(), child.tasks) == (before, [])


def test_a_case_that_is_named_is_timed_whatever_its_tags(child: Child, tmp_path: Path) -> None:
    """The tag selects what is timed by default."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], case_globs=["*.untagged"], compiles=0)
    (timing,) = prepare(options).execute(lambda _: None).run.timings
    assert (timing.case_id, timing.compiles) == ("demo.first.untagged", {})
    assert "first_call" not in dict(child.tasks)


def test_what_matches_nothing_is_refused_before_anything_runs(child: Child, tmp_path: Path) -> None:
    """Nor is a file written."""
    with pytest.raises(SelectionError, match="no case matches"):
        prepare(BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], case_globs=["demo.secnd.*"]))
    assert not (tmp_path / "t.jsonl").exists()
    assert child.tasks == []


class Machines(Executor):
    """Takes the place of a cluster: the first machine times what the next does not, and the last case ends workers."""

    def __init__(self, child: Child, noises: Sequence[float]) -> None:
        self._child, self._noises, self.probes = child, noises, list[list[str]]()

    def submit(self, fn: Callable[..., Any], /, *parts: Sequence[Request]) -> Future[Any]:  # type: ignore[override]
        """Do it at once."""
        del fn
        future: Future[Any] = Future()
        future.set_result(self._child.check(parts[0]) if len(parts) == 1 else [self._time(*parts)])
        return future

    def _time(self, requests: Sequence[Request], probes: Sequence[Request]) -> Timed | Attempt:
        self.probes.append([probe.case.id for probe in probes])
        number = len(self.probes) % (len(self._noises) + 1)
        if number == 0:
            return Attempt(ended=Ended(status=1, note="the workers that ran it died"))
        noise = self._noises[number - 1]
        timing = replace(Timing.of(requests[0]), blocks=(some_blocks(),))
        ratios = {f"on {number}": (1 - noise, 1.0, 1 + noise)}
        return Timed(
            timing=timing, noise=Noise(ratios=ratios), machine=f"m{number}", fingerprint=f"fingerprint{number}"
        )


def test_on_a_cluster_each_machine_has_its_noise(child: Child, tmp_path: Path) -> None:
    """Once, before its first timing; each timing shows where it was made, and one that ends its workers says so."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:a", "m:b"])
    machines = Machines(child, [0.001, 0.002, 0.003])
    result = replace(
        prepare(options), engine=Engine(executor=machines, slots=lambda: 3, timed_at_once=lambda: 3)
    ).execute(lambda _: None)
    run = timing_file.read(timings_of(options))
    assert (run.noises, run.timings) == (result.run.noises, result.run.timings)
    assert [list(noise.ratios) for noise in run.noises] == [["on 1"], ["on 2"], ["on 3"]]
    assert [timing.fingerprint for timing in run.timings] == ["fingerprint1", "fingerprint2", "fingerprint3", ""]
    assert "it could not be timed: exited with status 1 (the workers that ran it died)" in run.timings[3].message
    assert machines.probes == [["demo.first.one", "demo.first.two"]] * 4
    assert result.exit_code == 1


def test_a_machine_of_a_cluster_that_is_noisy_ends_a_run_that_is_continued(child: Child, tmp_path: Path) -> None:
    """As on one machine; what was timed is kept."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:a", "m:b"], resume=True)
    child.interrupted_at = "demo.first.two"
    prepare(options).execute(lambda _: None)
    noisy = Engine(executor=Machines(child, [0.001, 0.2]), slots=lambda: 2, timed_at_once=lambda: 2)
    with pytest.raises(HarnessError, match="above the smallest effect"):
        replace(prepare(options), engine=noisy).execute(lambda _: None)
    assert len(timing_file.read(timings_of(options)).timings) == 3


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of dask and tornado themselves
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_of_a_real_cluster_time_what_the_client_writes(tmp_path: Path) -> None:
    """With their noise, first calls, and no other environment than that of the run."""
    words = ["bench", "--backend", "eager", "--case", "training.steps.mlp", "--variant", "grad=enabled,autocast=off"]
    words += ["--compiles", "1", "--budget", "0.05", "--smallest", "9", "--records", str(tmp_path / "t.jsonl")]
    done = CliRunner().invoke(main, [*words, "--scheduler", "local:1"])
    assert done.exit_code == 0, done.output
    run = timing_file.read(tmp_path / "t.jsonl")
    assert (len(run.noises), len(run.timings)) == (1, run.header.planned)
    assert all(timing.blocks and timing.compiles and not timing.fingerprint for timing in run.timings)


def test_effort_and_threads_reach_the_child(child: Child, tmp_path: Path) -> None:
    """The options are used, and are in the header."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], budget_s=0.5, threads=2, smallest=0.1)
    run = prepare(options).execute(lambda _: None).run
    tasks = [task for name, task in child.tasks if name == "run"]
    assert all(isinstance(task, TimingRequest) and task.threads == 2 and task.effort.budget_s == 0.5 for task in tasks)
    assert (run.header.smallest, run.header.effort.budget_s, run.header.conditions.threads) == (0.1, 0.5, 2)


def test_instructions_are_counted_where_valgrind_is(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is missing, that is reported before anything runs."""
    options = BenchOptions(records=tmp_path / "t.jsonl", backends=["m:fake"], callgrind=True)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UsageError, match="needs valgrind"):
        prepare(options)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    first, _ = prepare(options).execute(lambda _: None).run.timings
    assert first.instructions == {Phase.STEP: (100, 150)}
    assert [name for name, _ in child.tasks].count("instructions") == 2


def typed(folder: Path, *words: str, backends: int = 1) -> Result:
    """`conformance bench`, typed."""
    chosen = [word for number in range(backends) for word in ("--backend", f"m:fake{number}")]
    return CliRunner().invoke(main, ["bench", *chosen, "--records", str(folder / "t.jsonl"), *words])


def test_each_phase_of_a_few_requests_is_reported(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for each phase, the table of backends, what was not timed, the noise, and where the timings are."""
    monkeypatch.setenv("COLUMNS", "120")
    child.attempts["demo.first.two"] = failed("values")
    printed = typed(tmp_path, "--compiles", "1").stdout
    row = r"^m:fake0 +demo.first.one +grad=enabled +"
    assert re.search(rf"{row}step +\S+ us +\d\.\d+ +\d\.\d+ to \d\.\d+ +undecided", printed, re.MULTILINE)
    assert re.search(rf"{row}compile_cold +1 s *$", printed, re.MULTILINE)
    assert re.search(r"^m:fake0 +step +1 +\S+ \(\S+ to \S+\) +0% +0% +100%", printed, re.MULTILINE)
    assert "m:fake0: 1 not timed: fail" in printed
    assert "Noise: before the run, uncompiled calls were timed against themselves 3 times" in printed
    last = f"1 of 2 requests timed; timings in {tmp_path / 't.jsonl'}\n"
    assert printed.endswith(f"\n\n{last}")
    assert typed(tmp_path, "--quiet").stdout == last


def test_an_interrupted_run_shows_how_to_continue(child: Child, tmp_path: Path) -> None:
    """The command that is printed does what is missing, and reports what is there."""
    child.interrupted_at = "demo.first.two"
    interrupted = typed(tmp_path, "--quiet")
    assert interrupted.exit_code == 130
    lines = interrupted.stdout.splitlines()
    again = f"conformance bench --backend m:fake0 --records {tmp_path / 't.jsonl'} --quiet --resume"
    assert lines[-1] == f"Interrupted; 1 of 2 requests are missing. Continue: {again}"
    child.interrupted_at = ""
    resumed = typed(tmp_path, "--resume")
    assert "1 of 2 timings are there" in resumed.stderr
    assert "2 of 2 requests timed" in resumed.stdout


@pytest.mark.usefixtures("child")
def test_many_timings_are_only_summed_up(tmp_path: Path) -> None:
    """Beyond forty rows the page is the better reader."""
    printed = typed(tmp_path, backends=8).stdout
    assert "demo.first.one  grad=enabled" not in printed
    assert "16 of 16 requests timed" in printed

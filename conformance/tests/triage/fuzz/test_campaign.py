from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue import writer
from conformance.isolation.deadline import Deadline, StoppedError
from conformance.model.case import Call, Case, Variant
from conformance.model.enums import Capability, Fault, Outcome
from conformance.model.errors import BackendError, UsageError
from conformance.program.nest_reader import nest
from conformance.tests.fakes import (
    a_backend,
    a_case,
    a_difference,
    a_record,
    an_attempt,
    an_environment,
    failed,
)
from conformance.tests.runs import a_run, red
from conformance.triage.fuzz import finding as fuzz_finding
from conformance.triage.fuzz.budget import Budget
from conformance.triage.fuzz.campaign import STATE, Tools, prepare
from conformance.triage.fuzz.command import Fuzzing
from conformance.triage.fuzz.finding import FuzzFinding, merged
from conformance.triage.fuzz.guidance import Drawn, Guide
from conformance.triage.fuzz.known import PACKAGED, Known, digests, known_failures, packaged, packed
from conformance.triage.fuzz.report import report, statistics, summary
from conformance.triage.fuzz.result import Chunk, FuzzResult, Options
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.model.result import Attempt

VALUES = Symptom.of(failed("values"))


def drawn(cases: Sequence[Case]) -> list[Drawn]:
    """Cases that are drawn from their own number."""
    return [Drawn(case=case, choices=(number,)) for number, case in enumerate(cases)]


def some_programs(number: int, seed: int, _: Guide) -> list[Drawn]:
    """Four programs: the last of each chunk is one with no_grad, the third is the same in each chunk."""
    texts = [f"return a * {number}{seed}", f"return a + {number}", "return a.sin()", _region(number)]
    return drawn(
        [
            a_case(f"fuzz.s{seed}.p{number * 4 + place}", program=f"{text}\n", calls=(Call(),))
            for place, text in enumerate(texts)
        ]
    )


def _region(number: int) -> str:
    return f"with torch.no_grad():\n    b = a * {number}\nreturn b"


def breaking(*texts: str, made: Attempt | None = None) -> Callable[[Sequence[Request]], list[Attempt]]:
    """Something that runs requests: what holds any of these texts fails in its values."""
    wrong = made or failed("values")
    return lambda batch: [wrong if any(t in r.case.program for t in texts) else an_attempt() for r in batch]


def tools(**changes: Any) -> Tools:
    """Tools that run nothing: programs with no_grad fail, each is its own smallest, and shows on the backend alone."""
    plain = Tools(
        rung=lambda request, _: request.backend.name,
        shrink=lambda request, *_: request,
        dump=lambda case: f"topic: {case.id}\n",
        run=breaking("no_grad"),
        generate=some_programs,
        describe=lambda ref: a_backend("fake", ref=ref),
        clock=count().__next__,
    )
    return replace(plain, **changes)


def options(folder: Path, **changes: Any) -> Options:
    """Two chunks of a backend that is not declared."""
    return replace(Options(backend="some:fake", output=folder, programs=8, jobs=1), **changes)


def fuzzed(folder: Path, given: Tools | None = None, **changes: Any) -> FuzzResult:
    """Return the result of a run."""
    return prepare(options(folder, **changes), given or tools()).execute()


def test_each_program_is_run_once(tmp_path: Path) -> None:
    """Programs of an earlier chunk are left out, and the rest is counted."""
    result = fuzzed(tmp_path)
    assert [chunk.programs for chunk in result.chunks][:2] == [4, 3]
    assert result.programs >= 8
    assert result.accepted == result.programs


def test_a_failure_becomes_a_finding_with_a_file(tmp_path: Path) -> None:
    """A case is written under a name that the loader takes, and is in the result."""
    result = fuzzed(tmp_path)
    (finding,) = result.findings
    assert (finding.symptom, finding.rung, finding.nest) == (VALUES, "fake", "enabled: no_grad_with")
    assert (tmp_path / finding.file).read_text() == "topic: fuzz.s0.p3\n"
    assert finding.file == "fuzz_s0_p3.yaml"
    assert result.exit_code == 1


def test_without_failures_nothing_is_found(tmp_path: Path) -> None:
    """A backend that does what the uncompiled program does has no findings and no files, and the exit code is 0."""
    result = fuzzed(tmp_path, tools(run=breaking("nothing at all")))
    assert (result.findings, result.exit_code) == ([], 0)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_findings_of_one_key_are_one(tmp_path: Path) -> None:
    """The fourth failure with one symptom is looked into as well, and is the first again; only one is written."""
    result = fuzzed(tmp_path, programs=16)
    assert 4 < result.failures[VALUES] < 16
    assert (result.looked_into, len(result.findings)) == (2, 1)
    assert len(list(tmp_path.glob("*.yaml"))) == 1


def test_findings_with_other_nests_are_distinguished(tmp_path: Path) -> None:
    """The same symptom in a region and outside of one is two findings."""
    result = fuzzed(tmp_path, tools(run=breaking("no_grad", "return a +")))
    assert {finding.nest for finding in result.findings} == {"enabled", "enabled: no_grad_with"}


def test_what_is_reported_is_the_shrunk_program(tmp_path: Path) -> None:
    """The nest, the text and the file are of the smaller program."""
    small = a_case("shrunk.other.name", program="return a\n", calls=(Call(),))
    result = fuzzed(tmp_path, tools(shrink=lambda request, *_: replace(request, case=small)))
    assert [(one.program, one.nest) for one in result.findings] == [("return a\n", "enabled")]
    assert [one.file for one in result.findings] == ["fuzz_s0_p3.yaml"]


def test_what_slips_into_another_failure_is_shrunk_again(tmp_path: Path) -> None:
    """A smaller program that shows the symptom on another rung is not the same finding; the first rung must hold."""
    other, small = (a_case("shrunk.some.name", program=text, calls=(Call(),)) for text in ("return 1\n", "return a\n"))

    def smaller(request: Request, _: Symptom, holds: Callable[[Request], bool]) -> Request:
        return next(one for case in (other, small) if holds(one := replace(request, case=case)))

    def rung(request: Request, _: Symptom) -> str:
        return "eager" if request.case.program == other.program else "fake"

    result = fuzzed(tmp_path, tools(shrink=smaller, rung=rung))
    assert [(one.program, one.rung) for one in result.findings] == [(small.program, "fake")]


def test_what_does_not_fail_again_is_reported_as_it_was(tmp_path: Path) -> None:
    """A failure that the shrinker does not see stays a finding with the program that was drawn."""

    def refuse(request: Request, symptom: Symptom, _: object) -> Request:
        message = f"{request.key} does not show {symptom}"
        raise UsageError(message)

    assert [one.case_id for one in fuzzed(tmp_path, tools(shrink=refuse)).findings] == ["fuzz.s0.p3"]


def a_known(*modes: str) -> Known:
    """One failure, shown by a case with these modes."""
    return Known({(VALUES, "fake"): [("demo.first.one", frozenset(modes))]})


def test_a_known_failure_is_recognised_and_not_shrunk(tmp_path: Path) -> None:
    """A finding that a record shows too names its case, has no file, and is not red."""

    def never(request: Request, symptom: Symptom, _: object) -> Request:
        raise AssertionError(request, symptom)

    result = fuzzed(tmp_path, tools(known=a_known("no_grad", "bfloat16"), shrink=never))
    (finding,) = result.findings
    assert (finding.known, finding.file, result.new, result.exit_code) == ("demo.first.one", "", [], 0)


def test_a_failure_that_takes_another_mode_is_new(tmp_path: Path) -> None:
    """The same symptom on the same rung is not what a case shows that does without the mode."""
    (finding,) = fuzzed(tmp_path, tools(known=a_known("inference"))).new
    assert (finding.symptom, finding.rung) == (VALUES, "fake")


def test_a_failure_may_be_known_once_it_is_shrunk(tmp_path: Path) -> None:
    """Modes that it does not need do not make it new."""
    small = a_case("shrunk.other.name", program="return a\n", calls=(Call(),))
    result = fuzzed(tmp_path, tools(known=a_known(), shrink=lambda request, *_: replace(request, case=small)))
    assert [one.known for one in result.findings] == ["demo.first.one"]
    assert not list(tmp_path.glob("*.yaml"))


def test_known_failures_come_from_records(tmp_path: Path) -> None:
    """The symptom of a record counts for the first rung that shows it, with the modes of its case and variant."""
    path, name = tmp_path / "some.jsonl", "grad_mode.nesting.enable_in_no_grad"
    keys = {"variant": "grad=disabled"}
    a_run(path, a_record(name, "eager", **keys), red(name, "pre_dispatch_eager", **keys), red("gone.case.now", "eager"))
    known = known_failures([path])
    assert known == Known({(VALUES, "pre_dispatch_eager"): ((name, frozenset({"no_grad", "enable_grad"})),)})


def test_what_is_published_is_known_anywhere(checkout: Path) -> None:
    """The packaged file is of the committed records; `python -m conformance.triage.fuzz.known` makes it so."""
    held = json.loads((checkout / "conformance" / "triage" / "fuzz" / PACKAGED).read_text(encoding="utf-8"))
    assert held["records"] == digests(checkout / "results" / "records")
    known = packaged()
    assert len(known.failures) == len(held["failures"]) > 100
    assert {rung for _, rung in known.failures} >= {"eager", "pre_dispatch_eager", "aot_eager"}


def test_what_any_release_shows_is_packed(tmp_path: Path) -> None:
    """The same failure of two releases is one; each release has its own rungs."""
    name = "grad_mode.nesting.enable_in_no_grad"
    for torch, rung in (("2.13.0+cpu", "eager"), ("2.14.1+cpu", "pre_dispatch_eager")):
        passed = [a_record(name, "eager", variant="grad=enabled")] if rung != "eager" else []
        shown = red(name, rung, variant="grad=enabled")
        a_run(tmp_path / torch / "a.jsonl", *passed, shown, environment=an_environment(torch=torch))
    held = json.loads(packed(tmp_path))
    assert [(rung, cases) for _, rung, cases in held["failures"]] == [
        ("eager", [[name, ["enable_grad", "no_grad"]]]),
        ("pre_dispatch_eager", [[name, ["enable_grad", "no_grad"]]]),
    ]
    assert list(held["records"]) == ["2.13.0+cpu/a.jsonl", "2.14.1+cpu/a.jsonl"]


def test_records_of_users_cases_are_known_too(tmp_path: Path) -> None:
    """A run with `--cases` records where its cases were."""
    folder, path = tmp_path / "mine", tmp_path / "some.jsonl"
    fuzz_finding.write(folder, a_case("demo.first.one", program="return a\n", calls=(Call(),)), writer.dump)
    a_run(path, red("demo.first.one", "eager", variant=Variant().id), folders=(str(folder),))
    assert known_failures([path]).failures[VALUES, "eager"] == (("demo.first.one", frozenset()),)


def test_records_that_nothing_can_be_known_from_are_refused(tmp_path: Path) -> None:
    """Without the backends below, the first that shows a failure is unknown."""
    path = a_run(tmp_path / "some.jsonl", red("demo.first.one", "aot_eager"))
    with pytest.raises(UsageError, match="nothing can be known from these records") as error:
        known_failures([path])
    assert "eager, pre_dispatch_eager" in str(error.value)


def test_what_eager_refuses_is_no_finding(tmp_path: Path) -> None:
    """An invalid program is counted with its reason and lowers the acceptance."""
    refused = an_attempt(invalid="the uncompiled program raised RuntimeError\nand more", checks=())
    result = fuzzed(tmp_path, tools(run=breaking("no_grad", made=refused)))
    assert set(result.invalid.values()) == {"the uncompiled program raised RuntimeError"}
    assert result.accepted == result.programs - len(result.invalid)
    assert result.exit_code == 0
    assert result.unstable == 0


def test_programs_that_differ_from_themselves_are_counted(tmp_path: Path) -> None:
    """By the fault of the attempt, whatever its reason says."""
    refused = an_attempt(invalid="it varies", fault=Fault.UNSTABLE, checks=())
    result = fuzzed(tmp_path, tools(run=breaking("no_grad", made=refused)))
    assert result.unstable == len(result.invalid) > 0


def test_what_a_backend_does_not_claim_is_not_run(tmp_path: Path) -> None:
    """A program that needs more is counted apart."""

    def needing(number: int, seed: int, guide: Guide) -> list[Drawn]:
        first, *others = some_programs(number, seed, guide)
        return [replace(first, case=replace(first.case, requires=frozenset({Capability.AUTOCAST}))), *others]

    lacking = a_backend("fake", ref="some:fake", capabilities=frozenset())
    result = fuzzed(tmp_path, tools(generate=needing, describe=lambda _: lacking))
    assert result.unsupported == len(result.chunks)


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    """With more programs requested, earlier chunks are kept, and the result is that of one longer run."""
    whole = fuzzed(tmp_path / "whole", programs=16)
    fuzzed(tmp_path / "parts", programs=8)
    parts = fuzzed(tmp_path / "parts", programs=16)
    shorter = min(len(whole.chunks), len(parts.chunks))
    bare = [[replace(chunk, seconds=0.0) for chunk in result.chunks[:shorter]] for result in (whole, parts)]
    assert bare[0] == bare[1]
    assert parts.programs >= 16


def guided(given: list[Guide], *, breaking_on: str = "no_grad") -> Tools:
    """Tools that keep what guided each chunk; a program sees a guard of its own text."""

    def generate(number: int, seed: int, guide: Guide) -> list[Drawn]:
        given.append(guide)
        return some_programs(number, seed, guide)

    def run(batch: Sequence[Request]) -> list[Attempt]:
        made = breaking(breaking_on)(batch)
        return [replace(one, reached=(f"guard {r.case.program}",)) for one, r in zip(made, batch, strict=True)]

    return tools(generate=generate, run=run)


def test_what_reached_something_new_is_kept(tmp_path: Path) -> None:
    """A program that passes, by the choices that give it again, with what no other one reached before."""
    first, second = fuzzed(tmp_path, guided([])).chunks[:2]
    assert [one.choices for one in first.kept] == [(0,), (1,), (2,)]
    assert [one.reached for one in first.kept][:1] == [("guard return a * 00\n",)]
    assert [one.choices for one in second.kept] == [(0,), (1,)]


def test_a_chunk_is_guided_by_those_that_are_never_under_way(tmp_path: Path) -> None:
    """The third before it, and all before that, whatever was judged already; a run that goes on does the same."""
    whole: list[Guide] = []
    result = fuzzed(tmp_path / "whole", guided(whole), programs=24)
    kept = [chunk.kept for chunk in result.chunks]
    assert len(whole) > 5
    for number, guide in enumerate(whole):
        assert list(guide.kept) == [one for chunk in kept[: max(0, number - 2)] for one in chunk]
    fuzzed(tmp_path / "parts", guided([]), programs=12)
    rest: list[Guide] = []
    done = len(fuzzed(tmp_path / "parts", guided([]), programs=12).chunks)
    fuzzed(tmp_path / "parts", guided(rest), programs=24)
    assert rest[: len(whole) - done] == whole[done:][: len(rest)]


def test_the_report_counts_what_was_reached(tmp_path: Path) -> None:
    """How much, and by how many programs: here each that passes reaches one thing."""
    result = fuzzed(tmp_path, guided([]))
    assert len(result.kept.reached) == len(result.kept.kept) > 3
    rows = dict(line.strip("| ").rsplit("|", 1) for line in statistics(result).splitlines() if "reach" in line)
    assert {int(count) for count in rows.values()} == {len(result.kept.kept)}


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    """A run that was killed while it wrote goes on from the last whole line."""
    before = fuzzed(tmp_path)
    state = tmp_path / STATE
    state.write_bytes(state.read_bytes()[:-20])
    after = fuzzed(tmp_path)
    assert [chunk.codes for chunk in after.chunks[: len(before.chunks)]] == [chunk.codes for chunk in before.chunks]
    assert all(json.loads(line) for line in state.read_text().splitlines())


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"backend": "some:other"}, "backend was fake, is now other"),
        ({"backend": "another:fake"}, "made of was"),
        ({"timeout_s": 5.0}, "timeout was None, is now 5.0"),
    ],
)
def test_another_run_is_not_continued(tmp_path: Path, changes: dict[str, Any], differs: str) -> None:
    """A folder holds one run: what would give other findings is refused with what differs."""
    fuzzed(tmp_path)
    named = tools(describe=lambda ref: a_backend(ref.partition(":")[2], ref=ref))
    with pytest.raises(UsageError, match=differs):
        prepare(options(tmp_path, **changes), named)


def test_what_is_known_belongs_to_a_run(tmp_path: Path) -> None:
    """With other known failures, findings would differ."""
    fuzzed(tmp_path)
    with pytest.raises(UsageError, match="known was"):
        fuzzed(tmp_path, tools(known=a_known("no_grad")))


def test_a_backend_that_was_changed_is_fuzzed_anew(tmp_path: Path) -> None:
    """A run continued with a changed backend file would mix results of two backends."""
    backend_file = tmp_path / "backend_file.py"
    backend_file.write_text("fake = 1\n")
    fuzzed(tmp_path / "found", backend=f"{backend_file}:fake")
    backend_file.write_text("fake = 2\n")
    with pytest.raises(UsageError, match="made of was"):
        fuzzed(tmp_path / "found", backend=f"{backend_file}:fake")


def test_the_budget_counts_what_earlier_runs_took(tmp_path: Path) -> None:
    """A run whose time is spent draws nothing more, and reports what was found."""
    first = fuzzed(tmp_path, programs=None, budget_s=6)
    again = fuzzed(tmp_path, programs=None, budget_s=6)
    assert first.chunks
    assert again.chunks == first.chunks


def stopping(*texts: str) -> Callable[[Sequence[Request]], list[Attempt]]:
    """Something that runs requests until the time is up, which it is at the first that holds one of these texts."""
    run = breaking("no_grad")

    def one(batch: Sequence[Request]) -> list[Attempt]:
        if any(text in request.case.program for text in texts for request in batch):
            raise StoppedError
        return run(batch)

    return one


def test_programs_that_there_was_no_time_for_are_not_counted(tmp_path: Path) -> None:
    """They are drawn again by a run that continues this one, if they come up again."""
    result = fuzzed(tmp_path, tools(run=stopping("a * 10")))
    assert [chunk.programs for chunk in result.chunks][:2] == [4, 0]
    assert result.chunks[1].codes == ()


def test_a_failure_that_there_was_no_time_for_is_looked_into_later(tmp_path: Path) -> None:
    """It is reported, and a run that continues this one looks into the next with the same symptom."""

    def never(request: Request, symptom: Symptom) -> str:
        raise StoppedError(request, symptom)

    first = fuzzed(tmp_path, tools(rung=never))
    assert (first.left, first.findings) == ({VALUES}, [])
    assert "| symptoms that there was no time to look into" in report(first, {})
    second = fuzzed(tmp_path, programs=16)
    assert (second.left, len(second.findings)) == (set(), 1)


def test_what_there_was_no_time_to_shrink_is_reported_as_it_was(tmp_path: Path) -> None:
    """A smaller program of which the rung could not be found may be another failure."""
    small = a_case("shrunk.other.name", program="return a\n", calls=(Call(),))

    def rung(request: Request, _: Symptom) -> str:
        if request.case.program == small.program:
            raise StoppedError
        return "fake"

    shrink = lambda request, *_: replace(request, case=small)  # noqa: E731
    (finding,) = fuzzed(tmp_path, tools(rung=rung, shrink=shrink)).findings
    assert "no_grad" in finding.program


def test_a_budget_leaves_time_for_what_comes_after_drawing() -> None:
    """With failures to look into and findings to confirm drawing ends sooner, but never before its share is spent."""
    now = 0.0
    deadline = Deadline(lambda: now)
    budget = Budget(seconds=100, spent_s=20, script_s=8.0, jobs=2, deadline=deadline, clock=lambda: now)
    assert deadline.left_s == 80
    now = 70.0
    assert budget.is_left(waiting=0, new=0)
    assert not budget.is_left(waiting=1, new=1)
    assert budget.is_left(waiting=0, new=1)
    now = 39.0
    assert budget.is_left(waiting=1000, new=1000)
    budget.reserve(new=2)
    assert deadline.moment == 72
    budget.reserve(new=1000)
    assert deadline.moment == 52
    budget.release()
    assert (deadline.moment, budget.rest_s()) == (80, 41)


def test_without_a_budget_nothing_ends() -> None:
    """There is always time, and nothing is left of it."""
    budget = Budget(seconds=None, spent_s=5, script_s=8.0, jobs=1, deadline=(deadline := Deadline()), clock=lambda: 0.0)
    budget.reserve(new=3)
    assert budget.is_left(waiting=5, new=5)
    assert (deadline.has_passed, budget.rest_s()) == (False, 0.0)


def test_a_deadline_within_another_is_the_sooner_one() -> None:
    """It stays where it is when the other one is moved."""
    deadline = Deadline(lambda: 10.0)
    deadline.moment = 15.0
    assert (deadline.within(2.0).moment, deadline.within(9.0).moment) == (12.0, 15.0)
    assert not deadline.has_passed
    deadline.moment = 10.0
    assert deadline.has_passed


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    """Ctrl-C ends the run with its findings so far and exit code 130."""

    def interrupt(chunk: Chunk) -> None:
        raise KeyboardInterrupt(chunk.number)

    result = prepare(options(tmp_path, programs=None), tools()).execute(interrupt)
    assert (len(result.chunks), result.interrupted, result.exit_code) == (1, True, 130)


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    """Its report is written, and the last line names what continues it."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    ended = Fuzzing(run=prepare(options(tmp_path), tools())).execute(interrupt)
    assert (ended.exit_code, ended.report.exists()) == (130, True)
    assert ended.text.endswith("written\nInterrupted. Continue: the same command, with the same output folder")
    assert Fuzzing(run=prepare(options(tmp_path), tools())).execute(lambda _: None).text.endswith(": written")


def test_a_backend_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """Before anything is drawn, with the reason."""
    with pytest.raises(BackendError, match="no compiler"):
        prepare(options(tmp_path), tools(describe=lambda ref: a_backend("fake", ref=ref, unavailable="no compiler")))


TWICE = """\
with torch.no_grad():
    b = a
    torch.set_grad_enabled(True)
with torch.no_grad():
    pass
return b
"""
DECORATED = """\
@torch.inference_mode()
def f():
    if a:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pass
f()
return a
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("return a\n", "enabled"),
        ("torch.set_grad_enabled(False)\nreturn a\n", "enabled: set_false_call"),
        (TWICE, "enabled: no_grad_with(set_true_call), no_grad_with"),
        (DECORATED, "enabled: inference_def(bfloat16_with)"),
    ],
)
def test_a_nest_is_reported_without_names(program: str, expected: str) -> None:
    """Modes and forms as they are nested; what is computed in them is left out."""
    assert nest(a_case(program=program)) == expected


def test_a_nest_tells_what_the_caller_holds() -> None:
    """The ambient mode, and those of calls that have their own."""
    case = a_case(variants=(Variant(grad="disabled"),), calls=(Call(), Call(autocast="bfloat16")))
    assert nest(case) == "disabled, bfloat16"


def test_merged_findings_keep_the_first() -> None:
    """Of the findings of one key the first is reported; keys stay in their order."""
    first = FuzzFinding(symptom=VALUES, rung="eager", nest="enabled", case_id="a.b.c", program="return a\n")
    other = replace(first, rung="aot_eager")
    assert merged([first, other, replace(first, case_id="x.y.z")]) == [first, other]


def test_the_report_tells_counts_findings_and_coverage(tmp_path: Path) -> None:
    """Each finding with its program, how many programs were accepted, and every part of the grammar."""
    text = report(fuzzed(tmp_path, tools(run=breaking("no_grad", "return a +"))), {})
    assert "with torch.no_grad():" in text
    assert "(100.0%)" in text
    assert "2 new, 0 known" in text
    assert "enabled: no_grad_with" in text
    assert "op sin" in text


def test_a_terminal_shows_what_is_new(tmp_path: Path) -> None:
    """One line of numbers and the findings; what was drawn and what is known are another text."""
    result = fuzzed(tmp_path, tools(run=breaking("no_grad", "return a +"), known=a_known()))
    first, *_, last = summary(result, {}).splitlines()
    assert first.startswith(f"fake: {result.programs} programs in ")
    assert first.endswith(" 2 of these looked into; findings: 1 known, 1 new")
    assert last == "```"
    assert "op sin" not in summary(result, {})
    assert "## New findings" not in statistics(result)
    assert "## Known findings" in statistics(result)
    assert "op sin" in statistics(result)


def test_symptoms_survive_the_state(tmp_path: Path) -> None:
    """A finding in a line of the state is read back as it was."""
    difference = a_difference(kind="dtype", actual="torch.float32 tensor", expected="torch.bfloat16 tensor")
    checks = tuple(replace(one, differences=(difference,)) for one in failed("values").checks if not one.held)
    result = fuzzed(tmp_path, tools(run=breaking("no_grad", made=an_attempt(checks=checks))))
    assert fuzzed(tmp_path).chunks == result.chunks
    assert result.findings[0].symptom.outcome is Outcome.FAIL

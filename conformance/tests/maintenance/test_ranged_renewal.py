from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cli.main import main
from conformance.execution import attempts as execution_attempts
from conformance.maintenance.ranged_renewal import renew_ranged
from conformance.maintenance.rejudge import judge_again
from conformance.maintenance.renewal import ObservedRun, Renewal, observed_run
from conformance.model.case import Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Verdict
from conformance.model.errors import UsageError
from conformance.model.result import Attempt
from conformance.tests.fakes import (
    a_backend,
    a_record,
    an_attempt,
    an_environment,
    an_expectation,
    failed,
    raised,
    vacuous,
)
from conformance.tests.maintenance.test_renewal import CASES, ENTRY, RUNS, VARIANTS, records
from conformance.tests.runs import a_run, red
from conformance.verdict.expectations import Host, load_expectations, match, stale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conformance.model.request import Expectation
    from conformance.model.result import Record

Attempts = dict[str, Attempt]

OLD, MID, NEW = "2.13.0+cpu", "2.14.1+cu130", "2.15.0+cu132"
ALL = dict.fromkeys(("one", "two", "three"), failed("values"))


def shown(torch: str, attempts: Attempts, like: Sequence[Expectation] = ()) -> ObservedRun:
    """A run of all cases on a release."""
    return observed_run(records(attempts), CASES, Host({"torch": torch}, "Linux-x86_64"), like)


def renewed(text: str, runs: Mapping[str, Attempts], like: Sequence[Expectation] = ()) -> Renewal:
    """A file after an update from runs on several releases."""
    every = [shown(torch, attempts, like) for torch, attempts in runs.items()]
    return renew_ranged(textwrap.dedent(text), "mine.expected.yaml", every)


def test_what_holds_on_all_stays_as_it_is_written() -> None:
    """Comments, folding and order are whoever wrote them's affair."""
    text = f"# Known divergences.\n\n{ENTRY}"
    assert renewed(text, {OLD: ALL, MID: ALL, NEW: ALL}) == Renewal(text=text, kept=1)


@pytest.mark.parametrize(
    ("failing", "torch"),
    [((OLD, MID), "<2.15"), ((MID, NEW), ">=2.14"), ((MID,), ">=2.14,<2.15"), ((OLD, NEW), "!=2.14.*")],
)
def test_what_holds_on_some_gets_their_range(failing: tuple[str, ...], torch: str) -> None:
    """Nothing else of the entry changes."""
    seen = renewed(f"# why\n{ENTRY}", {each: ALL if each in failing else {} for each in (OLD, MID, NEW)})
    expected = ENTRY.replace("  reason:", f'  torch: "{torch}"\n  reason:')
    assert seen == Renewal(text=f"# why\n{expected}", ranged=1)


def test_what_holds_on_none_goes() -> None:
    """But an entry for releases of which there is no run stays."""
    assert renewed(ENTRY, {OLD: {}, NEW: {}}) == Renewal(text="\n", removed=1)
    older = ENTRY.replace("  reason:", '  torch: "<2.13"\n  reason:')
    assert renewed(older, {OLD: {}, NEW: {}}) == Renewal(text=older, kept=1)


def test_an_edge_that_is_contradicted_is_corrected() -> None:
    """The other one stays; a range that no release contradicts is kept."""
    text = ENTRY.replace("  reason:", '  torch: ">=2.12,<2.14"\n  reason:')
    seen = renewed(text, {OLD: ALL, MID: ALL, NEW: {}})
    assert seen == Renewal(text=text.replace("<2.14", "<2.15"), ranged=1)
    assert renewed(text, {OLD: ALL, MID: ALL}).text == text.replace('">=2.12,<2.14"', '">=2.12"')
    assert renewed(text, {OLD: ALL, NEW: {}}).text == text


def test_an_entry_of_cases_that_part_ways_is_narrowed() -> None:
    """It is for what most of them do; what the others do goes on in an entry with the same reason."""
    seen = renewed(ENTRY, {OLD: ALL, MID: ALL, NEW: {"three": failed("values")}})
    assert (seen.narrowed, seen.added, seen.unexplained) == (1, 1, 0)
    assert "cases: [demo.first.*]\n  except: [demo.first.three]\n" in seen.text
    assert "torch: <2.15\n" in seen.text
    assert seen.text.startswith("- cases: demo.first.three\n  outcome: fail\n")
    assert seen.text.count("reason: it doubles twice\n") == 2
    assert seen.text.partition("- cases: [")[0].count("torch: ") == 0


def test_an_entry_on_one_line_gets_its_range() -> None:
    """It is then written on several."""
    text = "- {cases: demo.first.*, outcome: vacuous, kind: never, reason: no graph}\n"
    seen = renewed(text, {OLD: dict.fromkeys(ALL, vacuous()), NEW: {}})
    assert (seen.ranged, "torch: <2.15\n" in seen.text) == (1, True)


def test_a_new_failure_gets_an_entry_with_its_range() -> None:
    """Its reason is TODO, unless another backend has one; the range then follows these runs."""
    runs: dict[str, Attempts] = {OLD: {}, MID: {"one": failed("values")}, NEW: {"one": failed("values")}}
    seen = renewed("", runs)
    assert (seen.added, seen.unexplained) == (1, 1)
    assert "- cases: demo.first.one\n  outcome: fail\n  checks: [values]\n" in seen.text
    assert "torch: '>=2.14'\n" in seen.text
    like = [an_expectation(reason="it loses it", torch="<2.15")]
    explained = renewed("", runs, like)
    assert (explained.unexplained, "reason: it loses it" in explained.text) == (0, True)
    assert "torch: '>=2.14'\n" in explained.text


def test_a_new_failure_takes_the_reason_of_its_case() -> None:
    """Where an entry of its other variants describes the same failure."""
    text = ENTRY.replace("first.*", "first.one\n  variants: {grad: enabled}")
    enabled = {f"one {variant.id}": failed("values") for variant in VARIANTS if variant.grad == "enabled"}
    seen = renewed(text, {OLD: enabled, NEW: {"one": failed("values")}})
    assert (seen.kept, seen.added, seen.unexplained) == (1, 1, 0)
    assert "variants: {grad: disabled}\n" in seen.text
    assert "torch: '>=2.15'\n" in seen.text


def test_a_failure_that_changes_has_an_entry_for_each_way() -> None:
    """One before the release in which it does, one from then on."""
    seen = renewed(ENTRY, {OLD: ALL, NEW: dict.fromkeys(ALL, raised())})
    assert (seen.ranged, seen.added) == (1, 1)
    assert 'torch: "<2.15"\n' in seen.text
    assert "raises: 'RuntimeError: bad graph'" in seen.text
    assert "torch: '>=2.15'\n" in seen.text


def test_builds_of_one_release_that_disagree_are_refused() -> None:
    """The message lists where; what they agree on is listed once."""
    cuda = "2.13.0+cu130"
    with pytest.raises(UsageError, match="disagree") as refused:
        renewed("", {OLD: {}, cuda: {f"one {Variant().id}": failed("values")}})
    assert "demo.first.one grad=enabled: pass on 2.13.0+cpu, fail on 2.13.0+cu130" in str(refused.value)
    with pytest.raises(UsageError, match="and 7 more"):
        renewed("", {OLD: {}, cuda: ALL})
    seen = renewed(ENTRY, {OLD: ALL, cuda: ALL, NEW: {}})
    assert 'torch: "<2.15"' in seen.text


def test_builds_may_differ_as_one_entry_says() -> None:
    """In a check that may fail beside the others."""
    text = ENTRY.replace("[values]", "[values]\n  also: [gradients]")
    assert renewed(text, {OLD: ALL, "2.13.0+cu130": dict.fromkeys(ALL, failed("values", "gradients"))}).kept == 1


SOME = st.sampled_from([OLD, "2.13.1+cpu", MID, NEW])
FILES = st.sampled_from(
    [
        "",
        ENTRY,
        ENTRY.replace("  reason:", '  torch: "<2.14"\n  reason:'),
        ENTRY.replace("first.*", "first.one") + "\n" + ENTRY,
        ENTRY.replace("first.*", "first.one\n  torch: '>=2.15'")
        + ENTRY.replace("[values]", "[values]\n  also: [gradients]"),
    ]
)


@settings(deadline=None, max_examples=60)
@given(text=FILES, runs=st.dictionaries(SOME, RUNS, min_size=2))
def test_one_file_is_green_on_every_release(
    tmp_path_factory: pytest.TempPathFactory, text: str, runs: dict[str, Attempts]
) -> None:
    """Each failure is an expected one there, no entry is about a pass or about nothing, and again changes nothing."""
    made = renewed(text, runs)
    path = tmp_path_factory.mktemp("renewed") / "mine.expected.yaml"
    path.write_text(made.text.replace("reason: TODO", "reason: because\n  issue: 'none found: words'"))
    for torch, attempts in runs.items():
        known = loaded(path, torch)
        done = [judge_again(one, match(known, one.case_id, _variant(one))) for one in records(attempts)]
        assert {one.verdict for one in done} <= {Verdict.PASS, Verdict.XFAIL}
        assert stale(known, done) == []
    again = renewed(made.text, runs)
    assert again.text == made.text
    assert (again.narrowed, again.ranged, again.removed, again.added) == (0, 0, 0, 0)


def _variant(record: Record) -> Variant:
    return next(variant for variant in VARIANTS if variant.id == record.variant)


def loaded(path: Path, torch: str) -> tuple[Expectation, ...]:
    """The entries of a file that are for a release."""
    if not path.read_text().strip():
        return ()
    host, ids = Host({"torch": torch}, "Linux-x86_64"), [case.id for case in CASES]
    return load_expectations(path, case_ids=ids, checks=CATALOGUE.keys(), host=host)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A case that fails on the newer of two releases, each in its folder, with a further backend."""
    for torch, make in ((OLD, a_record), (NEW, red)):
        both = [make("pre_dispatch.no_grad_simple", backend=name) for name in ("fake", "kin")]
        a_run(tmp_path / torch / "in-tree.jsonl", *both, environment=an_environment(torch=torch))
    monkeypatch.setattr(execution_attempts, "describe", a_backend)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_takes_records_of_several_releases(world: Path) -> None:
    """Files or folders; one backend of them; the file is in the working directory unless the backend has one."""
    words = ["expectations", "update", "--records", OLD, "--records", f"{NEW}/in-tree.jsonl", "--backend", "fake"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.output.splitlines()[0]) == (
        1,
        "fake.expected.yaml: 0 kept, 0 narrowed, 0 removed, 1 added",
    )
    text = (world / "fake.expected.yaml").read_text()
    assert "torch: '>=2.15'\n" in text
    (world / "fake.expected.yaml").write_text(text.replace("torch: '>=2.15'\n", "").replace("  \n", ""))
    again = CliRunner().invoke(main, [*words, "--output", "fake.expected.yaml"])
    assert again.output.startswith("fake.expected.yaml: 0 kept, 0 narrowed, 0 removed, 0 added, 1 for other releases")
    assert 'torch: ">=2.15"\n' in (world / "fake.expected.yaml").read_text()


def test_the_command_refuses_several_backends(world: Path) -> None:
    """Of one run, or of one run each."""
    done = CliRunner().invoke(main, ["expectations", "update", "--records", OLD, "--records", NEW])
    assert (done.exit_code, "the run is of fake, kin; choose one with --backend" in done.output) == (2, True)
    files = [a_run(world / f"{name}.jsonl", a_record(backend=name)) for name in ("fake", "kin")]
    done = CliRunner().invoke(main, ["expectations", "update", *(f"--records={file}" for file in files)])
    assert (done.exit_code, "the runs are of fake, kin; choose one with --backend" in done.output) == (2, True)


def test_the_command_judges_several_files_again(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, and 1 where one of them is red."""
    entry = ENTRY.replace("demo.first.*", "pre_dispatch.*").replace("[values]", "[values, gradients]")
    (world / "all.expected.yaml").write_text(entry.replace("  reason:", '  torch: ">=2.15"\n  reason:'))
    monkeypatch.setattr(
        execution_attempts, "describe", lambda ref: replace(a_backend(ref), expectations=world / "all.expected.yaml")
    )
    files = [f"{torch}/in-tree.jsonl" for torch in (OLD, NEW)]
    done = CliRunner().invoke(main, ["expectations", "apply", *(f"--records={file}" for file in files)])
    assert (done.exit_code, done.output) == (0, f"{files[0]}: 2 pass\n{files[1]}: 2 xfail\n")


def test_a_pass_in_a_release_without_a_failure_stays_a_pass() -> None:
    """A request that never failed has no entry."""
    assert renewed("", {OLD: {}, NEW: {"one": an_attempt()}}) == Renewal(text="\n")

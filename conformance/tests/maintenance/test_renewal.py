from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from conformance.backend import discovery
from conformance.cli.main import main
from conformance.execution import attempts as execution_attempts
from conformance.maintenance.renewal import Renewal, renew
from conformance.model.case import Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Stage, Verdict
from conformance.model.errors import ExpectationError
from conformance.tests.fakes import (
    a_backend,
    a_case,
    a_record,
    an_attempt,
    an_expectation,
    crashed,
    failed,
    raised,
    vacuous,
)
from conformance.tests.runs import a_last_run, a_run, red
from conformance.verdict.expectations import Host, load_expectations, match
from conformance.verdict.judge import judge, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.request import Expectation
    from conformance.model.result import Attempt, Record

HOST = Host({"torch": "2.13.0"}, "Linux-x86_64")
VARIANTS = (Variant(), Variant(grad="disabled"), Variant(dynamic=True), Variant(grad="disabled", dynamic=True))
CASES = [a_case(f"demo.first.{name}", variants=VARIANTS) for name in ("one", "two", "three")]
ENTRY = """\
- cases: demo.first.*
  outcome: fail
  checks: [values]
  kind: bug
  reason: it doubles twice  # as everybody knows
  issue: https://github.com/pytorch/pytorch/issues/1
"""


def records(attempts: dict[str, Attempt], cases: Sequence[Case] = tuple(CASES)) -> list[Record]:
    """A record of each variant of each case; `attempts` are what did not pass, by `case` or `case variant`."""
    return [_record(case, variant, _made(attempts, case, variant)) for case in cases for variant in case.variants]


def _record(case: Case, variant: Variant, made: Attempt) -> Record:
    happened = outcome(made)
    return a_record(
        case.id,
        variant=variant.id,
        outcome=happened,
        message=judge(happened, made, None)[1],
        stage=made.stage,
        checks=made.checks,
        raised=made.raised,
    )


def _made(attempts: dict[str, Attempt], case: Case, variant: Variant) -> Attempt:
    name = case.id.rpartition(".")[2]
    return attempts.get(f"{name} {variant.id}", attempts.get(name, an_attempt()))


def renewed(text: str, attempts: dict[str, Attempt], **options: Any) -> Renewal:
    """A file after an update from a run of all cases."""
    return renew(textwrap.dedent(text), "mine.expected.yaml", records(attempts), CASES, host=HOST, **options)


def test_what_was_seen_again_stays_as_it_is_written() -> None:
    """Comments, folding and order are whoever wrote them's affair."""
    text = f"# Known divergences.\n\n{ENTRY}"
    seen = renewed(text, dict.fromkeys(("one", "two", "three"), failed("values")))
    assert seen == Renewal(text=text, kept=1)


def test_what_passes_now_goes() -> None:
    """An entry of which nothing is true is removed; an empty file is left."""
    assert renewed(ENTRY, {}) == Renewal(text="\n", removed=1)


def test_an_entry_that_is_true_of_some_is_narrowed() -> None:
    """The case that passes is excluded, and the reason stays with the others."""
    seen = renewed(ENTRY, dict.fromkeys(("one", "two"), failed("values")))
    assert (seen.narrowed, seen.added, seen.unexplained) == (1, 0, 0)
    assert "cases: [demo.first.*]\n  except: [demo.first.three]\n" in seen.text
    assert "reason: it doubles twice\n" in seen.text


def test_a_variant_that_passes_leaves_the_others_their_reason() -> None:
    """An entry that holds for some variants of a case is continued in an entry of its own."""
    attempts = dict.fromkeys(("one", "two", "three"), failed("values"))
    attempts |= {f"one {variant.id}": an_attempt() for variant in VARIANTS if variant.grad == "disabled"}
    seen = renewed(ENTRY, attempts)
    assert (seen.narrowed, seen.added, seen.unexplained) == (1, 1, 0)
    assert "- cases: demo.first.one\n  variants: {grad: enabled}\n  outcome: fail\n" in seen.text
    assert seen.text.count("reason: it doubles twice") == 2


def test_what_only_moves_show_is_no_failure_of_a_variant_without_them() -> None:
    """Also where that one was not run: the entry is for the moves."""
    usual = Variant(moves="usual")
    case = a_case("demo.first.one", variants=(Variant(), usual))
    made = _record(case, usual, failed("move.each_result"))
    text = renew("", "mine.expected.yaml", [made], [case], host=HOST).text
    assert text.startswith("- cases: demo.first.one\n  variants: {moves: usual}\n  outcome: fail\n")
    other = _record(case, usual, failed("values", "move.each_result"))
    assert "variants" not in renew("", "mine.expected.yaml", [other], [case], host=HOST).text


def test_a_new_failure_waits_for_its_reason(tmp_path: Path) -> None:
    """Cases that fail alike are one entry; the gate refuses the file until a reason is written."""
    seen = renewed("", {"one": failed("gradients"), "two": failed("gradients"), "three": vacuous()})
    assert (seen.added, seen.unexplained) == (2, 2)
    assert seen.text == textwrap.dedent("""\
        - cases: [demo.first.one, demo.first.two]
          outcome: fail
          checks: [gradients]
          kind: bug
          reason: TODO

        - cases: demo.first.three
          outcome: vacuous
          kind: bug
          reason: TODO
        """)
    (tmp_path / "mine.expected.yaml").write_text(seen.text)
    with pytest.raises(ExpectationError, match="the reason is still to be written"):
        list(loaded(tmp_path / "mine.expected.yaml"))


def test_an_error_is_known_by_what_it_says() -> None:
    """The message is a regular expression that matches itself."""
    seen = renewed("", {"one": raised(message="no kernel (yet) for a[0]\nat line 3")})
    assert r"raises: 'RuntimeError: no kernel \(yet\) for a\[0\]'" in seen.text


def test_another_failure_than_stated_is_a_new_one() -> None:
    """An entry about values does not cover gradients."""
    seen = renewed(ENTRY, dict.fromkeys(("one", "two", "three"), failed("values")) | {"two": failed("gradients")})
    assert (seen.narrowed, seen.added, seen.unexplained) == (1, 1, 1)


def test_the_reasons_of_another_backend_hold_for_the_same_failure() -> None:
    """Failures of the same kind on related backends share a reason; others need their own."""
    like = [an_expectation(cases="demo.first.*", reason="AOTAutograd loses it")]
    seen = renewed("", {"one": failed("values"), "two": failed("gradients")}, like=like)
    assert (seen.added, seen.unexplained) == (2, 1)
    assert "reason: AOTAutograd loses it\n  issue: https://github.com/pytorch/pytorch/issues/1\n" in seen.text


def test_what_was_not_run_is_not_judged() -> None:
    """An entry about variants that only a longer run has stays, and so does one for another torch; a dead one goes."""
    deeper = [*CASES, a_case("demo.deep.one")]
    text = """\
        - {cases: demo.deep.*, outcome: vacuous, kind: never, reason: deep}

        - {cases: demo.first.*, outcome: vacuous, kind: never, torch: "<2.13", reason: old}

        - {cases: demo.gone.*, outcome: vacuous, kind: never, reason: gone}
        """
    seen = renew(textwrap.dedent(text), "mine.expected.yaml", records({}), deeper, host=HOST)
    assert (seen.kept, seen.removed) == (2, 1)
    assert "gone" not in seen.text


def test_an_entry_is_narrowed_to_the_cases_that_were_not_run() -> None:
    """A run of some cases says nothing of the others, also where it refutes all that it has seen of an entry."""
    text = ENTRY.replace("demo.first.*", "[demo.first.one, demo.first.two]")
    seen = renew(text, "mine.expected.yaml", records({}, CASES[:1]), CASES, host=HOST)
    assert (seen.narrowed, seen.removed) == (1, 0)
    assert "cases: [demo.first.two]" in seen.text
    assert "it doubles twice" in seen.text


def test_comments_stay_with_the_entry_below_them() -> None:
    """A removed entry takes its comment along, and no other."""
    text = f"# about one\n{ENTRY.replace('first.*', 'first.one')}\n# about two\n{ENTRY.replace('first.*', 'first.two')}"
    seen = renewed(f"# head\n\n{ENTRY.replace('first.*', 'first.three')}\n{text}", {"one": failed(), "three": failed()})
    assert "# about one" in seen.text
    assert "# about two" not in seen.text


@pytest.mark.parametrize("text", ["[]", "[]\n", "# None yet.\n[]\n"])
def test_a_file_without_entries_takes_new_ones(text: str) -> None:
    """An empty list gives way to them, and a comment stays above them."""
    seen = renewed(text, {"one": failed("values")})
    assert seen.text.startswith(("- cases: demo.first.one", "# None yet.\n"))
    assert seen == replace(seen, added=1, unexplained=1)
    assert renewed(seen.text, {"one": failed("values")}).text == seen.text


def test_an_entry_that_goes_does_not_leave_its_cases_to_another(tmp_path: Path) -> None:
    """Of two that overlap, the one below is compared with the requests of both, once the one above is gone."""
    overlapping = ENTRY.replace("first.*", "first.one\n  variants: {grad: enabled}")
    overlapping += overlapping.replace("grad: enabled", "dynamic: false")
    seen = renewed(overlapping, {"one grad=disabled": failed("values")})
    path = tmp_path / "mine.expected.yaml"
    path.write_text(seen.text)
    (entry,) = loaded(path)
    assert {"grad": "disabled", "dynamic": "false"}.items() <= entry.variants.items()


def test_a_malformed_file_is_not_rewritten() -> None:
    """Nothing is lost because of a slip."""
    with pytest.raises(ExpectationError, match=r"mine\.expected\.yaml:1:4: "):
        renewed("- {case: demo.first.one, outcome: vacuous, kind: never, reason: none}\n", {})


ATTEMPTS = st.sampled_from(
    [
        an_attempt(),
        failed("values"),
        failed("values", "gradients"),
        vacuous(),
        raised(),
        replace(crashed(), stage=Stage.COMPILE),
    ]
)
FILES = st.sampled_from(["", ENTRY, ENTRY.replace("first.*", "first.one") + "\n" + ENTRY])
RUNS = st.dictionaries(
    st.sampled_from([f"{case.id.rpartition('.')[2]} {variant.id}" for case in CASES for variant in VARIANTS]), ATTEMPTS
)


@given(text=FILES, first=RUNS, second=RUNS)
def test_a_renewed_file_says_what_the_run_showed(
    tmp_path_factory: pytest.TempPathFactory, text: str, first: dict[str, Attempt], second: dict[str, Attempt]
) -> None:
    """Each failure is an expected one, no entry is about a pass, and to renew it again changes nothing."""
    path = tmp_path_factory.mktemp("renewed") / "mine.expected.yaml"
    made = renewed(renewed(text, first).text, second)
    path.write_text(made.text.replace("reason: TODO", "reason: because\n  issue: 'none found: words'"))
    known = list(loaded(path))
    for case in CASES:
        for variant in case.variants:
            attempt, expectation = _made(second, case, variant), match(known, case.id, variant)
            verdict, *_ = judge(outcome(attempt), attempt, expectation)
            assert verdict in {Verdict.PASS, Verdict.XFAIL}
    again = renewed(made.text, second)
    assert again.text == made.text
    assert (again.narrowed, again.removed, again.added) == (0, 0, 0)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a record file of one failing case on `fake`, and backends that exist by name only."""
    known = {"fake": None, "kin": tmp_path / "kin.expected.yaml"}
    a_last_run(tmp_path, red("pre_dispatch.no_grad_simple"))
    monkeypatch.setattr(execution_attempts, "describe", lambda ref: a_backend(ref, expectations=known[ref]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_the_file_and_asks_for_reasons(world: Path) -> None:
    """A backend without expectations gets its file in the working directory; 1 until a reason is written."""
    done = CliRunner().invoke(main, ["expectations", "update"])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "fake.expected.yaml: 0 kept, 0 narrowed, 0 removed, 1 added",
        "Replace each reason: TODO (1 entries); a bug needs its issue too.",
    ]
    assert "- cases: pre_dispatch.no_grad_simple\n" in (world / "fake.expected.yaml").read_text()


def test_the_command_takes_reasons_of_another_backend(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to write where that one fails in the same way."""
    monkeypatch.setattr(discovery, "names", lambda: ["fake", "kin"])
    kin = ENTRY.replace("demo.first.*", "pre_dispatch.*").replace("[values]", "[values, gradients]")
    (world / "kin.expected.yaml").write_text(kin)
    done = CliRunner().invoke(main, ["expectations", "update", "--like", "kin", "--output", "new.yaml"])
    assert (done.exit_code, done.output) == (0, "new.yaml: 0 kept, 0 narrowed, 0 removed, 1 added\n")
    assert "reason: it doubles twice\n" in (world / "new.yaml").read_text()


def test_the_command_keeps_what_is_about_operations(world: Path) -> None:
    """A run of the suite has none, and proves nothing about them."""
    about = ENTRY.replace("demo.first.*", "ops.torch.add.*")
    (world / "fake.expected.yaml").write_text(ENTRY.replace("demo.first.*", "pre_dispatch.gone") + "\n" + about)
    done = CliRunner().invoke(main, ["expectations", "update", "--output", "fake.expected.yaml"])
    assert done.output.startswith("fake.expected.yaml: 0 kept, 0 narrowed, 1 removed, 1 added\n")
    text = (world / "fake.expected.yaml").read_text()
    assert text.endswith(f"reason: TODO\n\n{about}")


def test_a_run_that_proves_nothing_is_refused(world: Path) -> None:
    """One that was cut short, one of several backends, one of another."""
    a_run(world / "cut.jsonl", red(), finish=False)
    a_run(world / "two.jsonl", red(), red(backend="kin"))
    for words, line in (
        (["--records", "cut.jsonl"], "the run did not come to its end"),
        (["--records", "two.jsonl"], "the run is of fake, kin; choose one with --backend"),
        (["--backend", "other"], "the run is of fake, not of 'other'"),
    ):
        done = CliRunner().invoke(main, ["expectations", "update", *words])
        assert done.exit_code == 2
        assert line in done.output


def loaded(path: Path) -> Iterator[Expectation]:
    """The entries of a file in a suite of these cases."""
    if path.read_text().strip():
        ids = [case.id for case in CASES]
        yield from load_expectations(path, case_ids=ids, checks=CATALOGUE.keys(), host=HOST)

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from conformance.catalogue.selection import digest
from conformance.model.case import Family
from conformance.model.enums import Capability, Fault, Level, Outcome, Verdict
from conformance.model.errors import RecordError
from conformance.model.request import Selection
from conformance.records import frame
from conformance.records.environment import fingerprint
from conformance.report import formats, markdown
from conformance.report import pages as report_pages
from conformance.report.matrix import cell, matrix
from conformance.tests.fakes import a_backend, a_record, a_timing, an_environment, failed, some_blocks
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red, some_timings
from conformance.timing.model import Noise, Phase

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

    from conformance.model.result import Record
    from conformance.timing.model import Timing


def _everything() -> list[Record]:
    """One record of each verdict, and an advisory."""
    words = {
        Verdict.VACUOUS: "nothing was compiled: no graph",
        Verdict.ERROR: "raised in forward: RuntimeError: bad `graph`\n```\n| a | b |",
        Verdict.CRASH: "killed by SIGSEGV (stage compile)",
        Verdict.TIMEOUT: "timed out computing, over its limit of 120 s; its process group was killed (stage forward)",
        Verdict.SKIP: "no C++ compiler",
        Verdict.INVALID: "the uncompiled program differs from itself",
    }
    plain = [
        a_record(f"misc.words.{verdict}", outcome=Outcome(verdict), verdict=verdict, message=message, checks=())
        for verdict, message in words.items()
    ]
    unexpected = an_xfail("misc.words.xpass", outcome=Outcome.PASS, verdict=Verdict.XPASS, checks=(), message="passed")
    advisory = a_record("demo.first.five", checks=failed("saved_bytes", level=Level.SHOULD).checks)
    others = [an_xfail("demo.first.six", variant="grad=disabled"), an_unsupported(needs="autocast"), unexpected]
    return [a_record(), a_record(backend="eager"), red(), an_xfail(), *others, advisory, *plain]


class _Markdown(SingleFileSnapshotExtension):
    """Snapshots that are read as pages are."""

    file_extension = "md"
    _write_mode = WriteMode.TEXT


def test_coverage_counts_clauses_areas_nests_and_laws(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """By clause and backend, by depth of the nests, and how often the oracle and the laws applied."""
    nests = Family(id="demo.nest", title="Nests", points={"1": 8, "2": 64}, pruned={"spelling": 3})
    held = replace(failed("metamorphic").checks[0], held=True, differences=(), message="")
    records = [
        a_record("demo.nest.a_with", clauses=("GM-1", "GM-10"), metrics={"modelled_leaves": 4.0}),
        a_record("demo.nest.a_with.b_def", clauses=("GM-10",), checks=(held,)),
        a_record("demo.nest.a_with.b_def", "eager", clauses=("GM-10",)),
        an_xfail("misc.plain.one", clauses=("XY-1", "AC-2", "GM-2")),
    ]
    page = report_pages.pages([a_run(tmp_path / "a.jsonl", *records, family=nests)], tmp_path / "results")[
        "coverage.md"
    ]
    assert page == snapshot(extension_class=_Markdown)


def test_coverage_counts_where_the_oracle_disagrees(tmp_path: Path) -> None:
    """With any message of the record."""
    fault: dict[str, Any] = {"fault": Fault.ORACLE, "message": "they disagree", "checks": ()}
    record = a_record("misc.plain.one", outcome=Outcome.INVALID, verdict=Verdict.INVALID, **fault)
    page = report_pages.pages([a_run(tmp_path / "a.jsonl", record)], tmp_path / "results")["coverage.md"]
    (row,) = re.findall(r"^\| misc +\|(.*)\|$", page.partition("## Second opinions")[2], re.MULTILINE)
    assert [cell.strip() for cell in row.split("|")] == ["1", "0", "0", "1"]


def test_many_requests_of_one_reason_are_a_list(tmp_path: Path) -> None:
    """Five are shown in full, the others by name when they are unfolded."""
    records = a_run(tmp_path / "a.jsonl", *(an_xfail(f"demo.first.case{number}") for number in range(7)))
    page = report_pages.pages([records], tmp_path / "results")["fake.md"]
    assert page.count("Reproduce") + page.count("```sh") == 5
    more = "<details><summary>2 more with this reason</summary>\n\n- `demo.first.case5` (1)\n- `demo.first.case6` (1)\n"
    assert more in page


@pytest.mark.parametrize("name", ["README", "fake", "eager"])
def test_the_pages_of_every_verdict(tmp_path: Path, snapshot: SnapshotAssertion, name: str) -> None:
    """The overview, the page of a backend that does everything, and that of one that only passes, as published."""
    records = a_run(tmp_path / "results" / "records" / "all.jsonl", *_everything())
    page = report_pages.pages([records], tmp_path / "results")[f"{name}.md"]
    assert page.replace(tmp_path.name, "repository") == snapshot(extension_class=_Markdown)


def test_writing_twice_writes_nothing_the_second_time(tmp_path: Path) -> None:
    """Pages are pure functions of records."""
    records = a_run(tmp_path / "a.jsonl", *_everything())
    assert [path.name for path in report_pages.write([records], tmp_path / "out")] == [
        "README.md",
        "coverage.md",
        "fake.md",
        "eager.md",
        "fake-profile.svg",
    ]
    assert report_pages.write([records], tmp_path / "out") == []


def test_the_order_of_records_does_not_matter(tmp_path: Path) -> None:
    """Requests end in any order; pages do not show it."""
    one = a_run(tmp_path / "one" / "a.jsonl", *_everything())
    two = a_run(tmp_path / "two" / "a.jsonl", *reversed(_everything()))
    assert report_pages.pages([one], tmp_path / "x" / "y") == report_pages.pages([two], tmp_path / "x" / "y")


def test_several_files_are_read_by_name(tmp_path: Path) -> None:
    """The order in which files are given does not matter, and each has its column of the environment."""
    one = a_run(tmp_path / "b.jsonl", a_record(backend="eager"))
    two = a_run(tmp_path / "a.jsonl", a_record(backend="inductor"), environment=an_environment(cpu="Other CPU"))
    pages = report_pages.pages([one, two], tmp_path / "out")
    assert pages == report_pages.pages([two, one], tmp_path / "out")
    assert "| cpu        | Other CPU" in pages["README.md"]
    assert "Fake CPU" in pages["README.md"]


def test_no_line_ends_in_a_space(tmp_path: Path) -> None:
    """With any records, git reports no whitespace errors."""
    pages = report_pages.pages([a_run(tmp_path / "a.jsonl", *_everything())], tmp_path)
    lines = [line for text in pages.values() for line in text.split("\n")]
    assert [line for line in lines if line != line.rstrip()] == []
    assert all(text.endswith("\n") for text in pages.values())


def test_changes_are_reported_without_writing(tmp_path: Path) -> None:
    """A dry run names what would be written and leaves the folder alone."""
    todo = report_pages.changes([a_run(tmp_path / "a.jsonl")], tmp_path / "out")
    assert [path.name for path in todo] == ["README.md", "coverage.md", "fake.md"]
    assert not (tmp_path / "out").exists()


def test_pages_of_backends_that_are_gone_are_removed(tmp_path: Path) -> None:
    """A page made earlier is removed; a page written by hand stays."""
    report_pages.write([a_run(tmp_path / "a.jsonl", a_record(backend="old"))], tmp_path / "out")
    (tmp_path / "out" / "notes.md").write_text("# Mine\n")
    touched = report_pages.write([a_run(tmp_path / "a.jsonl")], tmp_path / "out")
    assert sorted(path.name for path in touched) == ["README.md", "coverage.md", "fake.md", "old.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "coverage.md",
        "fake.md",
        "notes.md",
    ]


def _published(folder: Path) -> Path:
    """A published folder of pages: it contains records."""
    (folder / "records").mkdir(parents=True)
    return folder


def test_an_unfinished_run_is_not_published(tmp_path: Path) -> None:
    """An incomplete run must not look like a result."""
    with pytest.raises(RecordError, match=r"a\.jsonl: cannot be published: it has no footer"):
        report_pages.pages([a_run(tmp_path / "a.jsonl", finish=False)], _published(tmp_path))


def test_a_partial_run_says_what_was_run(tmp_path: Path) -> None:
    """Anywhere but in a published folder: why it is partial, how many requests of each backend are there."""
    backends = (a_backend(), a_backend("eager"), a_backend("other"))
    run = a_run(
        tmp_path / "a.jsonl", a_record(), red(), finish=False, backends=backends, selection=Selection(tags=("smoke",))
    )
    pages = report_pages.pages([run], tmp_path / "out")
    assert "**Partial: this is not the result of a backend on all cases.**" in pages["README.md"]
    assert "- `a.jsonl`: it has no footer: the run was interrupted" in pages["README.md"]
    assert (
        "Selection: tags smoke. It holds 2 of the 2 requests that were planned (fake 2, eager 0, other 0)"
        in (pages["README.md"])
    )
    assert pages["fake.md"].count("**Partial run**: see [the overview](README.md).") == 1
    assert list(pages) == ["README.md", "coverage.md", "fake.md"]
    assert "| eager " in pages["README.md"]


@pytest.mark.parametrize("mixed", [False, True])
def test_where_workers_differ_a_page_shows_which_ran_what(tmp_path: Path, mixed: bool) -> None:
    """How many requests in which environment, and that of each item that is not the run's; nothing where all agree."""
    own = fingerprint(an_environment())
    records = [a_record(fingerprint=own), red(fingerprint="0ther0ther00"), red("demo.first.three", fingerprint=own)]
    run = a_run(tmp_path / "a.jsonl", *records, selection=Selection(allow_mixed=mixed))
    page = report_pages.pages([run], tmp_path / "out")["fake.md"]
    shown = f"its own environment is `{own}`: 2 in `{own}`, 1 in `0ther0ther00`."
    items = [line for line in page.splitlines() if "; in environment `0ther0ther00`" in line]
    assert ("**Workers of this run were allowed to differ**" in page, shown in page) == (mixed, mixed)
    assert [line.split("`")[1] for line in items] == (["demo.first.two"] if mixed else [])


def test_a_run_of_nothing_is_a_report_too(tmp_path: Path) -> None:
    """One that was interrupted before its first record; what is missing is counted."""
    path = a_run(tmp_path / "a.jsonl", a_record(), finish=False)
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    pages = report_pages.pages([path], tmp_path / "out")
    assert "It holds 0 of the 1 request that were planned (fake 0); 1 have not been run." in pages["README.md"]


def test_shards_that_are_not_all_there_are_reported_one_by_one(tmp_path: Path) -> None:
    """Each is partial."""
    shard = a_run(tmp_path / "a.jsonl", shard=(1, 2))
    assert "it is shard 1 of 2" in report_pages.pages([shard], tmp_path / "out")["README.md"]


def test_a_document_is_all_pages_in_one(tmp_path: Path) -> None:
    """Links between pages lead to headings; there is one marker, and no link out of the document."""
    text = report_pages.document([a_run(tmp_path / "a.jsonl", *_everything())], tmp_path / "out")
    assert text.count(markdown.MARKER) == 1
    assert "[fake](#fake)" in text
    assert "[legend](#legend)" in text
    assert "[the overview](#results)" in text
    assert ".md)" not in text


def test_a_document_as_html_needs_no_other_file(tmp_path: Path) -> None:
    """Headings have ids, plots are in it, and no message of a backend becomes HTML."""
    loud = red("demo.first.loud", message="<script>alert(1)</script> & more")
    run = a_run(tmp_path / "a.jsonl", *_everything(), loud)
    timings = some_timings(tmp_path / "t.jsonl", *_timings())
    text = formats.as_html(
        report_pages.document([run, timings], tmp_path / "out"), report_pages.images([run, timings], tmp_path / "out")
    )
    assert '<h1 id="fake">fake</h1>' in text
    assert '<a href="#fake">fake</a>' in text
    assert text.count('<img src="data:image/svg+xml;base64,PD94') == 3
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
    assert "<script>" not in text


def test_a_document_as_text_fits_the_terminal(tmp_path: Path) -> None:
    """No line is wider, and there are neither links nor HTML in it."""
    many = [an_xfail(f"demo.first.case{number}") for number in range(7)]
    text = formats.as_text(report_pages.document([a_run(tmp_path / "a.jsonl", *many)], tmp_path / "out"), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "2 more with this reason" in text
    assert "details" not in text
    assert "(#" not in text


def test_pages_in_a_checkout_link_to_cases_and_clauses(checkout: Path, tmp_path: Path) -> None:
    """To the file and line of a case, and the line of a clause; ids that are not known stay as they are."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "SPEC.md").touch()
    name = "grad_mode.nesting.enable_in_no_grad"
    records = [red(name, clauses=("GM-1", "XY-9")), red("gone.case.now")]
    pages = report_pages.pages([a_run(tmp_path / "a.jsonl", *records)], tmp_path / "results")
    (link,) = set(re.findall(rf"\[`{name}`\]\(\.\./([^)]*)#L(\d+)\)", pages["fake.md"]))
    lines = (checkout / link[0]).read_text(encoding="utf-8").splitlines()
    assert f"id: {name}" in lines[int(link[1]) - 1]
    assert "- `gone.case.now` `" in pages["fake.md"]
    (line,) = re.findall(r"\[GM-1\]\(\.\./cases/SPEC\.md\?plain=1#L(\d+)\)", pages["coverage.md"])
    specification = (checkout / "cases" / "SPEC.md").read_text(encoding="utf-8").splitlines()
    assert specification[int(line) - 1].startswith("- **GM-1** ")
    assert "| XY-9 " in pages["coverage.md"]


def test_a_selection_is_not_published(tmp_path: Path) -> None:
    """A table of the cases somebody chose is not the table of the backend."""
    with pytest.raises(RecordError, match="partial run: selected by tags"):
        report_pages.pages([a_run(tmp_path / "a.jsonl", selection=Selection(tags=("smoke",)))], _published(tmp_path))


def test_a_backend_in_two_files_is_refused(tmp_path: Path) -> None:
    """There is no telling which of two runs is the one to publish."""
    files = [a_run(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    with pytest.raises(RecordError, match="backend 'fake' is in two record files"):
        report_pages.pages(files, tmp_path)


def test_shards_are_put_together(tmp_path: Path) -> None:
    """The shards of one plan give the pages of the whole run, but for the commands that make them."""
    records = _everything()
    whole: dict[str, Any] = {
        "total": len(records),
        "digest": _digest(records),
        "backends": (a_backend(), a_backend("eager")),
    }
    parts = [
        a_run(tmp_path / f"part{index}.jsonl", *records[index - 1 :: 2], shard=(index, 2), **whole) for index in (1, 2)
    ]
    together = report_pages.pages(parts, tmp_path)
    alone = report_pages.pages([a_run(tmp_path / "whole.jsonl", *records, **whole)], tmp_path)
    assert together["fake.md"] == alone["fake.md"]
    assert "--shard 2/2 --records " in together["README.md"]


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    """Half a run is no run."""
    with pytest.raises(RecordError, match="shards"):
        report_pages.pages([a_run(tmp_path / "a.jsonl", shard=(1, 2))], _published(tmp_path))


def test_a_gated_backend_says_that_it_was_not_run(tmp_path: Path) -> None:
    """Its page and its line in the overview do."""
    pages = report_pages.pages(
        [a_run(tmp_path / "a.jsonl", red(), gated={"fake": "all 3 smoke requests failed"})], tmp_path
    )
    assert "**Only the smoke cases were run**: all 3 smoke requests failed." in pages["fake.md"]
    assert "only the smoke cases were run" in pages["README.md"]


def test_a_page_tells_what_its_backend_does_not_claim(tmp_path: Path) -> None:
    """Versions and missing capabilities are at the top."""
    info = a_backend(
        capabilities=Capability.all() - {Capability.RNG}, packages={"mine": "1.0"}, tolerance={"float32": 1e-4}
    )
    page = report_pages.pages([a_run(tmp_path / "a.jsonl", backends=(info,))], tmp_path)["fake.md"]
    assert "Run with torch 2.13.0, mine 1.0. Not claimed: `rng`. " in page
    assert "Relative error it asks to be allowed: `float32` 0.0001." in page


def test_the_seed_is_part_of_the_command(tmp_path: Path) -> None:
    """A run with another seed is made again with it."""
    pages = report_pages.pages([a_run(tmp_path / "a.jsonl", seed=7)], tmp_path / "out")
    assert "conformance run --attribute --backend fake --seed 7 --records a.jsonl" in pages["README.md"]


def test_files_elsewhere_are_named_without_their_folder(tmp_path: Path) -> None:
    """A page never holds a path of the machine it was made on."""
    pages = report_pages.pages([a_run(tmp_path / "far" / "a.jsonl")], tmp_path / "near" / "results")
    assert str(tmp_path) not in "".join(pages.values())


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A file in place of the folder is reported."""
    (tmp_path / "out").write_text("")
    with pytest.raises(RecordError, match="cannot write the pages"):
        report_pages.write([a_run(tmp_path / "a.jsonl")], tmp_path / "out")


def test_a_backend_whose_name_is_no_file_name_gets_a_page(tmp_path: Path) -> None:
    """Colons and slashes of a name do not leave the folder."""
    touched = report_pages.write([a_run(tmp_path / "a.jsonl", a_record(backend="torch:../x"))], tmp_path / "out")
    assert [path.name for path in touched] == ["README.md", "coverage.md", "torch-..-x.md"]


def test_cells_and_totals_add_up() -> None:
    """Unsupported, skip and invalid are beside the score, not in it."""
    rows = frame.of(_everything())
    headers, cells = matrix(rows)
    assert headers == ["area", "eager", "fake"]
    assert cells == [
        ["demo", "1/1", "2/5 (1 F, 2 x, 1 -)"],
        ["misc", "", "1/5 (1 v, 1 E, 1 C, 1 T, 1 X, 1 ., 1 !)"],
        ["total", "1/1", "3/10 (1 v, 1 F, 1 E, 1 C, 1 T, 2 x, 1 X, 1 -, 1 ., 1 !)"],
    ]
    assert cell(rows[rows["verdict"] == "skip"]) == "(1 .)"


@given(st.text())
def test_a_fence_is_not_closed_by_its_text(text: str) -> None:
    """The last line, and no other, is the closing fence."""
    first, *body, last = markdown.fenced(text).split("\n")
    assert first == f"{last}text"
    assert not any(line.strip().startswith(last) for line in body)


@given(st.text(min_size=1))
@example("\x01")
def test_a_cell_is_one_line_and_one_cell(text: str) -> None:
    """Neither newlines nor pipes of a message break the table."""
    *_, row = markdown.table(("a", "b"), [(text, "end")]).split("\n")
    assert row.replace("\\|", "").count("|") == 3
    assert row.rstrip(" |").endswith("end")


@given(st.text(alphabet="a`| ", min_size=1).filter(str.strip))
def test_inline_code_is_not_closed_by_its_text(text: str) -> None:
    """No run of ticks within is as long as the one around."""
    code = markdown.code(text)
    size = len(code) - len(code.lstrip("`"))
    inner = code[size:-size]
    assert inner.strip() == " ".join(text.split())
    assert size not in {len(run) for run in re.findall("`+", inner)}


def _digest(records: list[Record]) -> str:
    return digest(record.key for record in records)


def test_runs_on_one_machine_share_a_column(tmp_path: Path) -> None:
    """Only what was run on another machine, or with other software, has a column of its own."""
    other = replace(an_environment(), started="2026-02-02T00:00:00+00:00")
    runs = [
        a_run(tmp_path / "a.jsonl", a_record(backend="one")),
        a_run(tmp_path / "b.jsonl", a_record(backend="two"), environment=other),
        a_run(tmp_path / "c.jsonl", a_record(backend="three"), environment=replace(other, cpu="another")),
    ]
    lines = report_pages.pages(runs, tmp_path / "results")["README.md"].splitlines()
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert ["", "`a.jsonl`, `b.jsonl`", "`c.jsonl`"] in tables
    (started,) = (row for row in tables if row[0] == "started")
    assert started[1:] == ["2026-01-01T00:00:00+00:00 to 2026-02-02T00:00:00+00:00", "2026-02-02T00:00:00+00:00"]


def test_many_backends_are_reported_in_several_tables(tmp_path: Path) -> None:
    """The rungs of the ladder are in one table, and no table of others is wider."""
    names = ["inductor", "eager", *(f"b{number}" for number in range(7))]
    run = a_run(tmp_path / "a.jsonl", *(a_record(backend=name) for name in names))
    pages = report_pages.pages([run], tmp_path / "results")
    headers = [line for line in pages["README.md"].splitlines() if line.startswith("| area ")]
    linked = [re.findall(r"\[(\w+)\]", line) for line in headers]
    assert linked == [["eager", "inductor"], ["b0", "b1", "b2", "b3", "b4"], ["b5", "b6"]]


def _timings() -> list[Timing]:
    """A backend that is faster, one that is slower and one of which nothing is known, and one that does not conform."""
    slow = (some_blocks(Phase.FORWARD, 1.25), some_blocks(Phase.BACKWARD, 1.0), some_blocks(Phase.STEP, 1.1))
    overhead = (some_blocks(Phase.DISPATCH, 1.5, rounds=12),)
    return [
        a_timing("demo.first.one", "fake"),
        a_timing("demo.first.one", "eager", blocks=slow),
        a_timing("demo.first.few", "fake", blocks=(some_blocks(rounds=4),)),
        a_timing("demo.first.two", "fake", blocks=overhead, variant="grad=enabled,n=8"),
        a_timing(
            "demo.first.two", "eager", blocks=(), compiles={}, metrics={}, verdict=Verdict.XFAIL, message="differs"
        ),
    ]


def test_the_page_of_timings(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """Means, ratios with intervals and verdicts by phase, compiling, what is counted, what was not timed, and where."""
    pages = report_pages.pages([some_timings(tmp_path / "results" / "t.jsonl", *_timings())], tmp_path / "results")
    assert list(pages) == ["benchmarks.md"]
    assert re.sub(r"(finished|started).*", "", pages["benchmarks.md"]) == snapshot(extension_class=_Markdown)


def test_noise_refuses_verdicts_in_the_open(tmp_path: Path) -> None:
    """The page states why nothing is called faster or slower."""
    loud = some_timings(tmp_path / "a" / "t.jsonl", *_timings(), noise=Noise(ratios={"demo": (0.9, 1.1)}))
    assert "**That is wider than the smallest effect" in report_pages.pages([loud], tmp_path)["benchmarks.md"]
    unknown = some_timings(tmp_path / "b" / "t.jsonl", *_timings()[:1], noise=Noise())
    text = report_pages.pages([unknown], tmp_path)["benchmarks.md"]
    assert "Uncompiled calls were not timed against themselves" in text
    assert "Everything that was asked for was timed." in text


def test_timings_of_other_environments_are_counted(tmp_path: Path) -> None:
    """By fingerprint, beside the environment of the run."""
    timings = [a_timing(), a_timing("demo.first.two", fingerprint="0ther0ther00")]
    page = report_pages.pages([some_timings(tmp_path / "t.jsonl", *timings)], tmp_path)["benchmarks.md"]
    assert re.search(r"\| in other environments +\| 0ther0ther00 \(1\) +\|", page)


def test_compiling_need_not_be_timed(tmp_path: Path) -> None:
    """The page states this."""
    file = some_timings(tmp_path / "t.jsonl", a_timing(compiles={}))
    assert "It was not timed." in report_pages.pages([file], tmp_path)["benchmarks.md"]


def test_timings_stand_beside_records(tmp_path: Path) -> None:
    """One folder of records gives all pages; timings alone remove none that others gave."""
    folder, out = tmp_path / "records", tmp_path / "out"
    a_run(folder / "a.jsonl")
    timings = some_timings(folder / "t.jsonl", *_timings())
    report_pages.write([folder], out)
    assert {path.name for path in out.iterdir()} == {"README.md", "coverage.md", "fake.md", "benchmarks.md", "plots"}
    assert [path.name for path in report_pages.changes([timings], out)] == [
        "benchmarks.md"
    ]  # which links to fewer pages


def test_timings_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    """An interrupted run is no result, and two files are ambiguous."""
    cut = some_timings(tmp_path / "published" / "records" / "t.jsonl", *_timings(), finish=False)
    with pytest.raises(RecordError, match="cannot be published: it has no footer"):
        report_pages.pages([cut], tmp_path / "published")
    assert "Partial: it has no footer" in "".join(report_pages.pages([cut], tmp_path).values())
    with pytest.raises(RecordError, match="remove all but one file"):
        report_pages.pages([some_timings(tmp_path / name, a_timing()) for name in ("b.jsonl", "c.jsonl")], tmp_path)


def test_timings_are_plotted(tmp_path: Path) -> None:
    """Each backend has its marks in both plots, which the page shows, and equal timings give equal plots."""
    file = some_timings(tmp_path / "t.jsonl", *_timings())
    touched = report_pages.write([file], tmp_path / "out")
    assert [path.name for path in touched] == ["benchmarks.md", "speed-ups.svg", "compiling.svg"]
    speed_ups, compiling = (path.read_text() for path in touched[1:])
    for word in ("demo.first.two n=8", "fake", "eager"):
        assert f"<!-- {word} -->" in speed_ups
    assert "eager (1 that are not faster)" in compiling
    assert "pays after 10,000 calls" in compiling
    assert all(f"(plots/{path.name})" in touched[0].read_text() for path in touched[1:])
    assert report_pages.write([file], tmp_path / "out") == []


def test_where_nothing_pays_the_plot_says_so(tmp_path: Path) -> None:
    """There is then no line of calls until it does."""
    slow = a_timing(blocks=(some_blocks(Phase.FORWARD, 1.5),))
    *_, compiling = report_pages.write([some_timings(tmp_path / "t.jsonl", slow)], tmp_path / "out")
    assert "fake (1 that are not faster)" in compiling.read_text()
    assert "pays after" not in compiling.read_text()


def test_without_matplotlib_there_are_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `plot` is not needed for them."""
    monkeypatch.setattr(report_pages, "available", lambda: False)
    touched = report_pages.write([some_timings(tmp_path / "t.jsonl", *_timings())], tmp_path / "out")
    assert [path.name for path in touched] == ["benchmarks.md"]


def test_the_overview_leads_to_the_timings(tmp_path: Path) -> None:
    """Where there are any."""
    folder = tmp_path / "records"
    a_run(folder / "run.jsonl")
    assert "benchmarks.md" not in report_pages.pages([folder], tmp_path)["README.md"]
    some_timings(folder / "timings.jsonl", a_timing())
    assert "How fast: [benchmarks](benchmarks.md)." in report_pages.pages([folder], tmp_path)["README.md"]

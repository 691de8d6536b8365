from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from conformance.catalogue.selection import digest
from conformance.model.enums import Outcome, Verdict
from conformance.model.errors import RecordError
from conformance.records import confirmations
from conformance.records.confirmations import ScriptResult
from conformance.report import pages as report_pages
from conformance.tests.fakes import a_record, an_environment, failed
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

    from conformance.model.result import Record

OLD, CUDA, NEW = "2.13.0+cpu", "2.13.0+cu130", "2.14.1+cu130"
IDS = [f"demo.first.{name}" for name in ("one", "two", "three", "four", "five", "six", "seven")]


class _Markdown(SingleFileSnapshotExtension):
    file_extension = "md"
    _write_mode = WriteMode.TEXT


def on(torch: str, folder: Path, *records: Record) -> Path:
    """A run on a release, in its folder of results/records."""
    home = folder / "results" / "records" / torch
    return a_run(home / "in-tree.jsonl", *records, environment=an_environment(torch=torch))


def before() -> list[Record]:
    """On the older release two fail as is expected, one unexpectedly, and one is not claimed."""
    one, two, three, four, five, six, seven = IDS
    passes = [a_record(one), a_record(two), a_record(six), a_record(seven), a_record(one, "eager")]
    return [*passes, an_xfail(three), red(four), an_unsupported(five)]


def after() -> list[Record]:
    """On the newer one two fail anew, one passes though it is expected to fail, and every other kind of change."""
    one, two, three, four, five, six, seven = IDS
    broken = [red(one), red(two, variant="grad=enabled")]
    fixed = an_xfail(
        three, outcome=Outcome.PASS, verdict=Verdict.XPASS, checks=(), message="", expectation_note="passed"
    )
    otherwise = red(four, checks=failed("gradients").checks, message="gradients: value differs in grad(a).")
    vacuous = {"outcome": Outcome.VACUOUS, "verdict": Verdict.VACUOUS, "message": "nothing was compiled: no graph"}
    invalid = {"outcome": Outcome.INVALID, "verdict": Verdict.INVALID, "message": "it differs from itself"}
    rest = [a_record(five), a_record(six, checks=(), **vacuous), a_record(seven, checks=(), **invalid)]
    return [*broken, fixed, otherwise, *rest, a_record(one, "eager"), a_record("demo.second.new")]


def some_releases(folder: Path) -> Path:
    """Three of them: two builds of one that do the same, and a newer one; the folder of records."""
    on(OLD, folder, *before())
    on(CUDA, folder, *before())
    return on(NEW, folder, *after()).parents[1]


def page(records: Path) -> str:
    """The page of releases in results/."""
    return report_pages.pages([records], records.parent)["releases.md"]


def a_script(record: Record, release: str, **changes: object) -> ScriptResult:
    """One that showed a failure on the newer release only."""
    facts: dict[str, object] = {
        "backend": record.backend,
        "case": record.case_id,
        "variant": record.variant,
        "release": release,
        "symptom": str(Symptom.of_record(record)),
        "statuses": {CUDA: 0, NEW: 1},
    }
    return ScriptResult(**(facts | changes))  # type: ignore[arg-type]


def test_the_page_of_releases(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """Scores, then between neighbours every cell that changed, grouped, with its command and what its script showed."""
    records = some_releases(tmp_path)
    confirmations.write(
        records / confirmations.NAME,
        [
            a_script(after()[0], NEW),
            a_script(an_xfail(IDS[2]), CUDA),
            a_script(after()[3], NEW, statuses={}, refused="it cannot name its backend"),
        ],
    )
    assert page(records) == snapshot(extension_class=_Markdown)


def test_the_page_depends_on_nothing_but_the_records(tmp_path: Path) -> None:
    """Neither on their order nor on the folder that they are in."""
    on(OLD, tmp_path / "x", *reversed(before()))
    on(CUDA, tmp_path / "x", *before())
    mixed = on(NEW, tmp_path / "x", *reversed(after())).parents[1]
    assert page(mixed) == page(some_releases(tmp_path))


def test_the_tables_are_of_the_newest_release(tmp_path: Path) -> None:
    """And of files in no release folder; one command makes all pages, and names no machine."""
    records = some_releases(tmp_path)
    a_run(records / "vendor.jsonl", a_record(backend="vendor"))
    pages = report_pages.pages([records], tmp_path / "results")
    assert list(pages) == ["README.md", "coverage.md", "fake.md", "eager.md", "vendor.md", "releases.md"]
    assert "Run with torch 2.14.1+cu130." in pages["fake.md"]
    assert "[releases](releases.md)" in pages["README.md"]
    assert "conformance report --records results/records --output results\n" in pages["README.md"]
    assert f"--records results/records/{NEW}/in-tree.jsonl\n" in pages["README.md"]
    assert str(tmp_path) not in "".join(pages.values())


def test_one_release_has_no_neighbour(tmp_path: Path) -> None:
    """Its page is the scores; records in no release folder have none."""
    alone = page(on(OLD, tmp_path, *before()).parents[1])
    assert "| `fake`" in alone
    assert "regressed" not in alone.lower()
    assert "releases.md" not in report_pages.pages([a_run(tmp_path / "a.jsonl")], tmp_path)


def test_a_script_of_an_earlier_record_does_not_count(tmp_path: Path) -> None:
    """Where the record has changed, the result of its script is ignored."""
    records = some_releases(tmp_path)
    confirmations.write(records / confirmations.NAME, [a_script(after()[0], NEW, symptom="gradients")])
    assert "stand-alone script" not in page(records).partition("## 2.13.0+cu130 to")[2]


def test_a_script_that_does_not_agree_with_the_records_says_so(tmp_path: Path) -> None:
    """It shows the failure on both, or on neither."""
    records = some_releases(tmp_path)
    confirmations.write(records / confirmations.NAME, [a_script(after()[0], NEW, statuses={CUDA: 1, NEW: 1})])
    text = page(records)
    ends = f"shows it on {CUDA} (it exits with 1) and shows it on {NEW} (it exits with 1)"
    assert f"{ends}. **The records disagree.**" in text
    assert "0 of 1 agree" in text


def test_a_file_in_the_folder_of_another_release_is_refused(tmp_path: Path) -> None:
    """Both releases are named."""
    records = some_releases(tmp_path)
    a_run(records / OLD / "other.jsonl", a_record(backend="other"), environment=an_environment(torch=NEW))
    with pytest.raises(RecordError, match=r"made with torch 2\.14\.1\+cu130, and is in the folder of 2\.13\.0\+cpu"):
        page(records)


def test_two_releases_outside_release_folders_are_refused(tmp_path: Path) -> None:
    """The table would be ambiguous; both are named, and what to do."""
    files = [a_run(tmp_path / f"{at}.jsonl", environment=an_environment(torch=at)) for at in (OLD, NEW)]
    with pytest.raises(RecordError, match=r"two releases: torch 2\.13\.0\+cpu in .*, 2\.14\.1\+cu130 in "):
        report_pages.pages(files, tmp_path)


def test_shards_of_two_releases_are_no_run(tmp_path: Path) -> None:
    """Both are named."""
    records = [a_record(IDS[0]), a_record(IDS[1])]
    whole: dict[str, Any] = {"total": 2, "digest": digest(one.key for one in records)}
    parts = [
        a_run(tmp_path / f"{at}.jsonl", one, shard=(at, 2), environment=an_environment(torch=torch), **whole)
        for at, torch, one in zip((1, 2), (OLD, NEW), records, strict=True)
    ]
    (tmp_path / "records").mkdir()
    with pytest.raises(RecordError, match=r"its torch is 2\.14\.1\+cu130, not 2\.13\.0\+cpu"):
        report_pages.pages(parts, tmp_path)


def test_a_run_that_is_not_whole_is_refused_on_any_release(tmp_path: Path) -> None:
    """An older one as well."""
    records = some_releases(tmp_path)
    a_run(records / OLD / "in-tree.jsonl", environment=an_environment(torch=OLD), finish=False)
    with pytest.raises(RecordError, match="cannot be published: it has no footer"):
        page(records)


def test_confirmations_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """The file is JSON that is written by a job."""
    path = tmp_path / confirmations.NAME
    path.write_text('[{"backend": "fake"}]')
    with pytest.raises(RecordError, match=r"cannot read .*confirmations\.json"):
        confirmations.read(path)
    assert confirmations.read(tmp_path / "none.json") == ()
    confirmations.write(path, [a_script(red(), NEW), a_script(red(), OLD)])
    assert [one.release for one in confirmations.read(path)] == [OLD, NEW]

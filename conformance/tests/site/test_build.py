from __future__ import annotations

import base64
import json
import re
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from conformance.cli.main import main
from conformance.model.attribution import Attribution, Cause
from conformance.model.enums import OPERATIONS
from conformance.model.errors import RecordError, UsageError
from conformance.model.request import Selection
from conformance.records import record_file
from conformance.report import statement
from conformance.site.build import site
from conformance.site.columns import Column, Table
from conformance.site.scripts import compilers
from conformance.tests.fakes import a_record, a_timing, an_environment
from conformance.tests.runs import a_last_run, a_run, an_xfail, red, some_timings
from conformance.triage.repro.script import Compiler

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.request import BackendInfo

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m"


def words(column: Column) -> list[str]:
    """The words of a column, row by row."""
    codes = array("H" if column["size"] == 2 else "I", base64.b64decode(column["codes"]))
    return [column["words"][code] for code in codes]


def script(path: Path) -> list[Any]:
    """The arguments that a file of data hands to the application: kind, name and value."""
    text = path.read_text(encoding="utf-8")
    found = re.fullmatch(r"conformance\.put\((\".*?\"),(\".*\"),JSON\.parse\('(.*)'\)\);\n", text)
    assert found
    value = re.sub(r"\\(.)", r"\1", found[3])
    return [json.loads(each) for each in (found[1], found[2], value)]


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3))))
def test_columns_give_the_rows_back(rows: list[tuple[str, str]]) -> None:
    """Every word of every row, in its order."""
    table = Table(("a", "b"))
    for a, b in rows:
        table.put(a=a, b=b)
    columns = table.columns()
    assert list(zip(words(columns["a"]), words(columns["b"]), strict=True)) == rows


def test_many_words_take_wider_numbers() -> None:
    """Two bytes number the words of most columns, not those of every one."""
    table = Table(("a",))
    for number in range((1 << 16) + 1):
        table.put(a=str(number))
    column = table.columns()["a"]
    assert column["size"] == array("I").itemsize
    assert words(column)[-1] == str(1 << 16)


def test_every_record_is_a_row(tmp_path: Path) -> None:
    """With area, verdict, the check that decided, and root cause and attribution of what does not conform."""
    known = an_xfail(case_id="demo.first.three", attribution=Attribution(cause=Cause.MODE))
    path = a_run(tmp_path / "a.jsonl", a_record(), red(case_id="demo.first.two"), known)
    built = site([path], tmp_path / "site")
    kind, release, value = script(tmp_path / "site" / "data" / "r0.js")
    columns = value["columns"]
    assert (kind, built.records) == ("rows", 3)
    assert release == "2.13.0"
    assert words(columns["case"]) == ["demo.first.one", "demo.first.two", "demo.first.three"]
    assert words(columns["verdict"]) == ["pass", "fail", "xfail"]
    assert words(columns["area"]) == ["demo"] * 3
    assert [bool(cause) for cause in words(columns["cause"])] == [False, True, True]
    assert words(columns["attribution"]) == ["", "", "mode"]


def test_cases_that_run_on_request_are_beside_their_release(tmp_path: Path) -> None:
    """They are chosen like a release, and are not what is shown first; nobody's level comes of them."""
    suite, asked = a_run(tmp_path / "suite.jsonl"), tmp_path / "operations.jsonl"
    a_run(asked, red("ops.torch.add.function.contiguous"), selection=Selection(tags=(OPERATIONS,)))
    built = site([suite, asked], tmp_path / "site")
    assert built.records == 2
    meta = script(tmp_path / "site" / "data" / "meta.js")[2]
    assert list(meta["releases"]) == ["2.13.0 ops", "2.13.0"]
    assert not meta["releases"]["2.13.0 ops"]["levels"]
    assert meta["latest"] == {"fake": "2.13.0"}
    rows = script(tmp_path / "site" / meta["releases"]["2.13.0 ops"]["file"])[2]["columns"]
    assert words(rows["area"]) == ["ops"]


def test_what_is_no_plain_pass_has_details(tmp_path: Path) -> None:
    """Message, differences as numbers, the command to see it again."""
    path = a_run(tmp_path / "a.jsonl", a_record(), red(case_id="demo.first.two"))
    site([path], tmp_path / "site")
    _, name, found = script(tmp_path / "site" / "data" / "r0" / "0.js")
    (key, one) = next(iter(found.items()))
    assert (name, len(found), key.split()[0]) == ("2.13.0 fake", 1, "demo.first.two")
    assert one["broken"][0]["differences"][0]["max_abs"] == 1.0
    assert one["reproduce"].startswith("conformance run --backend fake")


def test_megabytes_are_clipped(tmp_path: Path) -> None:
    """A page can show what a backend that prints without end says first."""
    site([a_run(tmp_path / "a.jsonl", red(case_id="demo.first.two", message="x" * 10_000_000))], tmp_path / "site")
    (one,) = script(tmp_path / "site" / "data" / "r0" / "0.js")[2].values()
    assert "more characters" in one["message"]
    assert sum(each.stat().st_size for each in (tmp_path / "site" / "data").rglob("*.js")) < 300_000


def test_a_backend_has_levels_a_statement_and_badges(tmp_path: Path) -> None:
    """As `conformance statement` makes them; of a partial run there are none."""
    whole = a_run(tmp_path / "a.jsonl", a_record(clauses=("GM-1",)))
    site([whole], tmp_path / "site")
    release = script(tmp_path / "site" / "data" / "meta.js")[2]["releases"]["2.13.0"]
    stated = statement.make(whole, "fake")
    assert statement.read(tmp_path / "site" / release["levels"]["fake"]["statement"]) == stated
    core = release["levels"]["fake"]["levels"][0]
    assert (core["level"], core["conforming"], core["scored"]) == ("Core", 1, 1)
    badge = json.loads((tmp_path / "site" / f"{core['badge']}.json").read_text(encoding="utf-8"))
    assert badge == statement.badges(stated)["Core"]
    assert "<svg" in (tmp_path / "site" / f"{core['badge']}.svg").read_text(encoding="utf-8")
    site([a_run(tmp_path / "b.jsonl", finish=False)], tmp_path / "site")
    assert not (tmp_path / "site" / "badges" / "fake.svg").exists()


def test_timings_are_shown_beside_the_records(tmp_path: Path) -> None:
    """Ratios with intervals, what compiling costs, and what is counted; no number that JSON does not have."""
    timed = some_timings(tmp_path / "timings.jsonl", a_timing())
    site([a_run(tmp_path / "a.jsonl"), timed], tmp_path / "site")
    (run,) = script(tmp_path / "site" / "data" / "meta.js")[2]["timings"]
    _, name, found = script(tmp_path / "site" / run["file"])
    assert (name, run["torch"]) == (run["name"], "2.13.0")
    assert {"ratio", "low", "high", "speed"} <= found["rows"][0].keys()
    assert found["overall"]["heads"][0] == "backend"
    assert "NaN" not in (tmp_path / "site" / run["file"]).read_text(encoding="utf-8")


def test_cases_of_the_catalogue_come_with_their_text(tmp_path: Path) -> None:
    """YAML as people write it, and the Python that is run."""
    path = a_run(tmp_path / "a.jsonl", a_record("base.smoke.arithmetic"), a_record("nest.modes.no_grad_with"))
    site([path], tmp_path / "site")
    one = script(tmp_path / "site" / "data" / "cases" / "base.js")[2]["base.smoke.arithmetic"]
    assert "- id: base.smoke.arithmetic" in one["yaml"]
    assert "def program(" in one["python"]
    generated = script(tmp_path / "site" / "data" / "cases" / "nest.js")[2]["nest.modes.no_grad_with"]
    assert (generated["yaml"], "torch.no_grad()" in generated["python"]) == ("", True)


def test_what_does_not_conform_has_a_script(tmp_path: Path) -> None:
    """Requests with one symptom share it; what no catalogue has and what passes have none."""
    path = a_run(
        tmp_path / "a.jsonl",
        red(case_id="base.smoke.arithmetic"),
        red(case_id="demo.first.two"),
        a_record("pre_dispatch.no_grad_simple"),
    )
    compiler = Compiler(expression='"eager"')
    site([path], tmp_path / "site", lambda _: {"fake": compiler, "absent": compiler})
    (file,) = script(tmp_path / "site" / "data" / "meta.js")[2]["releases"]["2.13.0"]["scripts"].values()
    _, name, found = script(tmp_path / "site" / file)
    assert (name, found["of"]) == ("2.13.0 fake", {"base.smoke.arithmetic grad=enabled": 0})
    assert 'torch.compile(program, backend="eager"' in found["texts"][0]


def test_a_backend_that_cannot_be_named_has_no_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed, or no script without this project can name it."""

    def compiler(info: BackendInfo) -> Compiler:
        if info.name == "gone":
            message = "nothing has that name"
            raise UsageError(message)
        return Compiler(expression=repr(info.name))

    monkeypatch.setattr("conformance.triage.repro.script.compiler", compiler)
    run = record_file.read(a_run(tmp_path / "a.jsonl", red(backend="gone"), red(backend="here")))
    assert {name: how.expression for name, how in compilers([run]).items()} == {"here": "'here'"}


def test_requests_that_no_script_can_show_have_none(tmp_path: Path) -> None:
    """A variant that the case does not have any more; two requests with one symptom have one script."""
    case, variants = "base.smoke.arithmetic", ("grad=enabled", "grad=gone", "grad=gone,size=2")
    path = a_run(tmp_path / "a.jsonl", *(red(case_id=case, variant=variant) for variant in variants))
    compiler = Compiler(expression='"eager"')
    site([path], tmp_path / "site", lambda _: {"fake": compiler})
    (file,) = script(tmp_path / "site" / "data" / "meta.js")[2]["releases"]["2.13.0"]["scripts"].values()
    found = script(tmp_path / "site" / file)[2]
    assert (len(found["texts"]), set(found["of"].values())) == (1, {0})
    gone = a_run(tmp_path / "b.jsonl", red(case_id=case, variant="grad=gone"))
    site([gone], tmp_path / "other", lambda _: {"fake": compiler})
    assert script(tmp_path / "other" / "data" / "meta.js")[2]["releases"]["2.13.0"]["scripts"] == {}


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """And leaves what is not of the site alone."""
    path = a_run(tmp_path / "a.jsonl", a_record(), red(case_id="demo.first.two"))
    folder = tmp_path / "site"
    site([path], folder)
    (folder / "CNAME").write_text("example.org", encoding="utf-8")
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    site([path], folder)
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before


def test_files_of_an_earlier_site_go(tmp_path: Path) -> None:
    """A backend that has no records any more has no details; what is outside the folder stays, whatever is noted."""
    folder = tmp_path / "site"
    site([a_run(tmp_path / "a.jsonl", red(backend="gone"), red(backend="here"))], folder)
    (tmp_path / "mine.js").write_text("mine", encoding="utf-8")
    manifest = folder / "site-manifest.json"
    manifest.write_text(json.dumps([*json.loads(manifest.read_text(encoding="utf-8")), "../mine.js"]), encoding="utf-8")
    site([a_run(tmp_path / "b.jsonl", red(backend="here"))], folder)
    assert [each.name for each in (folder / "data" / "r0").iterdir()] == ["0.js"]
    assert (tmp_path / "mine.js").exists()


def test_a_build_that_was_interrupted_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the files that it was about to write for its own."""
    path, folder = a_run(tmp_path / "a.jsonl"), tmp_path / "site"
    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "write_bytes", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            site([path], folder)
    (folder / "app.js").write_text("half", encoding="utf-8")
    assert site([path], folder).records == 1


def _interrupted(*_: object) -> int:
    raise KeyboardInterrupt


def test_a_backend_may_have_any_name(tmp_path: Path) -> None:
    """It names no file, and is escaped in the shell."""
    name = "../../<b>mine</b>"
    site([a_run(tmp_path / "in" / "a.jsonl", red(backend=name))], tmp_path / "in" / "site")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]
    text = (tmp_path / "in" / "site" / "index.html").read_text(encoding="utf-8")
    assert ("<b>mine" in text, "&lt;b&gt;mine" in text) == (False, True)


def test_records_of_another_schema_are_refused(tmp_path: Path) -> None:
    """With what to do, and nothing is written."""
    path = a_run(tmp_path / "a.jsonl")
    path.write_text(re.sub('"schema_version":[0-9]+', '"schema_version":99', path.read_text(encoding="utf-8")))
    with pytest.raises(RecordError, match="written in version 99 of the format"):
        site([path], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_records_that_were_cut_short_are_shown_without_a_level(tmp_path: Path) -> None:
    """The last line is no record; what is there is not the result of a backend."""
    path = a_run(tmp_path / "a.jsonl", a_record(), red(case_id="demo.first.two"), finish=False)
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert site([path], tmp_path / "site").records == 1
    assert script(tmp_path / "site" / "data" / "meta.js")[2]["releases"]["2.13.0"]["levels"] == {}


def test_backends_of_two_suites_say_of_which(tmp_path: Path) -> None:
    """Their results are not quite comparable."""
    paths = [
        a_run(tmp_path / f"{name}.jsonl", a_record(backend=name), environment=an_environment(suite_hash=f"{name}0000"))
        for name in ("a", "b")
    ]
    site(paths, tmp_path / "site")
    backends = script(tmp_path / "site" / "data" / "meta.js")[2]["releases"]["2.13.0"]["backends"]
    assert [backends[name]["environment"]["suite_hash"] for name in ("a", "b")] == ["a0000", "b0000"]


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    """The folder of a project's own pages may be named by mistake."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("mine", encoding="utf-8")
    with pytest.raises(RecordError, match=r"index\.html is not of a site; name a folder of its own"):
        site([a_run(tmp_path / "a.jsonl")], folder)
    assert (folder / "index.html").read_text(encoding="utf-8") == "mine"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """It is part of a JSON string, which the application never takes for HTML."""
    path = a_run(tmp_path / "a.jsonl", red(backend="fake", message=HOSTILE, case_id="demo.first.two"))
    site([path], tmp_path / "site")
    assert HOSTILE in words(script(tmp_path / "site" / "data" / "r0.js")[2]["columns"]["message"])
    text = "".join(each.read_text(encoding="utf-8") for each in (tmp_path / "site").glob("*.js"))
    unsafe = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    assert [name for name in unsafe if name in text] == []


def test_the_command_says_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last run where no records are named."""
    monkeypatch.chdir(tmp_path)
    a_last_run(tmp_path, a_record(), red(case_id="demo.first.two"))
    done = CliRunner().invoke(main, ["site", "--no-scripts"])
    assert (done.exit_code, "site/index.html: 2 records, " in done.stdout) == (0, True)
    (tmp_path / "cut.jsonl").write_text('{"kind":', encoding="utf-8")
    done = CliRunner().invoke(main, ["site", "--records", "cut.jsonl"])
    assert done.exit_code == 2

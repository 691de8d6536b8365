from __future__ import annotations

import json
import runpy
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from conformance import schema
from conformance.catalogue.yaml_source import compose
from conformance.model.enums import Verdict
from conformance.model.request import Selection
from conformance.records.encoding import Footer, Header, encode, encode_record
from conformance.schema import FOLDER, render, write
from conformance.tests.fakes import a_backend, a_record, a_timing, an_environment, failed, vacuous
from conformance.tests.runs import some_timings

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record

HEADER = Header(
    run_id="run-1",
    environment=an_environment(),
    fingerprint="0123456789ab",
    backends=(a_backend(),),
    planned=1,
    total=1,
    digest="0123",
)

CASE = {"topic": "x", "cases": [{"id": "demo.one", "title": "t", "program": "return 1"}]}
EXPECTATION = {"cases": "demo.*", "outcome": "fail", "kind": "bug", "reason": "r", "checks": ["values"]}


def validator(name: str) -> Draft202012Validator:
    """A validator of one schema."""
    return Draft202012Validator(json.loads(render()[name]))


def line(text: str) -> list[str]:
    """The errors of the record schema in one line of a record file."""
    return [error.message for error in validator("record.schema.json").iter_errors(json.loads(text))]


def test_the_committed_schemas_are_fresh() -> None:
    """The committed schemas follow from the types; run `python -m conformance.schema` after changing them."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == render()


@pytest.mark.parametrize("name", sorted(render()))
def test_a_schema_is_a_schema(name: str) -> None:
    """Each schema is valid itself, and has a description."""
    text = json.loads(render()[name])

    Draft202012Validator.check_schema(text)
    assert text["title"]


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    """Only files whose text differs are written."""
    assert [path.name for path in write(tmp_path)] == sorted(render())
    (tmp_path / "record.schema.json").write_text("{}")
    assert write(tmp_path) == [tmp_path / "record.schema.json"]
    assert write(tmp_path) == []


def test_running_the_module_says_what_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the committed schemas are fresh, `python -m conformance.schema` writes nothing and is silent."""
    runpy.run_path(schema.__file__, run_name="__main__")

    assert capsys.readouterr().out == ""


def test_every_key_of_a_case_has_a_description() -> None:
    """Editors have a description of each key."""
    definitions = json.loads(render()["case.schema.json"])["$defs"]

    keys = [(model, key) for model, form in definitions.items() for key in form["properties"]]
    assert [pair for pair in keys if not definitions[pair[0]]["properties"][pair[1]].get("description")] == []


def test_the_cases_of_the_suite_fit_their_schema() -> None:
    """An editor accepts what the loader accepts."""
    checker = validator("case.schema.json")
    entries = [entry for entry in files("conformance.cases").iterdir() if entry.name.endswith(".yaml")]

    for entry in entries:
        checker.validate(compose(entry.read_text(encoding="utf-8"), entry.name).data)


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "x"},
        {"id": "Demo"},
        {"checks": {"gradient": "must"}},
        {"requires": ["trainig"]},
        {"inputs": {"a": {"shape": [-1]}}},
        {"inputs": {"a": {"shape": [1], "dtype": "float23"}}},
        {"axes": {"grad": []}},
        {"axes": {"dynamic": ["maybe"]}},
        {"calls": []},
    ],
    ids=str,
)
def test_a_bad_case_does_not_fit_the_schema(change: dict[str, Any]) -> None:
    """An editor marks what the loader refuses by its form."""
    bad = {"topic": "x", "cases": [CASE["cases"][0] | change]}  # type: ignore[operator]

    assert validator("case.schema.json").is_valid(CASE)
    assert not validator("case.schema.json").is_valid(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"nests": {}},
        {"id": "Demo"},
        {"nest": {"modes": {"nograd": {"with": []}}, "ambient": ["enabled"], "depth": 1}},
        {"nest": {"modes": {"no_grad": {"block": []}}, "ambient": ["enabled"], "depth": 1}},
        {"nest": {"modes": {"no_grad": {"with": []}}, "ambient": ["off"], "depth": 1}},
        {"nest": {"modes": {"no_grad": {"with": []}}, "ambient": ["enabled"], "depth": 4}},
        {"laws": {"same": {"title": "x", "pairs": [{"left": ["no_grad_with"]}]}}},
    ],
    ids=str,
)
def test_a_bad_family_does_not_fit_the_schema(change: dict[str, Any]) -> None:
    """The words of the grammar are known to an editor as well."""
    nest = {"modes": {"no_grad": {"with": ["GM-1"]}}, "ambient": ["enabled"], "depth": 2}
    good = {"id": "demo.modes", "title": "t", "probe": "a.sin()", "nest": nest}

    assert validator("case.schema.json").is_valid({"topic": "x", "families": [good]})
    assert not validator("case.schema.json").is_valid({"topic": "x", "families": [good | change]})


def test_expectations_are_a_list_of_entries() -> None:
    """A file of expectations fits its schema, and an unknown check in it does not."""
    checker = validator("expectation.schema.json")

    assert checker.is_valid([EXPECTATION])
    assert not checker.is_valid(EXPECTATION)
    assert not checker.is_valid([EXPECTATION | {"checks": ["gradient"]}])


@pytest.mark.parametrize(
    "record",
    [
        a_record(),
        a_record(checks=failed().checks, message="differs", metrics={"compile_s": float("inf")}),
        a_record(checks=vacuous().checks, evidence=None, seed=3),
    ],
    ids=["pass", "fail", "vacuous"],
)
def test_the_lines_of_records_fit_their_schema(record: Record) -> None:
    """The output of the writer fits the schema."""
    assert line(encode_record(record, HEADER)) == []


def test_headers_and_footers_fit_their_schema() -> None:
    """The first and the last line of a run are described too."""
    footer = Footer(counts={"pass": 1}, records=1, finished="2026-01-01T00:00:00+00:00")

    assert line(encode(HEADER)) == []
    assert line(encode(replace(HEADER, shard=(1, 2), selection=Selection(cases=("a.*",))))) == []
    assert line(encode(footer)) == []


def test_the_lines_of_timings_fit_their_schema(tmp_path: Path) -> None:
    """Header, noise, timings and footer are described, and nothing else fits."""
    untimed = a_timing(backend="other", verdict=Verdict.XFAIL, message="values differ", blocks=(), compiles={})
    texts = some_timings(tmp_path / "t.jsonl", a_timing(), untimed).read_text(encoding="utf-8").splitlines()
    checker = validator("timing.schema.json")
    assert [error.message for text in texts for error in checker.iter_errors(json.loads(text))] == []
    assert not any(checker.is_valid(json.loads(text) | {"verdikt": "pass"}) for text in texts)


def test_a_line_with_an_unknown_key_does_not_fit() -> None:
    """A record line has no field that the schema does not know."""
    text = encode_record(a_record(), HEADER)

    assert line(json.dumps(json.loads(text) | {"verdikt": "pass"}))

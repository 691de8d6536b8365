from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.yaml_source import compose

SCALARS = {
    "true": True,
    "false": False,
    "True": "True",
    "off": "off",
    "on": "on",
    "yes": "yes",
    "n": "n",
    "null": None,
    "~": None,
    "12": 12,
    "-3": -3,
    "010": 10,
    "1e-5": 1e-5,
    ".5": 0.5,
    "-1.5E+3": -1500.0,
    ".inf": float("inf"),
    "1_000": "1_000",
    "2026-01-01": "2026-01-01",
    "'12'": "12",
    '"true"': "true",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    """Only true and false are booleans, 1e-5 is a number, and what is quoted is text."""
    read = compose(f"key: {text}\n", "f.yaml").data

    assert isinstance(read, dict)
    assert read["key"] == value
    assert type(read["key"]) is type(value)


def test_a_number_of_many_digits_is_a_float() -> None:
    """Thousands of digits cost neither an exception nor time."""
    assert compose("9" * 5000, "f.yaml").data == float("inf")


def test_every_key_and_value_has_its_place() -> None:
    """Locations of keys, values and items count lines and columns from 1."""
    document = compose("a:\n  - b: 1\n    c: [x, yy]\n", "f.yaml")

    assert str(document.location(("a", 0, "c", 1))) == "f.yaml:3:12"
    assert str(document.location(("a", 0, "c"), key=True)) == "f.yaml:3:5"
    assert str(document.location(("a", 0, "c"))) == "f.yaml:3:8"
    assert str(document.location()) == "f.yaml:1:1"


def test_a_path_that_leads_nowhere_gives_its_last_step() -> None:
    """What is missing is reported where it should have been."""
    document = compose("a:\n  - b: 1\n", "f.yaml")

    assert document.location(("a", 0, "c", 3)) == document.location(("a", 0))
    assert document.location(("a", 7)) == document.location(("a",))
    assert document.location(("a", 0, "b", "x")) == document.location(("a", 0, "b"))


def test_the_text_of_a_literal_block_starts_below_its_mark() -> None:
    """A literal block has the line below its mark and the column of its indentation, also where it starts blank."""
    document = compose("a: |\n   x\nb: |\n\n    y\nc: |2\n     z\n", "f.yaml")

    assert str(document.text_location(("a",))) == "f.yaml:2:4"
    assert str(document.text_location(("b",))) == "f.yaml:4:5"
    assert str(document.text_location(("c",))) == "f.yaml:7:3"


def test_the_text_of_a_scalar_on_one_line_starts_after_its_quote() -> None:
    """A plain or quoted text on one line has the line and column of its first character."""
    document = compose("a: return x\nb: 'return x'\n", "f.yaml")

    assert str(document.text_location(("a",))) == "f.yaml:1:4"
    assert str(document.text_location(("b",))) == "f.yaml:2:5"


@pytest.mark.parametrize("text", ["a: >\n  x\n  y\n", "a: x\n  y\n", "a: 'x\n\n  y'\n"])
def test_a_folded_text_has_no_place_of_its_own(text: str) -> None:
    """The lines of a folded or quoted text are not those of the file."""
    assert compose(text, "f.yaml").text_location(("a",)) is None


def test_a_missing_text_has_the_place_of_what_should_hold_it() -> None:
    """Asking for the text of a key that is not there gives the mapping's place."""
    assert str(compose("a: 1\n", "f.yaml").text_location(("b",))) == "f.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key 'a'"),
        ("a: &x [*x]\n", "f.yaml:1:4: aliases"),
        ("a: &x 1\nb: *x\n", "f.yaml:1:4: aliases"),
        ("? [a]\n: b\n", "f.yaml:1:3: a key must be text"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:4: the tag"),
        ("[" * 30 + "]" * 30, "f.yaml:1:22: nested deeper than 20 levels"),
    ],
)
def test_what_hides_meaning_is_a_problem(text: str, message: str) -> None:
    """Duplicate keys, aliases, keys that are no text, tags and deep nesting are refused at their place."""
    problems = compose(text, "f.yaml").problems

    assert str(problems[0]).startswith(message)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [\n", "f.yaml:2:1"),
        ("a: b: c\n", "f.yaml:1:5"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1"),
        ("\ta: 1\n", "f.yaml:1:1"),
        ("a: 1\nb: \x01\n", "f.yaml:2:4"),
        ("\udc80", "f.yaml:1:1"),
        ("[" * 20_000, ""),
    ],
)
def test_malformed_yaml_is_one_problem_at_its_place(text: str, place: str) -> None:
    """What is not YAML gives no data and one problem with line and column."""
    document = compose(text, "f.yaml")

    assert document.data is None
    assert len(document.problems) == 1
    assert str(document.problems[0]).startswith(place)
    assert "malformed YAML" in document.problems[0].message


def test_an_empty_file_has_no_data_and_no_problem() -> None:
    """An empty document is valid; the reader decides."""
    document = compose("", "f.yaml")

    assert document.data is None
    assert document.problems == ()


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(string.printable.strip(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters, min_size=1), inner),
    max_leaves=12,
)


@settings(deadline=None)  # other work on the machine is no failure
@given(plain)
def test_json_is_read_as_json(data: Any) -> None:
    """JSON is YAML: plain data written as JSON is read back as it was."""
    document = compose(json.dumps(data), "f.yaml")

    assert not document.problems
    assert document.data == data


@settings(deadline=None)  # other work on the machine is no failure
@given(st.text(max_size=200))
def test_any_text_gives_a_document_and_places_within_it(text: str) -> None:
    """No input raises, and every problem is within the text."""
    document = compose(text, "f.yaml")

    lines = len(text.splitlines()) + 1
    assert all(1 <= problem.location.line <= lines for problem in document.problems)

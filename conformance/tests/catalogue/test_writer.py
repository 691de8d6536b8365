from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.catalogue import sources, writer
from conformance.catalogue.loader import load_cases
from conformance.model.case import Call, ExpectedRaise, InputSpec, Location, Variant
from conformance.model.enums import Level
from conformance.model.errors import UsageError
from conformance.model.user_function import UserFunction
from conformance.tests.fakes import a_case

if TYPE_CHECKING:
    from conformance.model.case import Case

NOWHERE = Location(file="")


def reloaded(case: Case) -> Case:
    """Write a case to a file and load it."""
    with TemporaryDirectory() as folder:
        Path(folder, writer.filename(case)).write_text(writer.dump(case), encoding="utf-8")
        (loaded,) = load_cases([Path(folder)])
    return loaded


def placeless(case: Case) -> Case:
    """Return the case without its places."""
    return replace(case, location=NOWHERE, program_location=None, setup_location=None)


def test_every_written_case_comes_back_equal() -> None:
    """All cases of the catalogue that people wrote are loaded from their dump as they were."""
    written = [case for case in sources.collect() if not case.family and not case.twin]
    assert [case.id for case in written if placeless(reloaded(case)) != placeless(case)] == []


def test_a_small_case_reads_like_those_of_the_catalogue() -> None:
    """Short maps are on one line, the program is in a block, and defaults are left out."""
    case = a_case(
        inputs={"a": InputSpec(shape=(4,), requires_grad=True), "k": InputSpec(scalar=2)},
        variants=(Variant(), Variant(autocast="bfloat16")),
        calls=(Call(), Call(shapes={"a": (5,)}, backward=False)),
    )
    assert writer.dump(case) == (
        "topic: Demonstration\n"
        "cases:\n"
        "  - id: demo.first.one\n"
        "    title: doubles its input\n"
        "    inputs:\n"
        "      a: {shape: [4], requires_grad: true}\n"
        "      k: {scalar: 2}\n"
        "    program: |\n"
        "      return a * 2\n"
        "    calls:\n"
        "      - {}\n"
        "      - {shapes: {a: [5]}, backward: false}\n"
        '    axes: {autocast: ["off", bfloat16]}\n'
        "    moves: none\n"
    )


def test_the_file_is_named_for_area_and_topic() -> None:
    """The name is made of the first two parts of the id."""
    assert writer.filename(a_case("demo.first.one.more")) == "demo_first_one_more.yaml"


@pytest.mark.parametrize(
    "changes",
    [
        {"recompiles": 0},
        {"graph_breaks": 1, "checks": {"double_backward": Level.MUST}, "tolerance": {"float32": 1e-5}},
        {"raises": ExpectedRaise(type="ValueError"), "torch": ">=2.13", "timeout_s": 2.5},
        {"inputs": {"a": InputSpec(shape=(2,), values=(1.0, float("inf"))), "s": InputSpec(scalar="off")}},
        {"inputs": {"a": InputSpec(shape=(2, 2), stride=(1, 2), distribution="uniform", low=-1, high=0.5)}},
        {"inputs": {"a": InputSpec(shape=(4,), requires_grad=True, leaf=False), "b": InputSpec(alias_of="a")}},
        {"inputs": {"a": InputSpec(shape=(4,), inference=True), "b": InputSpec(view_of="a", shape=(2,), offset=1)}},
        {"variants": (Variant(dynamic=None), Variant(dynamic=True)), "program": "return a.sin()"},
        {"calls": (Call(grad="disabled", requires_grad={"a": False}), Call(dtype="float64", inplace=True))},
    ],
)
def test_what_the_catalogue_rarely_has_comes_back_equal(changes: dict[str, Any]) -> None:
    """Each key is written as the loader reads it."""
    case = a_case(**changes)
    assert placeless(reloaded(case)) == placeless(case)


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1), st.text("1e-5.offtrue~ :#", min_size=1))
def test_any_title_and_text_comes_back_equal(title: str, scalar: str) -> None:
    """Words that look like numbers, booleans or YAML stay words."""
    case = a_case(title=title.replace("$", ""), inputs={"a": InputSpec(shape=(4,)), "s": InputSpec(scalar=scalar)})
    if case.title:
        assert placeless(reloaded(case)) == placeless(case)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"twin": "return a + a\n"}, "twin"),
        ({"variants": (Variant(), Variant(grad="disabled", dtype="float64"))}, "product"),
        ({"function": UserFunction(ref="m:f")}, "calls a function in a file"),
    ],
)
def test_what_no_file_can_express_is_refused(changes: dict[str, Any], words: str) -> None:
    """A case that a file would change is not written."""
    with pytest.raises(UsageError, match=words):
        writer.dump(a_case(**changes))

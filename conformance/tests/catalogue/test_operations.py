from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.catalogue.operations import (
    FORMS,
    LAYOUTS,
    Operation,
    Point,
    Sample,
    case_of,
    expand,
    groups,
    operations,
    variant_of,
)
from conformance.catalogue.selection import decided
from conformance.model.case import InputSpec
from conformance.model.enums import OPERATIONS, Capability, Outcome, Tier
from conformance.program.build import generate
from conformance.tests.case_files import load, refused
from conformance.tests.fakes import a_case, a_request

if TYPE_CHECKING:
    from pathlib import Path

BASE = a_case("ops.torch", clauses=("RS-1",))
MATRIX = InputSpec(shape=(2, 3), requires_grad=True, distribution="uniform", low=-1, high=1)
ADD = Operation(
    id="torch.add",
    function="torch.add",
    method="add",
    in_place="add_",
    out="tensor",
    requires=("training",),
    samples={
        "contiguous": [
            Sample(first="a1", rest="b1", inputs={"a1": MATRIX, "b1": InputSpec(shape=())}),
            Sample(first="a2", rest="2, alpha=3", inputs={"a2": MATRIX}),
        ],
        "empty": [Sample(first="a", rest="1", inputs={"a": replace(MATRIX, shape=(0, 3))})],
    },
)

FAMILY = """
topic: Demonstration
families:
  - id: ops.demo
    title: They are the same
    clauses: [RS-1]
    operations: {group: GROUP}
"""


@pytest.mark.parametrize(
    ("form", "program"),
    [
        ("function", "return torch.add(a1, b1), torch.add(a2, 2, alpha=3)\n"),
        ("method", "return a1.add(b1), a2.add(2, alpha=3)\n"),
        ("in_place", "changed = a1.clone()\nchanged.add_(b1)\nreturn changed\n"),
    ],
)
def test_a_form_is_how_an_operation_is_called(form: str, program: str) -> None:
    """Each sample is called, in place the first alone, since others may broadcast what is written to."""
    assert case_of(ADD, form, "contiguous", BASE).program == program


def test_out_writes_into_a_tensor_of_the_right_size() -> None:
    """What it returns without `out=` is returned too; nothing requires gradients, which `out=` refuses."""
    case = case_of(ADD, "out", "empty", BASE)
    lines = [
        "plain = torch.add(a, 1)",
        "out = torch.empty_like(plain)",
        "torch.add(a, 1, out=out)",
        "return out, plain",
    ]
    assert case.program == "\n".join([*lines, ""])
    assert not any(spec.requires_grad for spec in case.inputs.values())
    assert case.requires == frozenset()


def test_out_of_several_results_is_a_tuple() -> None:
    """An operation with several results takes as many tensors."""
    case = case_of(replace(ADD, out="tuple"), "out", "empty", BASE)
    assert "out = tuple([torch.empty_like(each) for each in plain])\n" in case.program


def test_an_operation_without_a_name_has_lines() -> None:
    """What PyTorch's own wrapper of it does stands in the program."""
    sample = Sample(first="step2", lines=("step1 = a.mT", "step2 = a @ step1"), inputs={"a": MATRIX})
    case = case_of(Operation(id="torch.gram", samples={"contiguous": [sample]}), "function", "contiguous", BASE)
    assert case.program == "step1 = a.mT\nstep2 = a @ step1\nreturn step2\n"


def test_transposed_inputs_have_other_strides() -> None:
    """Those of a transposed matrix; a tensor without dimensions stays as it is."""
    inputs = case_of(ADD, "function", "transposed", BASE).inputs
    assert inputs["a1"] == replace(MATRIX, stride=(1, 2))
    assert inputs["b1"] == InputSpec(shape=())


def test_expanded_inputs_are_views_of_a_row() -> None:
    """The row is an input of its own, in which gradients accumulate."""
    inputs = case_of(ADD, "function", "expanded", BASE).inputs
    assert inputs["a1_row"] == replace(MATRIX, shape=(1, 3))
    assert inputs["a1"] == InputSpec(shape=(2, 3), stride=(0, 1), view_of="a1_row")


def test_special_inputs_hold_what_is_no_number() -> None:
    """The clause on infinite and undefined numbers is tested too."""
    case = case_of(ADD, "function", "special", BASE)
    assert case.inputs["a1"].distribution == "special"
    assert case.clauses == ("RS-1", "AG-1", "RS-10")


def test_values_and_other_dtypes_are_left_as_they_are() -> None:
    """Where only these numbers will do, no layout changes them; an index stays an index."""
    index = InputSpec(shape=(2,), dtype="int64", distribution="integers", low=0, high=2)
    exact = InputSpec(shape=(2,), values=(1.0, 2.0))
    sample = Sample(first="a", rest="b", inputs={"a": exact, "b": index})
    operation = Operation(id="torch.take", function="torch.take", samples={"contiguous": [sample]})
    assert case_of(operation, "function", "special", BASE).inputs == {"a": exact, "b": index}
    assert case_of(operation, "function", "expanded", BASE).inputs["a"] == exact


def test_a_point_is_read_as_it_is_written() -> None:
    """Its four words, joined by dots."""
    point = Point(form="out", layout="empty", dtype="bool", ambient="inference")
    assert str(point) == "out.empty.bool.inference"
    assert Point.of(str(point)) == point


def test_every_operation_of_the_suite_has_one_plain_point() -> None:
    """It is run on every backend, and every point in a form and a layout that are known."""
    for operation in operations():
        assert Tier.DEFAULT in operation.points.values(), operation.id
        assert {point.form for point in operation.points} <= {*FORMS}
        assert {point.layout for point in operation.points} <= {*LAYOUTS}


def test_every_program_of_an_operation_is_python() -> None:
    """Its text compiles, and its inputs are the arguments; nothing of it is run."""
    for group in groups():
        for case in expand(group, replace(BASE, id=f"ops.{group}")):
            source = generate(case, case.variants[0]).source
            assert f"def program({', '.join(case.inputs)}):" in source
            compile(source, case.id, "exec")


def test_a_family_of_operations_becomes_cases(tmp_path: Path) -> None:
    """One of each operation, form and layout; what its points are run under are variants."""
    group = groups()[0]
    cases = load(tmp_path, ops=FAMILY.replace("GROUP", group))
    chosen = [each for each in operations() if each.group == group]
    assert {case.id.split(".")[2] for case in cases} == {each.id.partition(".")[2] for each in chosen}
    assert sum(len(case.variants) for case in cases) == sum(len(each.points) for each in chosen)
    assert all(case.tags == {OPERATIONS} and case.family is cases[0].family for case in cases)
    assert any(variant.dynamic for case in cases for variant in case.variants)


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    """With the group that it resembles."""
    (problem,) = refused(tmp_path, ops=FAMILY.replace("GROUP", "linalgg"))
    assert "unknown group 'linalgg'" in problem
    assert "Did you mean 'linalg'?" in problem


def test_a_family_of_operations_has_no_inputs_of_its_own(tmp_path: Path) -> None:
    """PyTorch's descriptions say what they are called with."""
    (problem,) = refused(tmp_path, ops=FAMILY.replace("GROUP", "linalg") + "    requires: [training]\n")
    assert "a family of operations has no 'requires'" in problem


def test_a_family_of_nests_needs_a_probe(tmp_path: Path) -> None:
    """Only operations do without."""
    nest = "    nest: {modes: {no_grad: {with: [GM-1]}}, ambient: [enabled], depth: 1}\n"
    (problem,) = refused(tmp_path, ops=FAMILY.partition("    operations")[0] + nest)
    assert "the key 'probe' is missing" in problem


def test_the_capabilities_of_an_operation_are_those_of_its_results() -> None:
    """They are words of the suite."""
    needs = {need for each in operations() for need in each.requires}
    assert needs <= {str(each) for each in Capability}


def test_the_data_names_the_release_that_it_is_of() -> None:
    """And is small enough for a wheel."""
    text = (files("conformance.cases") / OPERATIONS_DATA).read_text(encoding="utf-8")
    assert '"torch": "2.' in text
    assert len(text) < 4_000_000


def test_an_operation_that_was_removed_is_run_on_the_releases_that_have_it() -> None:
    """Elsewhere it is a skip, not a fault of the suite."""
    case = case_of(replace(ADD, torch="<2.14"), "function", "contiguous", BASE)
    request = a_request(replace(case, variants=(variant_of(Point.of("function.contiguous.float32.enabled")),)))
    assert decided(request, "2.13.0+cpu") is None
    assert decided(request, "2.15.0+cu132") == (Outcome.SKIP, "needs torch <2.14, this is 2.15.0+cu132")
    assert {each.id for each in operations() if each.torch} == {"torch.cholesky", "torch.qr"}

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.testing._internal.autocast_test_lists import AutocastCPUTestLists

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.catalogue.operations import Operation, Point, Sample, operations
from conformance.model.case import InputSpec
from conformance.model.enums import Tier
from conformance.report.operation_uses import read_uses
from conformance.tests.jobs.operations.audit import COVERED, RULES, UNKNOWN, Overload, audited, page, shares
from conformance.tests.jobs.operations.calls import NotWritable, public_name, traced, written
from conformance.tests.jobs.operations.points import reads_unwritten
from conformance.tests.jobs.operations.reached import read_reached
from conformance.tests.jobs.operations.uses import by_name, called
from conformance.tests.jobs.practice_runs import functions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

CPU = frozenset({"CPU"})
TENSOR = "(Tensor self) -> Tensor"


def a_sample(given: object, *args: object, **kwargs: object) -> SimpleNamespace:
    """A sample as `op_db` has them."""
    return SimpleNamespace(input=given, args=args, kwargs=kwargs)


def an_overload(name: str, schema: str = TENSOR, kernels: frozenset[str] = CPU) -> Overload:
    """An overload of dense tensors on the CPU."""
    return Overload(name=name, schema=schema, kernels=kernels)


@pytest.mark.parametrize(
    ("overload", "expected"),
    [
        (an_overload("aten::sin"), COVERED),
        (an_overload("aten::sin_", "(Tensor(a!) self) -> Tensor(a!)"), "variant"),
        (an_overload("aten::sin.out", "(Tensor self, Tensor(a!) out) -> Tensor(a!)"), "variant"),
        (an_overload("aten::sin.Scalar"), "another_overload"),
        (an_overload("aten::sin_backward"), "backward"),
        (an_overload("aten::_sin_helper"), "internal"),
        (an_overload("aten::_foreach_sin"), "foreach"),
        (an_overload("aten::sin_copy"), "functionalized"),
        (an_overload("aten::linalg_eig"), "unusable"),
        (an_overload("aten::sparse_sin"), "layout"),
        (an_overload("aten::sort.dimname", "(Tensor self, Dimname dim) -> Tensor"), "names"),
        (an_overload("aten::add.str", "(str a, str b) -> str"), "no_tensor"),
        (an_overload("aten::cuda_only", kernels=frozenset()), "device"),
        (an_overload("quantized::add"), "library"),
        (an_overload("aten::requires_grad_"), "state"),
        (an_overload("aten::unheard_of"), UNKNOWN),
    ],
)
def test_an_overload_is_reached_or_falls_under_a_rule(overload: Overload, expected: str) -> None:
    """Of several rules the first; what neither is, is not known."""
    found = audited([overload], {"aten::sin"})
    assert [where for where, names in found.items() if names] == [expected]


def test_the_shares_count_what_a_backend_can_be_given() -> None:
    """What is reached, with its variants, out of all but what no backend is given."""
    overloads = [an_overload("aten::sin"), an_overload("aten::cos"), an_overload("quantized::add")]
    overloads += [an_overload("aten::sin_", "(Tensor(a!) self) -> Tensor(a!)")]
    found = audited(overloads, {"aten::sin"})
    assert shares(found) == (1, 2, 3)
    text = page(found, "2.13.0", {"wrapped": "it has a wrapper"})
    assert "reach 1 (33.3 %)" in text
    assert "`aten::cos`" in text
    assert "it has a wrapper" in text


@pytest.mark.parametrize(
    ("function", "reads"), [("torch.empty_like", True), ("torch.zeros_like", False), ("torch.sin", False)]
)
def test_a_point_that_reads_memory_nobody_has_written_is_known(function: str, reads: bool) -> None:
    """Its results are others once PyTorch fills what it takes."""
    sample = Sample(first="a", inputs={"a": InputSpec(shape=(3, 4))})
    operation = Operation(id="torch.sample", function=function, samples={"contiguous": [sample]})
    point = Point(form="function", layout="contiguous", dtype="float32", ambient="enabled")
    assert reads_unwritten(operation, point) is reads


def test_every_rule_has_a_reason() -> None:
    """It is a line of the page."""
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.why for rule in RULES)


def test_a_sample_is_written_as_python() -> None:
    """Tensors get names; what else is given is a literal."""
    a, b = torch.ones(2), torch.ones(2)
    found = written(a_sample(a, b, [a, 1.5], dim=None, dtype=torch.float32, where=slice(1, None), to=float("inf")), "")
    assert found.first == "a"
    assert found.rest == "b, [a, 1.5], dim=None, dtype=torch.float32, where=slice(1, None, None), to=float('inf')"
    assert list(found.tensors) == ["a", "b"]


@pytest.mark.parametrize("argument", [object(), torch.ones(2).to_sparse(), torch.ones(2, dtype=torch.complex64).conj()])
def test_what_no_program_can_contain_is_refused(argument: object) -> None:
    """With a reason, which is printed."""
    with pytest.raises(NotWritable):
        written(a_sample(argument), "")


def test_a_wrapper_is_written_as_what_it_calls() -> None:
    """Line by line, without lines that the result does not need, and without its seeding."""

    def wrapped(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        x.sum()
        return x @ y.mT

    found = traced(SimpleNamespace(op=wrapped), a_sample(torch.ones(2, 3), torch.ones(2, 3)), "")
    assert found.lines == ["step2 = b.mT", "step3 = a.matmul(step2)"]
    assert found.first == "step3"


def test_an_operation_is_called_by_its_public_name() -> None:
    """If that is what `op_db` calls."""
    assert public_name(SimpleNamespace(name="nn.functional.relu", op=torch.nn.functional.relu)) == "F.relu"
    assert public_name(SimpleNamespace(name="sin", op=lambda x: torch.sin(x) + 0)) == ""
    assert public_name(SimpleNamespace(name="no.such", op=torch.sin)) == ""


def test_the_data_is_what_the_job_writes(checkout: Path) -> None:
    """On the release that it is of, for some operations."""
    data = json.loads((files("conformance.cases") / OPERATIONS_DATA).read_text(encoding="utf-8"))
    if version("torch").partition("+")[0] != data["torch"]:
        pytest.skip(f"the data is of torch {data['torch']}")
    command = [sys.executable, "-m", "conformance.tests.jobs.operations", "--check", "sqrt", "T", "linalg.cholesky"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_every_operation_of_autocasts_lists_runs_under_each_autocast_by_default() -> None:
    """Those that PyTorch tests itself, by name: lower precision, float32 and promote. Two are no user's to call."""
    lists = AutocastCPUTestLists(torch.device("cpu"))  # type: ignore[no-untyped-call]
    several = (lists.torch_16, lists.torch_fp32, lists.nn_16, lists.nn_fp32, lists.torch_need_autocast_promote)
    listed = {entry[0] for entries in several for entry in entries}
    overloads, run = read_reached(), {name: set[str]() for name in listed}
    for operation in operations():
        ambients = {point.ambient for point, tier in operation.points.items() if tier is Tier.DEFAULT}
        for name in {each.partition("::")[2].partition(".")[0] for each in overloads.get(operation.id, ())} & listed:
            run[name] |= ambients
    assert {name for name, ambients in run.items() if not ambients >= {"bfloat16", "float16"}} == {
        "_addmm_activation",
        "_native_multi_head_attention",
    }


@pytest.mark.parametrize(
    ("model", "seen"),
    [
        ("language.CausalSelfAttention", {"nn_functional.linear", "torch.matmul", "torch.eq", "torch.masked_fill"}),
        ("language.apply_rotary", {"torch.__rdiv__", "torch.div_no_rounding_mode", "torch.chunk", "torch.einsum"}),
    ],
)
def test_what_a_model_calls_is_known_by_operation(model: str, seen: set[str]) -> None:
    """Modules, functions, methods and operators of Python stand for what is described."""
    assert seen <= called(model, by_name(operations()))


def test_what_the_page_ranks_by_is_what_models_call() -> None:
    """Counted anew, for the models of language."""
    known, uses = by_name(operations()), read_uses()
    names = functions()
    assert uses.functions == len(names)
    counted = Counter(each for name in names if name.startswith("language.") for each in called(name, known))
    assert all(uses.of(each) >= count for each, count in counted.items())

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import pytest
import torch

from conformance.catalogue.operations import expand, groups
from conformance.model.case import Case, InputSpec, Variant
from conformance.observation import inputs
from conformance.tests.fakes import a_case, a_request
from conformance.triage.repro import program_text

pytestmark = pytest.mark.torch

SPECIAL = InputSpec(shape=(3, 4), distribution="special", low=-2, high=3, requires_grad=True)
OF_ALL_DTYPES = {"a": SPECIAL, "b": replace(SPECIAL, distribution="uniform"), "c": InputSpec(shape=(2,))}


def written(case: Case, variant: Variant, index: int) -> dict[str, object]:
    """The arguments of a call as the script of a request makes them."""
    lines = list(program_text.arguments(a_request(case=case, variant=variant), case.calls[0], index))
    text = program_text.helpers("\n".join(lines))
    names: dict[str, object] = {"torch": torch, "zlib": zlib, "math": math}
    exec("\n".join([text, *lines]), names)  # noqa: S102 - the text of this suite
    return {name: names[program_text.local(name)] for name in case.inputs}


def assert_made_alike(case: Case, variant: Variant) -> None:
    """A script passes the same arguments as the suite: numbers, dtypes, strides, whether they require gradients."""
    made = inputs.related(case, inputs.make(case, variant, case.calls[0], 0, 1))
    for name, actual in written(case, variant, 1).items():
        expected = made[name]
        assert isinstance(actual, torch.Tensor)
        assert isinstance(expected, torch.Tensor)
        assert torch.allclose(actual, expected, 0, 0, equal_nan=True), f"{case.id}: {name}"
        assert (actual.dtype, actual.stride()) == (expected.dtype, expected.stride())
        assert actual.requires_grad == expected.requires_grad, f"{case.id}: {name}"


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int64", "bool"])
def test_a_script_draws_the_numbers_of_the_suite(dtype: str) -> None:
    """Of each distribution, in each dtype."""
    assert_made_alike(a_case(inputs=OF_ALL_DTYPES), Variant(dtype=dtype))


@pytest.mark.parametrize("group", groups())
def test_a_script_of_an_operation_has_the_inputs_of_the_suite(group: str) -> None:
    """Of some operations in all their layouts."""
    cases = list(expand(group, a_case(f"ops.{group}")))
    for case in cases[:: max(1, len(cases) // 20)]:
        assert_made_alike(case, case.variants[-1])


def test_values_that_are_no_numbers_are_written_as_python() -> None:
    """`nan` and `inf` alone would be names."""
    case = a_case(inputs={"a": InputSpec(shape=(3,), values=(math.nan, -math.inf, 1.5))})
    assert_made_alike(case, Variant())

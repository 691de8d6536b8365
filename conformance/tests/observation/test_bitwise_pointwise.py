from __future__ import annotations

import pytest
import torch

from conformance.tests.fakes import a_backend, a_case
from conformance.tests.roles import a_reference, checked
from conformance.tests.wrong import after

pytestmark = pytest.mark.torch

CLAIMING = a_backend("claiming", bitwise_pointwise=True)
POINTWISE = {
    "arithmetic": "return (a * 3 + 1).sin()\n",
    "written in place": "b = a.clone()\nb.mul_(2).exp_()\nreturn b\n",
    "views and casts": "return (a.double().reshape(2, 2).t() + 1).float()\n",
    "made anew": "return torch.cat([a, torch.ones_like(a)]) * torch.full((8,), 2.5)\n",
}
OTHERS = {
    "a sum": "return a * a.sum()\n",
    "a product of matrices": "return torch.outer(a, a) @ a\n",
    "a sum in backward alone": "return a[0].expand(4) * torch.arange(4.0)\n",
}


def one_bit_off(result: torch.Tensor) -> torch.Tensor:
    """The number after each number, or the one after that."""
    return result * (1 + torch.finfo(result.dtype).eps)


def broken(program: str, **claims: bool) -> set[str]:
    """The checks that a result does not hold whose numbers are a bit off."""
    case = a_case(program=program)
    backend = a_backend("claiming", **claims)
    return checked(case, after(one_bit_off), reference=a_reference(case, backend=backend)).broken


@pytest.mark.parametrize("program", POINTWISE.values(), ids=POINTWISE.keys())
def test_a_bit_fails_where_the_bits_of_pointwise_operations_are_claimed(program: str) -> None:
    """Results and gradients of a backend that claims the bits of uncompiled have to have them."""
    assert {"values", "gradients"} <= broken(program, bitwise_pointwise=True)


@pytest.mark.parametrize("program", POINTWISE.values(), ids=POINTWISE.keys())
def test_a_bit_is_rounding_where_no_bits_are_claimed(program: str) -> None:
    """As on every other backend."""
    assert not broken(program)


@pytest.mark.parametrize("program", OTHERS.values(), ids=OTHERS.keys())
def test_the_claim_is_about_pointwise_operations_alone(program: str) -> None:
    """The order of a sum is free, in backward too."""
    assert not broken(program, bitwise_pointwise=True)


def test_the_difference_says_what_was_claimed() -> None:
    """A reader is told why the last bit counts here."""
    case = a_case(program=POINTWISE["arithmetic"])
    found = checked(case, after(one_bit_off), reference=a_reference(case, backend=CLAIMING)).first("values")
    assert found.allowed == "the bits of uncompiled, as claimed where all operations are pointwise"
    assert found.ulp is not None
    assert found.ulp <= 2

from __future__ import annotations

import pytest
import torch
from torch.testing._comparison import default_tolerances

from conformance.model.enums import PRECISIONS
from conformance.observation.tolerance import CLOSE, REFERENCE, lowest, reference_tolerance

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("dtype", [dtype for dtype in CLOSE if dtype not in {torch.float64, torch.complex128}])
def test_close_means_what_assert_close_means(dtype: torch.dtype) -> None:
    """The grade `close` uses the defaults that PyTorch documents."""
    assert CLOSE[dtype] == default_tolerances(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_close_in_float64_is_nearer_than_float32_can_be(dtype: torch.dtype) -> None:
    """The documented default would let a result pass that was computed in float32."""
    assert max(CLOSE[dtype]) < torch.finfo(torch.float32).eps / 2 < max(default_tolerances(dtype))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([torch.float32, torch.bfloat16, torch.float64], torch.bfloat16),
        ([torch.float16, torch.bfloat16], torch.bfloat16),
        ([torch.float32, torch.int64, torch.bool], torch.float32),
        ([torch.complex64, torch.complex128], torch.complex64),
        ([torch.int64], torch.float64),
        ([], torch.float64),
    ],
)
def test_the_lowest_precision_of_a_path(dtypes: list[torch.dtype], expected: torch.dtype) -> None:
    """Integers have no precision, and bfloat16 has the least."""
    assert lowest(dtypes) is expected


def test_less_precision_is_allowed_more() -> None:
    """The tolerance of the rule grows with every step down."""
    assert list(REFERENCE.values()) == sorted(REFERENCE.values())
    assert [str(dtype) for dtype in REFERENCE] == [f"torch.{name}" for name in PRECISIONS]


def test_a_case_replaces_the_tolerance_of_one_dtype() -> None:
    """An override counts for the dtype it names."""
    overrides = {"float32": 0.5}
    assert reference_tolerance(torch.float32, overrides) == 0.5
    assert reference_tolerance(torch.float16, overrides) == REFERENCE[torch.float16]

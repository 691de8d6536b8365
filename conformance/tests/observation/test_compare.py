from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing._internal.two_tensor import TwoTensor

from conformance.model.enums import Grade
from conformance.model.result import Difference
from conformance.observation import seeding, snapshot
from conformance.observation.compare import Comparison, compare_facts, compare_leaves
from conformance.observation.tolerance import CLOSE
from conformance.tests.fakes import a_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.observation.fp64 import Reference

pytestmark = pytest.mark.torch

NAN, INF = math.nan, math.inf
DTYPES = (*CLOSE, torch.bool, torch.uint8, torch.int64)
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
FILLED = st.lists(st.integers(1, 3), max_size=3).map(tuple)
SPECIAL = (0.0, -0.0, 1.0, -2.5, NAN, INF, -INF)


@dataclass
class Ideal:
    """Replaces the fp64 reference: one leaf, one precision, and how far uncompiled results move."""

    data: torch.Tensor | None = None
    dtype: torch.dtype = torch.float32
    moves: torch.Tensor | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)

    def demands_bits(self, _: str) -> bool:
        """The backend claims no bits."""
        return False

    def precision(self, _: str) -> torch.dtype:
        """The precision of every path."""
        return self.dtype

    def leaf(self, _: str, __: str) -> torch.Tensor | None:
        """The float64 counterpart of every leaf."""
        return self.data

    def other_draws(self, _: str, __: str) -> list[snapshot.Leaf]:
        """Nothing is drawn."""
        return []

    def spread(self, _: str, __: str) -> torch.Tensor | None:
        """How far every leaf moves."""
        return self.moves


def two(a: torch.Tensor, b: torch.Tensor) -> Any:
    """A subclass that wraps two tensors."""
    return TwoTensor(a, b)  # type: ignore[no-untyped-call]


class Sub(torch.Tensor):
    """A tensor with a name of its own."""


class Kind(Enum):
    """An enumeration."""

    ONE, TWO = 1, 2


@dataclass
class Holder:
    """A result as libraries return them."""

    loss: torch.Tensor
    items: list[Any]
    inner: Any


class Other(Holder):
    """The same under another name."""


def compare(actual: object, expected: object, reference: Any = None) -> Comparison:
    """Compare two values."""
    one, other = snapshot.take_all({"output": actual}), snapshot.take_all({"output": expected})
    known: Reference | None = reference
    return compare_leaves(one, other, reference=known, where="call[0].outputs")


def only(comparison: Comparison) -> Difference:
    """Return the only difference."""
    (difference,) = comparison.differences
    return difference


def f32(*numbers: float) -> torch.Tensor:
    """Numbers in float32."""
    return torch.tensor(numbers, dtype=torch.float32)


def f64(*numbers: float) -> torch.Tensor:
    """Numbers in float64."""
    return torch.tensor(numbers, dtype=torch.float64)


def numbers(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Numbers of any kind that a dtype has."""
    choice = torch.randint(0, len(SPECIAL), shape, generator=seeding.stream(seed))
    real = torch.tensor(SPECIAL)[choice]
    if dtype.is_complex:
        return torch.complex(real, real.roll(1)).to(dtype)
    return real.to(dtype) if dtype.is_floating_point else real.isfinite().to(dtype)


@settings(max_examples=100, deadline=None)
@given(shape=SHAPES, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000), is_judged=st.booleans())
def test_a_tensor_is_bitwise_equal_to_itself(
    shape: tuple[int, ...], dtype: torch.dtype, seed: int, is_judged: bool
) -> None:
    """Nothing differs from itself: not NaN, not the sign of zero, not an empty tensor."""
    tensor = numbers(shape, dtype, seed)
    found = compare(tensor, tensor.clone(), Ideal() if is_judged else None)
    assert found == Comparison(grade=Grade.BITWISE)


@settings(max_examples=100, deadline=None)
@given(shape=FILLED, dtype=st.sampled_from(DTYPES), data=st.data())
def test_one_wrong_element_is_found_where_it_is(
    shape: tuple[int, ...], dtype: torch.dtype, data: st.DataObject
) -> None:
    """One element beyond every tolerance is one difference with its index, and counted once."""
    expected = torch.ones(shape).to(dtype)
    place = data.draw(st.tuples(*(st.integers(0, size - 1) for size in shape)), label="place")
    actual = expected.clone()
    actual[place] = 0
    found = compare(actual, expected, Ideal(data=torch.ones(shape, dtype=_wide(dtype)), dtype=dtype))
    difference = only(found)
    assert (difference.first_index, difference.mismatched, difference.total) == (place, 1, expected.numel())
    assert (found.grade, difference.max_abs, difference.max_rel) == (Grade.DIFFERS, 1.0, 1.0)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype.is_complex else torch.float64


@pytest.mark.parametrize("reference", [None, Ideal()])
def test_the_payload_of_nan_means_nothing(reference: Ideal | None) -> None:
    """Two NaN are equal whatever bits they carry, their sign included."""
    payloads = torch.tensor([0x7FC00000, 0x7FC00001, -0x400000, 0x7F800001], dtype=torch.int32).view(torch.float32)
    assert payloads.isnan().all()
    found = compare(payloads, payloads.roll(1), reference)
    assert found == Comparison(grade=Grade.BITWISE)


@settings(max_examples=100, deadline=None)
@given(one=st.sampled_from(SPECIAL), other=st.sampled_from(SPECIAL), dtype=st.sampled_from(tuple(CLOSE)))
def test_special_numbers_differ_when_they_differ(one: float, other: float, dtype: torch.dtype) -> None:
    """NaN, infinities and finite numbers are never taken for one another; a sign of zero is close."""
    actual, expected = torch.tensor([one]).to(dtype), torch.tensor([other]).to(dtype)
    are_same = one == other or (math.isnan(one) and math.isnan(other))
    assert (compare(actual, expected, Ideal(dtype=dtype)).differences == ()) is are_same


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e-40])
def test_small_numbers_flushed_to_zero_differ(scale: float) -> None:
    """The absolute tolerance of assert_close is for small numbers among large ones, not for tensors of small ones."""
    expected = f32(scale, scale / 2)
    ideal = Ideal(data=expected.double(), dtype=torch.float32)
    assert only(compare(torch.zeros(2), expected, ideal)).mismatched == 2
    assert (
        compare(torch.stack([expected[0], expected[1] * (1 + 1e-6)]), expected, ideal).grade.rank < Grade.DIFFERS.rank
    )


def test_a_sign_of_zero_is_close_but_not_bitwise() -> None:
    """The grade distinguishes what the verdict does not."""
    assert compare(f32(0.0), f32(-0.0), Ideal()).grade is Grade.CLOSE
    assert only(compare(f32(0.0), f32(-0.0))).max_abs == 0.0


@pytest.mark.parametrize(
    ("actual", "expected", "first"),
    [
        (f32(1, NAN), f32(1, 2), (1,)),
        (f32(1, 2), f32(NAN, 2), (0,)),
        (f32(INF), f32(-INF), (0,)),
        (f32(INF), f32(NAN), (0,)),
        (f32(INF), f32(3e38), (0,)),
        (torch.tensor([complex(1, NAN)]), torch.tensor([complex(NAN, 1)]), (0,)),
        (torch.tensor(complex(INF, 1)), torch.tensor(complex(1, 1)), ()),
    ],
)
def test_nan_and_infinity_are_held_to_their_places(
    actual: torch.Tensor, expected: torch.Tensor, first: tuple[int, ...]
) -> None:
    """What is not finite on one side is a difference of its own kind, which no tolerance forgives."""
    difference = only(compare(actual, expected, Ideal(data=expected.to(_wide(expected.dtype)))))
    assert (difference.kind, difference.first_index) == ("nonfinite", first)


@pytest.mark.parametrize("part", [NAN, INF])
def test_half_a_complex_number_may_be_nan(part: float) -> None:
    """The finite part beside a NaN or an infinity is compared all the same."""
    one, other = torch.tensor([complex(part, 1)]), torch.tensor([complex(part, 5)])
    assert only(compare(one, other, Ideal())).max_abs == 4.0
    near = torch.tensor([complex(part, 1 + 1e-6)])
    assert compare(near, one, Ideal()).grade is Grade.CLOSE


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_integers_are_compared_exactly(dtype: torch.dtype) -> None:
    """No tolerance applies to integers and booleans, and no unit in the last place."""
    one, other = torch.tensor([0, 1]).to(dtype), torch.tensor([1, 1]).to(dtype)
    difference = only(compare(one, other, Ideal(data=other.double())))
    assert (difference.first_index, difference.ulp, difference.max_abs) == ((0,), None, 1.0)


def test_large_integers_are_compared_exactly() -> None:
    """Integers beyond the exact range of float64 that differ by one are different."""
    one, other = torch.tensor([2**60 + 1]), torch.tensor([2**60])
    difference = only(compare(one, other))
    assert (difference.actual, difference.expected) == (str(2**60 + 1), str(2**60))


@pytest.mark.parametrize(
    ("actual", "expected", "kind"),
    [
        (torch.zeros(2), torch.zeros(2, 1), "shape"),
        (torch.zeros(1), torch.zeros(()), "shape"),
        (torch.zeros(0), torch.zeros(0, 2), "shape"),
        (torch.zeros(2), torch.zeros(2).double(), "dtype"),
        (torch.zeros(2), torch.zeros(2).to_sparse(), "tensor_layout"),
        (torch.zeros(2, device="meta"), torch.zeros(2), "device"),
        (torch.zeros(2), None, "value"),
        (None, torch.zeros(2), "value"),
        (torch.zeros(()), 0.0, "value"),
        (1, True, "value"),
        (1, 1.0, "value"),
        (1, 2, "value"),
        ("a", "b", "value"),
        (NAN, 1.0, "value"),
    ],
)
def test_what_is_of_another_kind_differs(actual: object, expected: object, kind: str) -> None:
    """Shapes are not broadcast, dtypes not promoted, and a zero gradient is not None."""
    found = compare(actual, expected, Ideal())
    assert (only(found).kind, found.grade) == (kind, Grade.DIFFERS)


@pytest.mark.parametrize("value", [1, 2.5, NAN, "x", True, torch.float32, Grade.CLOSE])
def test_equal_values_are_equal(value: object) -> None:
    """What is no tensor is equal by its own equality; NaN is equal to NaN."""
    assert compare(value, value) == Comparison(grade=Grade.BITWISE)


@pytest.mark.parametrize("value", [None, object(), compare])
def test_what_cannot_be_distinguished_does_not_count_as_compared(value: object) -> None:
    """Two roles have objects of their own, which nothing can compare, and None has no numbers."""
    assert compare(value, value) == Comparison(grade=Grade.NOTHING)


@pytest.mark.parametrize(
    ("actual", "expected", "path"),
    [
        (torch.eye(2).to_sparse(), torch.eye(2).to_sparse() * 2, "output._values()"),
        (torch.eye(2).to_sparse(), torch.eye(2).roll(1, 0).to_sparse(), "output._indices()"),
        (two(torch.ones(2), torch.ones(2)), two(torch.ones(2), torch.zeros(2)), "output.b"),
        (torch.ones(2).as_subclass(Sub), torch.ones(2), "output"),
        (torch.ones(2).as_subclass(Sub), torch.zeros(2).as_subclass(Sub), "output"),
        (np.ones(2), np.zeros(2), "output"),
        (Kind.ONE, Kind.TWO, "output"),
        (torch.float32, torch.float64, "output"),
    ],
)
def test_tensors_of_every_kind_are_compared_with_all_that_they_hold(actual: Any, expected: Any, path: str) -> None:
    """Sparse ones by indices and values, subclasses by type and inner tensors, arrays of NumPy by their numbers."""
    assert compare(expected, expected).grade in {Grade.BITWISE, Grade.NOTHING}
    assert not compare(expected, expected).differences
    assert only(compare(actual, expected)).path == path


@pytest.mark.parametrize("change", ["loss", "items", "inner", "kind"])
def test_objects_that_hold_tensors_are_compared_by_what_they_hold(change: str) -> None:
    """Dataclasses by fields, other objects by attributes, and by their type."""

    def made(changed: str) -> Any:
        holder = Other if changed == "kind" else Holder
        return holder(
            loss=torch.full((2,), float(changed == "loss")),
            items=[1, {"x": torch.zeros(2 + (changed == "items"))}],
            inner=SimpleNamespace(a=torch.full((2,), float(changed == "inner"))),
        )

    def leaves(value: Any) -> snapshot.Leaves:
        return snapshot.take_all(snapshot.flatten({"key": value}, "output"))

    assert not compare_leaves(leaves(made("")), leaves(made(""))).differences
    (one,) = compare_leaves(leaves(made(change)), leaves(made(""))).differences
    places = {"loss": ".loss", "items": ".items[1]['x']", "inner": ".inner.a", "kind": ".structure"}
    assert one.path == f"output['key']{places[change]}"


def test_a_class_whose_values_cannot_be_compared_is_named() -> None:
    """An equality that raises is neither a difference nor a pass."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise LookupError

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="Odd cannot be compared: LookupError"):
        compare(Odd(), Odd())


def test_a_long_value_is_shown_in_part() -> None:
    """A difference is one line."""
    assert len(only(compare("x" * 500, "y" * 500)).actual) == 120


def test_a_leaf_on_one_side_alone_is_reported() -> None:
    """A result that is missing and one too many are both differences."""
    leaves = snapshot.take_all({"output": f32(1, 2)})
    words = "torch.float32 tensor of shape (2,)"
    missing, extra = only(compare_leaves({}, leaves)), only(compare_leaves(leaves, {}))
    assert (missing.kind, missing.actual, missing.expected) == ("presence", "absent", words)
    assert (extra.kind, extra.actual, extra.expected) == ("presence", words, "absent")


@pytest.mark.parametrize("side", ["actual", "expected", "both"])
def test_unreadable_numbers_never_pass(side: str) -> None:
    """Numbers that nobody could read are a difference, on whichever side they are."""
    good = snapshot.take(f32(1))
    bad = snapshot.Leaf(facts=good.facts)
    actual, expected = (good if side == "expected" else bad), (good if side == "actual" else bad)
    difference = only(compare_leaves({"output": actual}, {"output": expected}))
    assert (difference.kind, "unreadable" in (difference.actual, difference.expected)) == ("values", True)


@pytest.mark.parametrize(
    ("actual", "grade"),
    [(1.0, Grade.BITWISE), (1.0 + 2**-23, Grade.CLOSE), (1.0 + 2**-16, Grade.REFERENCE), (1.001, Grade.DIFFERS)],
)
def test_grades_are_given_in_their_order(actual: float, grade: Grade) -> None:
    """A result has the best grade that it earns."""
    assert compare(f32(actual), f32(1.0), Ideal(data=f64(1.0))).grade is grade


def test_the_worst_leaf_gives_the_grade() -> None:
    """A set of leaves is as near as its worst."""
    expected = snapshot.take_all({"x": f32(1), "y": f32(1)})
    actual = snapshot.take_all({"x": f32(1 + 2**-23), "y": f32(1)})
    assert compare_leaves(actual, expected, reference=Ideal()).grade is Grade.CLOSE


def test_without_a_reference_only_bits_count() -> None:
    """The uncompiled program is compared with itself to the last bit."""
    assert only(compare(f32(1.0 + 2**-23), f32(1.0))).ulp == 1.0


@pytest.mark.parametrize(
    ("eager_error", "our_error", "is_held"),
    [
        (1e-3, 0.9e-2, True),  # within ten times the uncompiled error
        (1e-3, 1.1e-2, False),
        (0.0, 1.9e-5, True),  # within the tolerance for float32
        (0.0, 2.1e-5, False),
        (4e-2, 0.39, True),
        (6e-2, 0.5, False),  # uncompiled is too far off: compared directly
    ],
)
def test_the_rule_allows_ten_times_the_uncompiled_error(eager_error: float, our_error: float, is_held: bool) -> None:
    """The bound is the larger of ten times the uncompiled error and the tolerance of the path's precision."""
    found = compare(f32(1 - our_error), f32(1 + eager_error), Ideal(data=f64(1.0)))
    assert (not found.differences) is is_held


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_tolerance_is_that_of_the_lowest_precision(dtype: torch.dtype) -> None:
    """A float32 result of a bfloat16 path is allowed what bfloat16 is."""
    allowed = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    ideal = Ideal(data=f64(1.0), dtype=dtype)
    assert compare(f64(1 + 0.9 * allowed), f64(1.0), ideal).differences == ()
    expected = Grade.CLOSE if dtype is torch.float64 else Grade.DIFFERS
    assert compare(f64(1 + 1.1 * allowed), f64(1.0), ideal).grade is expected


@pytest.mark.parametrize(
    ("actual", "grade"), [(0.5, Grade.BITWISE), (0.500005, Grade.REFERENCE), (0.5001, Grade.DIFFERS)]
)
@pytest.mark.parametrize("kind", [float, complex])
def test_a_number_that_is_read_from_a_tensor_is_as_exact_as_that(kind: type, actual: float, grade: Grade) -> None:
    """`loss.item()` is rounded as `loss` is, and what differs in it is the value of no tensor."""
    leaves = [{"output": snapshot.take(kind(number))} for number in (actual, 0.5)]
    found = compare_leaves(*leaves, reference=Ideal(data=f64(0.5)[0]), where="call[0].outputs")
    assert found.grade is grade
    assert {each.kind for each in found.differences} == ({"value"} if grade is Grade.DIFFERS else set())


@pytest.mark.parametrize(("actual", "expected"), [(3, 4), (True, False), ("a", "b"), (1.0, math.nan)])
def test_other_values_are_equal_or_differ(actual: object, expected: object) -> None:
    """Counts and labels have no tolerance, and NaN is near no number."""
    leaves = [{"output": snapshot.take(value)} for value in (actual, expected)]
    found = compare_leaves(*leaves, reference=Ideal(data=f64(3.0)[0]), where="call[0].outputs")
    assert [each.kind for each in found.differences] == ["value"]
    assert not compare_leaves(leaves[1], leaves[1], reference=Ideal()).differences


def test_a_case_may_replace_the_tolerance() -> None:
    """What a case allows counts instead."""
    ideal = Ideal(data=f64(1.0), overrides={"float32": 0.1})
    assert compare(f32(1.09), f32(1.0), ideal).grade is Grade.REFERENCE


def test_errors_are_relative_to_the_largest_number() -> None:
    """Cancellation in a small element is measured by the size of the result."""
    ideal = Ideal(data=f64(1000, 0))
    assert compare(f32(1000, 0.015), f32(1000, 0), ideal).grade is Grade.REFERENCE
    assert compare(f32(1000, 0.025), f32(1000, 0), ideal).grade is Grade.DIFFERS


def test_where_the_reference_is_zero_errors_are_absolute() -> None:
    """A result that should be zero is compared with the tolerance itself."""
    ideal = Ideal(data=f64(0.0))
    assert compare(f32(1.9e-5), f32(0.0), ideal).grade is Grade.REFERENCE
    assert compare(f32(2.1e-5), f32(0.0), ideal).grade is Grade.DIFFERS


@pytest.mark.parametrize(
    "data",
    [None, f64(1.0), f64(1.0, 2.0, 3.0), f64(NAN, NAN), f64(1.0, INF), torch.ones(2, dtype=torch.complex128)],
)
def test_a_reference_of_another_path_is_not_used(data: torch.Tensor | None) -> None:
    """Another shape, or no number where uncompiled has one: actual and expected are compared directly."""
    difference = only(compare(f32(1.0, 2.0), f32(1.5, 2.0), Ideal(data=data)))
    allowed = "relative error 2e-05 against the uncompiled result; saw 0.25"
    assert (difference.error_actual, difference.allowed) == (None, allowed)
    assert compare(f32(1.0, 2.00003), f32(1.0, 2.0), Ideal(data=data)).grade is Grade.REFERENCE


def test_overflow_of_both_sides_is_left_out_of_the_rule() -> None:
    """Where half precision overflows and float64 does not, the other elements are judged."""
    actual, expected = torch.tensor([INF, 1.0], dtype=torch.float16), torch.tensor([INF, 1.5], dtype=torch.float16)
    difference = only(compare(actual, expected, Ideal(data=f64(1e6, 1.5), dtype=torch.float16)))
    assert difference.first_index == (1,)
    assert compare(expected, expected, Ideal()).grade is Grade.BITWISE


def test_a_distance_beyond_float64_is_a_difference() -> None:
    """Two finite numbers whose distance overflows are far apart, not equal."""
    assert only(compare(f64(-1.7e308), f64(1.7e308), Ideal(dtype=torch.float64))).kind == "values"


def test_a_result_nearer_to_fp64_than_uncompiled_is_remarked() -> None:
    """A backend that computes more precisely than uncompiled passes, with a remark in the record."""
    found = compare(f32(1.0), f32(1.01), Ideal(data=f64(1.0), dtype=torch.bfloat16))
    assert found.grade is Grade.REFERENCE
    assert found.message == "output is more precise than uncompiled: off by 0 from fp64, uncompiled by 0.01"


def test_a_difference_has_the_allowed_bound() -> None:
    """The difference contains the numbers of the rule."""
    difference = only(compare(f32(1.5), f32(1.001), Ideal(data=f64(1.0))))
    assert difference.allowed == "relative error 0.01 against fp64; saw 0.5, uncompiled itself is off by 0.001"
    assert (round(difference.error_actual or 0, 4), round(difference.error_expected or 0, 4)) == (0.5, 0.001)


def test_a_difference_names_the_first_element_and_counts_them() -> None:
    """Row by row, as a reader looks."""
    expected = torch.zeros(2, 3)
    actual = torch.tensor([[0, 0, 0], [0, 2.0, -4.0]])
    difference = only(compare(actual, expected, Ideal()))
    assert (difference.first_index, difference.actual, difference.expected) == ((1, 1), "2.0", "0.0")
    assert (difference.mismatched, difference.total, difference.max_abs) == (2, 6, 4.0)
    assert difference.max_rel is None


def test_a_difference_of_a_number_without_dimensions_has_an_empty_index() -> None:
    """A tensor of no dimensions has one element, at ()."""
    difference = only(compare(torch.tensor(1.0), torch.tensor(2.0), Ideal()))
    assert (difference.first_index, difference.mismatched, difference.total) == ((), 1, 1)


@settings(max_examples=200, deadline=None)
@given(
    number=st.floats(allow_nan=False, allow_infinity=False, width=64),
    dtype=st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_neighbouring_numbers_are_one_unit_apart(number: float, dtype: Any) -> None:
    """The unit in the last place is the distance of neighbours: also of subnormal and of the largest numbers."""
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        larger = dtype(min(abs(number), float(limits.max)))
        smaller = np.nextafter(larger, dtype(-1))
    difference = only(compare(torch.tensor(larger), torch.tensor(smaller)))
    # Below a power of two numbers are twice as near; the unit is that of the larger one.
    is_power = math.frexp(float(larger))[0] == 0.5 and larger > limits.tiny
    assert difference.ulp == (0.5 if is_power else 1.0)


def test_units_of_bfloat16() -> None:
    """At one, bfloat16 counts in steps of 1/128."""
    one, other = torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(1.03125, dtype=torch.bfloat16)
    assert only(compare(one, other)).ulp == 4.0


def test_an_infinity_has_no_units() -> None:
    """Numbers are left out where they have no meaning."""
    difference = only(compare(f32(INF), f32(1.0), Ideal()))
    assert (difference.max_abs, difference.max_rel, difference.ulp) == (None, None, None)


def test_facts_are_compared_where_both_sides_have_the_leaf() -> None:
    """Each fact that differs is a difference; a missing leaf is the business of the values."""
    actual = snapshot.take_all({"x": f32(1), "y": f32(1), "n": 1})
    expected = snapshot.take_all({"x": f32(1).requires_grad_(), "z": f32(1), "n": 1})
    found = compare_facts(actual, expected, ("requires_grad", "is_leaf", "stride"))
    assert found == (Difference(path="x", kind="requires_grad", actual="False", expected="True"),)


def test_a_fact_of_one_side_alone_is_absent_on_the_other() -> None:
    """A number in the place of a tensor has no facts of a tensor."""
    (found,) = compare_facts(snapshot.take_all({"x": 1}), snapshot.take_all({"x": f32(1)}), ("is_leaf",))
    assert (found.actual, found.expected) == ("absent", "True")


def test_comparisons_add_up() -> None:
    """Differences are joined, the worst grade stays, and the first remark."""
    one = Comparison(grade=Grade.CLOSE, message="first")
    other = Comparison(differences=(a_difference(),), grade=Grade.DIFFERS, message="second")
    assert one + other == Comparison(differences=(a_difference(),), grade=Grade.DIFFERS, message="first")

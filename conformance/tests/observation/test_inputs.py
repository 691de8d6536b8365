from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.model.case import Call, InputSpec, Variant
from conformance.observation import inputs, seeding
from conformance.tests.fakes import a_case

pytestmark = pytest.mark.torch

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def a_tensor(
    spec: InputSpec, *, variant: Variant | None = None, call: Call | None = None, index: int = 0
) -> torch.Tensor:
    """The one input of a case."""
    case = a_case(inputs={"a": spec})
    value = inputs.make(case, variant or Variant(), call or Call(), 0, index)["a"]
    assert isinstance(value, torch.Tensor)
    return value


def test_the_same_call_gets_the_same_numbers() -> None:
    """Every role of a request sees equal inputs."""
    spec = InputSpec(shape=(3,))
    assert torch.equal(a_tensor(spec), a_tensor(spec))


def test_every_call_gets_other_numbers() -> None:
    """A stale result shows because no two calls have equal inputs."""
    spec = InputSpec(shape=(3,))
    assert not torch.equal(a_tensor(spec, index=0), a_tensor(spec, index=1))


def test_inputs_of_equal_shape_differ() -> None:
    """Mixed-up arguments show because no two inputs are equal."""
    case = a_case(inputs={"a": InputSpec(shape=(3,)), "b": InputSpec(shape=(3,))})
    made = inputs.make(case, Variant(), Call(), 0, 0)
    assert not torch.equal(made["a"], made["b"])  # type: ignore[arg-type]


def test_making_inputs_consumes_no_global_randomness() -> None:
    """What a program draws does not depend on how many inputs it has."""
    before = torch.get_rng_state()
    a_tensor(InputSpec(shape=(3,)))
    assert torch.equal(before, torch.get_rng_state())


def test_an_input_is_a_leaf_that_requires_grad_as_declared() -> None:
    """Gradients gather in the inputs themselves."""
    tensor = a_tensor(InputSpec(shape=(2,), requires_grad=True))
    assert tensor.is_leaf
    assert tensor.requires_grad


@pytest.mark.parametrize(
    ("spec", "call", "expected"),
    [
        (None, None, torch.bfloat16),
        (None, "float64", torch.float64),
        ("float16", "float64", torch.float16),
    ],
)
def test_the_dtype_is_the_inputs_then_the_calls_then_the_variants(
    spec: str | None, call: str | None, expected: torch.dtype
) -> None:
    """What is nearest to the input decides its dtype."""
    made = a_tensor(InputSpec(shape=(2,), dtype=spec), call=Call(dtype=call), variant=Variant(dtype="bfloat16"))
    assert made.dtype is expected


def test_a_call_changes_shape_grad_and_scalars() -> None:
    """A sequence of calls varies inputs by name."""
    case = a_case(inputs={"a": InputSpec(shape=(2,), requires_grad=True), "n": InputSpec(scalar=3)})
    call = Call(shapes={"a": (5,)}, requires_grad={"a": False}, scalars={"n": 4})
    made = inputs.make(case, Variant(), call, 0, 0)
    tensor = made["a"]
    assert isinstance(tensor, torch.Tensor)
    assert (tuple(tensor.shape), tensor.requires_grad, made["n"]) == ((5,), False, 4)


def test_a_size_may_be_a_param_of_the_variant() -> None:
    """A workload is written once for all its sizes."""
    spec = InputSpec(shape=("rows", 2))
    assert a_tensor(spec, variant=Variant(params={"rows": 3})).shape == (3, 2)
    assert a_tensor(spec, variant=Variant(params={"rows": 5})).shape == (5, 2)


def test_a_scalar_stays_what_it_is_without_a_change() -> None:
    """A Python value is passed unchanged."""
    assert inputs.make(a_case(inputs={"n": InputSpec(scalar=3)}), Variant(), Call(), 0, 0) == {"n": 3}


def test_a_stride_is_honoured() -> None:
    """A strided input has the memory layout that it describes."""
    assert a_tensor(InputSpec(shape=(3, 4), stride=(1, 3))).stride() == (1, 3)


def test_a_stride_belongs_to_its_shape() -> None:
    """With another shape an input is contiguous."""
    made = a_tensor(InputSpec(shape=(3, 4), stride=(1, 3)), call=Call(shapes={"a": (2, 2)}))
    assert made.stride() == (2, 1)


def test_a_strided_input_has_the_numbers_of_a_contiguous_one() -> None:
    """The layout changes nothing but the layout."""
    strided = a_tensor(InputSpec(shape=(3, 4), stride=(1, 3)))
    assert torch.equal(strided, a_tensor(InputSpec(shape=(3, 4))))


def test_literal_values_fill_the_shape_row_by_row() -> None:
    """The numbers of a case can be given, NaN among them."""
    made = a_tensor(InputSpec(shape=(2, 2), values=(1, 2.5, float("nan"), -0.0)))
    assert str(made.tolist()) == "[[1.0, 2.5], [nan, -0.0]]"


def test_values_that_do_not_fit_are_refused() -> None:
    """A case with a wrong number of values cannot be run."""
    with pytest.raises(RuntimeError, match="shape"):
        a_tensor(InputSpec(shape=(2, 2), values=(1, 2, 3)))


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (InputSpec(shape=(200,), distribution="integers"), 0, 9),
        (InputSpec(shape=(200,), distribution="integers", low=-2, high=3), -2, 2),
        (InputSpec(shape=(200,), dtype="int64"), 0, 9),
        (InputSpec(shape=(200,), dtype="uint8", low=3, high=5), 3, 4),
        (InputSpec(shape=(200,), dtype="bool"), 0, 1),
    ],
)
def test_integers_fill_their_range(spec: InputSpec, low: int, high: int) -> None:
    """Integer inputs reach both ends of their range, the upper bound left out."""
    made = a_tensor(spec).double()
    assert (int(made.min()), int(made.max())) == (low, high)
    assert torch.equal(made, made.round())


@pytest.mark.parametrize(("low", "high"), [(None, None), (-3.0, -1.0), (0.0, 0.5)])
def test_uniform_numbers_stay_in_their_range(low: float | None, high: float | None) -> None:
    """Uniform inputs are between their bounds and come near both."""
    made = a_tensor(
        InputSpec(shape=(500,), distribution="uniform", low=low, high=high), variant=Variant(dtype="float64")
    )
    start, end = low or 0.0, 1.0 if high is None else high
    assert start <= made.min() < start + 0.1 * (end - start)
    assert end - 0.1 * (end - start) < made.max() < end


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_a_complex_dtype_of_the_variant_has_imaginary_parts(dtype: str) -> None:
    """A complex input is complex wherever its dtype comes from."""
    assert (a_tensor(InputSpec(shape=(3,)), variant=Variant(dtype=dtype)).imag != 0).all()


def test_an_integer_dtype_of_the_variant_draws_integers() -> None:
    """Integers are not normal numbers cut to zero."""
    assert a_tensor(InputSpec(shape=(200,)), variant=Variant(dtype="int64")).max() == 9


@settings(max_examples=50, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1000), dtype=st.sampled_from(DTYPES))
def test_a_cotangent_is_exact_in_every_dtype(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> None:
    """The uncompiled program and fp64 go backward from the same numbers."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    made = inputs.cotangent(torch.zeros(shape, dtype=dtype), seeding.stream(seed))
    assert made.dtype is dtype
    assert torch.equal(made.to(wide), inputs.cotangent(torch.zeros(shape, dtype=wide), seeding.stream(seed)))


@settings(max_examples=50, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1000), is_complex=st.booleans())
def test_a_cotangent_is_nowhere_zero_and_bounded(shape: tuple[int, ...], seed: int, is_complex: bool) -> None:
    """A cotangent hides no element, its real and its imaginary part included."""
    made = inputs.cotangent(
        torch.zeros(shape, dtype=torch.complex64 if is_complex else torch.float32), seeding.stream(seed)
    )
    parts = torch.view_as_real(made) if is_complex else made
    assert ((parts != 0) & (parts.abs() <= 2)).all()


@settings(max_examples=50, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 1000), dtype=st.sampled_from(DTYPES))
def test_perturbing_changes_every_weight_alike_in_every_dtype(
    shape: tuple[int, ...], seed: int, dtype: torch.dtype
) -> None:
    """A float64 copy of weights stays the same numbers, and no weight stays what it was."""
    weight = torch.randn(shape, generator=seeding.stream(seed, "w"), dtype=torch.float64).to(dtype)
    before, wide = weight.clone(), weight.to(torch.complex128 if dtype.is_complex else torch.float64)
    for one in (weight, wide):
        inputs.perturb([one], seeding.stream(seed))
    assert torch.equal(weight.to(wide.dtype), wide)
    assert (weight != before).all()


def test_perturbing_moves_zero() -> None:
    """A bias that starts at zero does not stay there."""
    bias = torch.nn.Parameter(torch.zeros(3))
    inputs.perturb([bias], seeding.stream(0))
    assert (bias != 0).all()
    assert bias.is_leaf


def test_inputs_share_memory_as_declared() -> None:
    """An alias is the tensor itself, a view begins and strides where it says, in any role's own numbers."""
    row = InputSpec(shape=(4,), requires_grad=True)
    spread = InputSpec(view_of="a", shape=(3, 2), stride=(0, 2), offset=1)
    case = a_case(inputs={"v": spread, "a": row, "b": InputSpec(alias_of="a")})
    made = inputs.related(case, inputs.make(case, Variant(), Call(), 0, 0))
    a, v = made["a"], made["v"]
    assert list(made) == ["v", "a", "b"]
    assert isinstance(a, torch.Tensor)
    assert isinstance(v, torch.Tensor)
    assert made["b"] is a
    assert v.tolist() == [a[1::2].tolist()] * 3
    assert v.grad_fn is not None


def test_inputs_are_made_of_leaves_or_in_inference_mode_as_declared() -> None:
    """Autograd can tell them from leaves."""
    computed, served = InputSpec(shape=(4,), requires_grad=True, leaf=False), InputSpec(shape=(4,), inference=True)
    case = a_case(inputs={"a": computed, "b": served})
    made = inputs.related(case, inputs.make(case, Variant(), Call(), 0, 0))
    a, b = made["a"], made["b"]
    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    assert (a.is_leaf, a.requires_grad, b.is_inference()) == (False, True, True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_special_numbers_are_not_finite(dtype: str) -> None:
    """A third of them, and another third in each call."""
    spec = InputSpec(shape=(3, 5), distribution="special", low=1, high=2)
    first, second = (a_tensor(spec, variant=Variant(dtype=dtype), index=index) for index in range(2))
    real = first.real if first.is_complex() else first
    assert [int(each.sum()) for each in (real.isnan(), real.isinf(), real == 0)] == [1, 2, 2]
    assert not torch.equal(first.isnan(), second.isnan()) or not torch.equal(first.isinf(), second.isinf())


def test_a_tensor_of_whole_numbers_has_none_that_are_special() -> None:
    """And one without elements has none at all."""
    spec = InputSpec(shape=(4,), distribution="special", low=1, high=3)
    assert set(a_tensor(spec, variant=Variant(dtype="int64")).tolist()) <= {1, 2}
    assert a_tensor(InputSpec(shape=(0,), distribution="special")).numel() == 0


def test_a_uniform_complex_number_has_two_parts() -> None:
    """Both within the bounds, and not the same."""
    made = a_tensor(InputSpec(shape=(9,), distribution="uniform", low=2, high=3), variant=Variant(dtype="complex64"))
    assert ((made.real >= 2) & (made.real <= 3) & (made.imag >= 2) & (made.imag <= 3)).all()
    assert not torch.equal(made.real, made.imag)


def test_truth_values_have_no_bounds() -> None:
    """Those of the other dtypes of a case would make all of them true."""
    spec = InputSpec(shape=(64,), distribution="uniform", low=3, high=9)
    assert set(a_tensor(spec, variant=Variant(dtype="bool")).tolist()) == {True, False}


def test_whole_numbers_require_no_gradient() -> None:
    """Though the input does in the floating dtypes of its case."""
    spec = InputSpec(shape=(2,), requires_grad=True)
    assert not a_tensor(spec, variant=Variant(dtype="int64")).requires_grad

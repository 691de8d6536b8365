"""Compare tensors, and all else that snapshots contain: the differences, with numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from conformance.model.enums import Grade
from conformance.model.result import Difference
from conformance.observation.distances import gaps, largest, sizes, spacings
from conformance.observation.fp64_rule import rule
from conformance.observation.parts import is_plain
from conformance.observation.random_draws import unlike
from conformance.observation.tolerance import CLOSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.observation.fp64_rule import Fp64Reference
    from conformance.observation.snapshot import Leaf, Leaves

__all__ = ["Comparison", "NoReference", "compare_facts", "compare_leaves", "zero_signs"]

_BITS = "the bits of uncompiled, as claimed where all operations are pointwise"
_VALUE_LENGTH = 120  # characters of a value shown in a difference


class NoReference:
    """Used where there is no fp64 reference: what is not close differs."""

    def demands_bits(self, _where: str) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two sets of leaves, the worst grade of what was compared, and a remark.

    None on both sides, such as the gradient of an unused input, does not count as compared.
    """

    differences: tuple[Difference, ...] = ()
    grade: Grade = Grade.NOTHING
    message: str = ""

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            differences=self.differences + other.differences,
            grade=max(self.grade, other.grade, key=lambda grade: grade.rank),
            message=self.message or other.message,
        )

    def within(self, call: str) -> Comparison:
        """Return the same comparison with the call prefixed to every path."""
        return replace(self, differences=tuple(replace(each, path=f"{call}.{each.path}") for each in self.differences))


def compare_facts(actual: Leaves, expected: Leaves, names: Sequence[str]) -> tuple[Difference, ...]:
    """Return the facts that differ, for the leaves both sides have."""
    return tuple(_fact_differences(actual, expected, names))


def _fact_differences(actual: Leaves, expected: Leaves, names: Sequence[str]) -> Iterator[Difference]:
    for path in (path for path in expected if path in actual):
        for name in names:
            actual_fact, expected_fact = (leaves[path].facts.get(name, "absent") for leaves in (actual, expected))
            if actual_fact != expected_fact:
                yield Difference(path=path, kind=name, actual=actual_fact, expected=expected_fact)


def compare_leaves(
    actual: Leaves, expected: Leaves, *, reference: Fp64Reference | NoReference | None = None, where: str = ""
) -> Comparison:
    """Compare leaf by leaf: presence, then shape, dtype and numbers.

    Args:
        actual: leaves of the compiled program, by path.
        expected: leaves of the uncompiled program, by path.
        reference: the fp64 reference, run only for leaves that are not close; None compares bits alone.
        where: name of this set of leaves in the reference, e.g. `call[0].outputs`.
    """
    total = Comparison(differences=tuple(_missing(actual, expected)))
    for path in (path for path in expected if path in actual):
        found = _compare_leaf(path, actual[path], expected[path], reference, where)
        if found.differences and reference is not None and not isinstance(reference, NoReference):
            found = _allowing_other_draws(found, path, actual[path], reference.other_draws(where, path))
        total += found
    return total if not total.differences else replace(total, grade=Grade.DIFFERS)


def _allowing_other_draws(found: Comparison, path: str, actual: Leaf, drawn: Sequence[Leaf]) -> Comparison:
    """Where other random numbers may be drawn, compare statistics with those of uncompiled runs instead."""
    if not drawn:
        return found
    differences = tuple(unlike(path, actual, drawn))
    message = (
        f"{path} depends on random numbers, which are not claimed to be the same (rng): its statistics are compared"
    )
    return Comparison(differences=differences, grade=Grade.REFERENCE, message="" if differences else message)


def zero_signs(actual: Leaves, expected: Leaves) -> Iterator[Difference]:
    """Return leaves in which a zero has the opposite sign, as `1 / x`, `atan2` and `copysign` show."""
    for path in (path for path in expected if path in actual):
        left, right = actual[path].data, expected[path].data
        if left is None or right is None or left.shape != right.shape or left.dtype != right.dtype:
            continue
        if left.dtype in CLOSE and (flipped := _flipped(left, right)).any():
            yield _Pair(path=path, actual=left, expected=right).difference("sign of zero", flipped)


def _flipped(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Elementwise: zero on both sides, with different signs."""
    if left.is_complex():
        return _flipped(torch.view_as_real(left), torch.view_as_real(right)).any(-1)
    return (left == 0) & (right == 0) & (left.signbit() != right.signbit())


def _missing(actual: Leaves, expected: Leaves) -> Iterator[Difference]:
    """Leaves that only one side has; parts of a tensor that the other side has in another form do not count."""
    inside = {path + step for leaves in (actual, expected) for path, leaf in leaves.items() for step in leaf.parts}
    for path in [path for path in expected if path not in actual and path not in inside]:
        yield Difference(path=path, kind="presence", actual="absent", expected=_describe(expected[path]))
    for path in [path for path in actual if path not in expected and path not in inside]:
        yield Difference(path=path, kind="presence", actual=_describe(actual[path]), expected="absent")


def _describe(leaf: Leaf) -> str:
    if "dtype" not in leaf.facts:
        return repr(leaf.value)[:_VALUE_LENGTH]
    return f"{leaf.facts['dtype']} tensor of shape {leaf.facts['shape']}"


def _compare_leaf(
    path: str, actual: Leaf, expected: Leaf, reference: Fp64Reference | NoReference | None, where: str
) -> Comparison:
    for fact in ("type", "shape", "dtype", "device", "tensor_layout"):
        if actual.facts.get(fact) != expected.facts.get(fact):
            kind = "value" if fact == "type" else fact
            difference = Difference(path=path, kind=kind, actual=_describe(actual), expected=_describe(expected))
            return Comparison(differences=(difference,))
    if "dtype" not in expected.facts:
        return _compare_values(path, actual, expected, reference, where)
    if actual.parts and actual.parts == expected.parts:
        return Comparison()  # its parts are leaves of their own
    if actual.data is None or expected.data is None:
        # Unreadable numbers pass nowhere: in the repetition of the uncompiled program they make the case invalid.
        left, right = ("unreadable" if leaf.data is None else _describe(leaf) for leaf in (actual, expected))
        return Comparison(differences=(Difference(path=path, kind="values", actual=left, expected=right),))
    return _compare_tensors(_Pair(path=path, actual=actual.data, expected=expected.data), reference, where)


def _compare_values(
    path: str, actual: Leaf, expected: Leaf, reference: Fp64Reference | NoReference | None, where: str
) -> Comparison:
    kind = type(expected.value)
    # Each role has its own objects: without an equality only their types can be compared, as was done above.
    if expected.value is None or (kind.__eq__ is object.__eq__ and not is_plain(expected.value)):
        return Comparison()
    if _equal(actual.value, expected.value):
        return Comparison(grade=Grade.BITWISE)
    left, right = actual.numbers, expected.numbers
    if left is not None and right is not None:  # read from a tensor, it is as exact as that is
        found = _compare_tensors(_Pair(path=path, actual=left, expected=right), reference, where)
        return replace(found, differences=tuple(replace(each, kind="value") for each in found.differences))
    difference = Difference(path=path, kind="value", actual=_describe(actual), expected=_describe(expected))
    return Comparison(differences=(difference,))


def _equal(left: object, right: object) -> bool:
    """Equality of two values of one type.

    Raises:
        TypeError: values of that class cannot be compared.
    """
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    try:
        return bool(left == right)
    except Exception as error:
        kind = f"{type(left).__module__}.{type(left).__qualname__}"
        message = f"values of the class {kind} cannot be compared: {type(error).__name__}: {error}"
        raise TypeError(message) from error


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two tensors of one shape and dtype, and the numbers that describe their difference."""

    path: str
    actual: torch.Tensor
    expected: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.expected.dtype

    def difference(self, kind: str, wrong: torch.Tensor, **extra: float | str | None) -> Difference:
        """Return a difference with its numbers; `wrong` marks the elements that differ."""
        first = tuple(int(i) for i in wrong.nonzero()[0]) if wrong.any() else None
        left, right = (self.actual[first], self.expected[first]) if first is not None else (self.actual, self.expected)
        gap, scale = gaps(self.actual, self.expected), sizes(self.expected)
        finite = gap.isfinite() & (scale > 0)
        return Difference(
            path=self.path,
            kind=kind,
            actual=str(left.tolist())[:_VALUE_LENGTH],
            expected=str(right.tolist())[:_VALUE_LENGTH],
            max_abs=largest(gap[gap.isfinite()]),
            max_rel=largest((gap / scale)[finite]),
            ulp=largest((gap / spacings(self.actual, self.expected))[gap.isfinite()]) if self.dtype in CLOSE else None,
            mismatched=int(wrong.sum()),
            total=wrong.numel(),
            first_index=first,
            **extra,  # type: ignore[arg-type]  # the callers name fields of Difference
        )


def _compare_tensors(pair: _Pair, reference: Fp64Reference | NoReference | None, where: str) -> Comparison:
    same = _bitwise(pair.actual, pair.expected)
    if same.all():
        return Comparison(grade=Grade.BITWISE)
    if reference is None or pair.dtype not in CLOSE:
        return _differing(pair, ~same)
    nonfinite = _nonfinite_mismatch(pair.actual, pair.expected)
    if nonfinite.any():
        return Comparison(differences=(pair.difference("nonfinite", nonfinite),))
    if reference.demands_bits(where):
        return _differing(pair, ~same, allowed=_BITS)
    near = _near(pair)
    if near.all():
        return Comparison(grade=Grade.CLOSE)
    return _by_reference(pair, ~near, reference, where)


def _differing(pair: _Pair, wrong: torch.Tensor, **extra: str) -> Comparison:
    return Comparison(differences=(pair.difference("values", wrong, **extra),))


def _near(pair: _Pair) -> torch.Tensor:
    """Elementwise `assert_close`, with a smaller absolute tolerance for a tensor of only small numbers."""
    rtol, atol = CLOSE[pair.dtype]
    size = sizes(pair.expected)
    return gaps(pair.actual, pair.expected) <= atol * min(1.0, largest(size) or 0.0) + rtol * size


def _bitwise(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Elementwise: equal bits, or NaN on both sides."""
    if left.is_complex():
        return _bitwise(torch.view_as_real(left), torch.view_as_real(right)).all(-1)
    same = left == right
    if not left.is_floating_point():
        return same
    return (same & (left.signbit() == right.signbit())) | (left.isnan() & right.isnan())


def _nonfinite_mismatch(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Elementwise: NaN or infinite on one side, or infinities of different sign."""
    return ~gaps(left, right).isfinite() & ~(left.isfinite() & right.isfinite())


def _by_reference(pair: _Pair, wrong: torch.Tensor, reference: Fp64Reference | NoReference, where: str) -> Comparison:
    """Apply the fp64 rule."""
    if isinstance(reference, NoReference):
        return _differing(pair, wrong)
    ruling = rule(pair.actual, pair.expected, reference, where, pair.path)
    if ruling.is_held:
        return Comparison(grade=Grade.REFERENCE, message=ruling.remark)
    errors = {"error_actual": ruling.error_actual, "error_expected": ruling.error_expected}
    return Comparison(differences=(pair.difference("values", wrong, allowed=ruling.allowed, **errors),))

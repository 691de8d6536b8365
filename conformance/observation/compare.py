"""Trees of snapshots -> differences, with numbers; never a bool."""

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

_WORDS = 120  # characters of a value shown in a difference


class NoReference:
    """Stands where nothing exact can be asked: what is not close differs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two sets of leaves, the worst grade of what was compared, and a remark.

    That None is None on both sides, as the gradients of what takes no part are, is no comparison.
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
        """The same with paths that name the call they belong to."""
        return replace(self, differences=tuple(replace(one, path=f"{call}.{one.path}") for one in self.differences))


def compare_facts(actual: Leaves, expected: Leaves, names: Sequence[str]) -> tuple[Difference, ...]:
    """Facts that differ, for the leaves both sides have."""
    return tuple(_fact_differences(actual, expected, names))


def _fact_differences(actual: Leaves, expected: Leaves, names: Sequence[str]) -> Iterator[Difference]:
    for path in (path for path in expected if path in actual):
        for name in names:
            seen, wanted = actual[path].facts.get(name, "absent"), expected[path].facts.get(name, "absent")
            if seen != wanted:
                yield Difference(path=path, kind=name, actual=seen, expected=wanted)


def compare_leaves(
    actual: Leaves, expected: Leaves, *, reference: Fp64Reference | NoReference | None = None, where: str = ""
) -> Comparison:
    """Compare leaf by leaf: which there are, then shape, dtype and numbers.

    Args:
        actual: what the backend gave, by path.
        expected: what the uncompiled program gave, by path.
        reference: the fp64 reference, asked only for leaves that are not close; None compares bits alone.
        where: the set of leaves these are, as the reference knows it, e.g. `call[0].outputs`.
    """
    total = Comparison(differences=tuple(_missing(actual, expected)))
    for path in (path for path in expected if path in actual):
        found = _compare_leaf(path, actual[path], expected[path], reference, where)
        if found.differences and reference is not None and not isinstance(reference, NoReference):
            found = _forgiving_draws(found, path, actual[path], reference.other_draws(where, path))
        total += found
    return total if not total.differences else replace(total, grade=Grade.DIFFERS)


def _forgiving_draws(found: Comparison, path: str, actual: Leaf, drawn: Sequence[Leaf]) -> Comparison:
    """Where other random numbers may be drawn, hold their statistics against those of uncompiled runs."""
    if not drawn:
        return found
    differences = tuple(unlike(path, actual, drawn))
    message = (
        f"{path} depends on random numbers, which are not claimed to be the same (rng): its statistics are compared"
    )
    return Comparison(differences=differences, grade=Grade.REFERENCE, message="" if differences else message)


def zero_signs(actual: Leaves, expected: Leaves) -> Iterator[Difference]:
    """Leaves in which a zero has the other sign; `1 / x`, `atan2` and `copysign` tell."""
    for path in (path for path in expected if path in actual):
        one, other = actual[path].data, expected[path].data
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            continue
        if one.dtype in CLOSE and (flipped := _flipped(one, other)).any():
            yield _Pair(path=path, actual=one, expected=other).difference("sign of zero", flipped)


def _flipped(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Elementwise: zero on both sides, with different signs."""
    if one.is_complex():
        return _flipped(torch.view_as_real(one), torch.view_as_real(other)).any(-1)
    return (one == 0) & (other == 0) & (one.signbit() != other.signbit())


def _missing(actual: Leaves, expected: Leaves) -> Iterator[Difference]:
    """Leaves that one side has alone; parts of a tensor that the other side has in another form are not counted."""
    inside = {path + step for leaves in (actual, expected) for path, leaf in leaves.items() for step in leaf.parts}
    for path in [path for path in expected if path not in actual and path not in inside]:
        yield Difference(path=path, kind="presence", actual="absent", expected=_describe(expected[path]))
    for path in [path for path in actual if path not in expected and path not in inside]:
        yield Difference(path=path, kind="presence", actual=_describe(actual[path]), expected="absent")


def _describe(leaf: Leaf) -> str:
    if "dtype" not in leaf.facts:
        return repr(leaf.value)[:_WORDS]
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
        return _compare_values(path, actual, expected)
    if actual.parts and actual.parts == expected.parts:
        return Comparison()  # its parts are leaves of their own
    if actual.data is None or expected.data is None:
        # Not even uncompiled may it pass with numbers that nobody can read: its repetition differs: an invalid case.
        seen, wanted = ("unreadable" if leaf.data is None else _describe(leaf) for leaf in (actual, expected))
        return Comparison(differences=(Difference(path=path, kind="values", actual=seen, expected=wanted),))
    return _compare_tensors(_Pair(path=path, actual=actual.data, expected=expected.data), reference, where)


def _compare_values(path: str, actual: Leaf, expected: Leaf) -> Comparison:
    kind = type(expected.value)
    # Each role has objects of its own: those without an equality are of one type, which was seen above, and no more.
    if expected.value is None or (kind.__eq__ is object.__eq__ and not is_plain(expected.value)):
        return Comparison()
    if _equal(actual.value, expected.value):
        return Comparison(grade=Grade.BITWISE)
    difference = Difference(path=path, kind="value", actual=_describe(actual), expected=_describe(expected))
    return Comparison(differences=(difference,))


def _equal(one: object, other: object) -> bool:
    """Equality of two values of one type.

    Raises:
        TypeError: values of that class cannot be compared.
    """
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    try:
        return bool(one == other)
    except Exception as error:
        kind = f"{type(one).__module__}.{type(one).__qualname__}"
        message = f"values of the class {kind} cannot be compared: {type(error).__name__}: {error}"
        raise TypeError(message) from error


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two tensors of one shape and dtype, and the numbers a difference between them is told with."""

    path: str
    actual: torch.Tensor
    expected: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.expected.dtype

    def difference(self, kind: str, wrong: torch.Tensor, **extra: float | str | None) -> Difference:
        """A difference with its numbers; `wrong` marks the elements that differ."""
        first = tuple(int(i) for i in wrong.nonzero()[0]) if wrong.any() else None
        seen, wanted = (self.actual[first], self.expected[first]) if first is not None else (self.actual, self.expected)
        gap, scale = gaps(self.actual, self.expected), sizes(self.expected)
        finite = gap.isfinite() & (scale > 0)
        return Difference(
            path=self.path,
            kind=kind,
            actual=str(seen.tolist())[:_WORDS],
            expected=str(wanted.tolist())[:_WORDS],
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
        return Comparison(differences=(pair.difference("values", ~same),))
    astray = _nonfinite_mismatch(pair.actual, pair.expected)
    if astray.any():
        return Comparison(differences=(pair.difference("nonfinite", astray),))
    near = _near(pair)
    if near.all():
        return Comparison(grade=Grade.CLOSE)
    if isinstance(reference, NoReference):
        return Comparison(differences=(pair.difference("values", ~near),))
    return _by_reference(pair, ~near, reference, where)


def _near(pair: _Pair) -> torch.Tensor:
    """Elementwise `assert_close`, whose absolute tolerance shrinks with a tensor of nothing but small numbers."""
    rtol, atol = CLOSE[pair.dtype]
    size = sizes(pair.expected)
    return gaps(pair.actual, pair.expected) <= atol * min(1.0, largest(size) or 0.0) + rtol * size


def _bitwise(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Elementwise: equal bits, or NaN on both sides."""
    if one.is_complex():
        return _bitwise(torch.view_as_real(one), torch.view_as_real(other)).all(-1)
    same = one == other
    if not one.is_floating_point():
        return same
    return (same & (one.signbit() == other.signbit())) | (one.isnan() & other.isnan())


def _nonfinite_mismatch(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Elementwise: NaN or infinite on one side, or infinities of different sign."""
    return ~gaps(one, other).isfinite() & ~(one.isfinite() & other.isfinite())


def _by_reference(pair: _Pair, wrong: torch.Tensor, reference: Fp64Reference, where: str) -> Comparison:
    """Apply the fp64 rule."""
    ruling = rule(pair.actual, pair.expected, reference, where, pair.path)
    if ruling.is_held:
        return Comparison(grade=Grade.REFERENCE, message=ruling.remark)
    errors = {"error_actual": ruling.error_actual, "error_expected": ruling.error_expected}
    return Comparison(differences=(pair.difference("values", wrong, allowed=ruling.allowed, **errors),))

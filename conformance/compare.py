"""Trees of snapshots -> differences, with numbers; never a bool."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from conformance.model import Difference, Grade
from conformance.tolerance import CLOSE, DIRECT_ABOVE, FACTOR, reference_tolerance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.reference import Reference
    from conformance.snapshot import Leaf, Leaves

__all__ = ["Comparison", "NoReference", "compare_facts", "compare_leaves"]

_WORDS = 120  # characters of a value shown in a difference


class NoReference:
    """Stands where nothing exact can be asked: what is not close differs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two sets of leaves, the worst grade of what was compared, and a remark."""

    differences: tuple[Difference, ...] = ()
    grade: Grade = Grade.BITWISE
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
    actual: Leaves, expected: Leaves, *, reference: Reference | NoReference | None = None, where: str = ""
) -> Comparison:
    """Compare leaf by leaf: which there are, then shape, dtype and numbers.

    Args:
        actual: what the backend gave, by path.
        expected: what eager gave, by path.
        reference: the fp64 reference, asked only for leaves that are not close; None compares bits alone.
        where: the set of leaves these are, as the reference knows it, e.g. `call[0].outputs`.
    """
    total = Comparison(differences=tuple(_missing(actual, expected)))
    for path in (path for path in expected if path in actual):
        total += _compare_leaf(path, actual[path], expected[path], reference, where)
    return total if not total.differences else replace(total, grade=Grade.DIFFERS)


def _missing(actual: Leaves, expected: Leaves) -> Iterator[Difference]:
    for path in [path for path in expected if path not in actual]:
        yield Difference(path=path, kind="presence", actual="absent", expected=_describe(expected[path]))
    for path in [path for path in actual if path not in expected]:
        yield Difference(path=path, kind="presence", actual=_describe(actual[path]), expected="absent")


def _describe(leaf: Leaf) -> str:
    if "dtype" not in leaf.facts:
        return repr(leaf.value)[:_WORDS]
    return f"{leaf.facts['dtype']} tensor of shape {leaf.facts['shape']}"


def _compare_leaf(
    path: str, actual: Leaf, expected: Leaf, reference: Reference | NoReference | None, where: str
) -> Comparison:
    for fact in ("type", "shape", "dtype", "device", "tensor_layout"):
        if actual.facts.get(fact) != expected.facts.get(fact):
            kind = "value" if fact == "type" else fact
            difference = Difference(path=path, kind=kind, actual=_describe(actual), expected=_describe(expected))
            return Comparison(differences=(difference,))
    if "dtype" not in expected.facts:
        return _compare_values(path, actual, expected)
    if actual.data is None or expected.data is None:
        # Not even eager may pass with numbers that nobody can read: its repetition differs, and the case is invalid.
        seen, wanted = ("unreadable" if leaf.data is None else _describe(leaf) for leaf in (actual, expected))
        return Comparison(differences=(Difference(path=path, kind="values", actual=seen, expected=wanted),))
    return _compare_tensors(_Pair(path=path, actual=actual.data, expected=expected.data), reference, where)


def _compare_values(path: str, actual: Leaf, expected: Leaf) -> Comparison:
    one, other = actual.value, expected.value
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    # Objects without an equality of their own are equal when they are of one type, which was seen above.
    if both_nan or type(one).__eq__ is object.__eq__ or one == other:
        return Comparison()
    difference = Difference(path=path, kind="value", actual=_describe(actual), expected=_describe(expected))
    return Comparison(differences=(difference,))


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
        gap, scale = _gap(self.actual, self.expected), _size(self.expected)
        finite = gap.isfinite() & (scale > 0)
        return Difference(
            path=self.path,
            kind=kind,
            actual=str(seen.tolist())[:_WORDS],
            expected=str(wanted.tolist())[:_WORDS],
            max_abs=_largest(gap[gap.isfinite()]),
            max_rel=_largest((gap / scale)[finite]),
            ulp=_largest((gap / _spacing(self.actual, self.expected))[gap.isfinite()]) if self.dtype in CLOSE else None,
            mismatched=int(wrong.sum()),
            total=wrong.numel(),
            first_index=first,
            **extra,  # type: ignore[arg-type]  # the callers name fields of Difference
        )


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Float64 numbers with one more dimension: a number, or the real and the imaginary part of one."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.to(torch.complex128))
    return tensor.to(torch.float64).unsqueeze(-1)


def _gap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Elementwise distance; zero where both are NaN or the same infinity, else no number where one is not finite."""
    ours, others = _parts(one), _parts(other)
    same = (ours == others) | (ours.isnan() & others.isnan())
    return _norm(torch.where(same, 0.0, ours - others))


def _size(tensor: torch.Tensor) -> torch.Tensor:
    """Elementwise absolute value; what is not finite counts as zero."""
    parts = _parts(tensor)
    return _norm(torch.where(parts.isfinite(), parts, 0.0))


def _norm(parts: torch.Tensor) -> torch.Tensor:
    return parts[..., 0].abs() if parts.shape[-1] == 1 else torch.hypot(parts[..., 0], parts[..., 1])


def _spacing(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """One unit in the last place: the distance of neighbouring numbers of the dtype, at the larger of two."""
    info = torch.finfo(other.dtype)
    _, exponent = torch.frexp(torch.maximum(_size(one), _size(other)).clamp(min=info.tiny))
    # torch.ldexp would take the power in float32.
    return info.eps * torch.pow(2.0, (exponent - 1).double())


def _largest(numbers: torch.Tensor) -> float | None:
    return float(numbers.max()) if numbers.numel() else None


def _compare_tensors(pair: _Pair, reference: Reference | NoReference | None, where: str) -> Comparison:
    same = _bitwise(pair.actual, pair.expected)
    if same.all():
        return Comparison()
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
    size = _size(pair.expected)
    return _gap(pair.actual, pair.expected) <= atol * min(1.0, _largest(size) or 0.0) + rtol * size


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
    return ~_gap(one, other).isfinite() & ~(one.isfinite() & other.isfinite())


def _by_reference(pair: _Pair, wrong: torch.Tensor, reference: Reference, where: str) -> Comparison:
    """Apply the fp64 rule; where fp64 has no say, compare actual and expected by the same measure."""
    tolerance = reference_tolerance(reference.precision(where), reference.overrides)
    ideal = reference.leaf(where, pair.path)
    if ideal is not None and not _is_meaningful(ideal, pair.expected):
        ideal = None
    ours = None if ideal is None else _error(pair.actual, ideal)
    eagers = None if ideal is None else _error(pair.expected, ideal)
    if ours is None or eagers is None or eagers > DIRECT_ABOVE:
        error, bound = _error(pair.actual, pair.expected), tolerance
        allowed = f"relative error {bound:.2g} against eager; saw {error:.2g}"
    else:
        error, bound = ours, max(FACTOR * eagers, tolerance)
        allowed = f"relative error {bound:.2g} against fp64; saw {ours:.2g}, eager itself is off by {eagers:.2g}"
    if error > bound:
        difference = pair.difference("values", wrong, error_actual=ours, error_expected=eagers, allowed=allowed)
        return Comparison(differences=(difference,))
    return Comparison(grade=Grade.REFERENCE, message=_remark(pair.path, ours, eagers))


def _is_meaningful(ideal: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether float64 took the same path as eager, as far as shape and finite numbers tell."""
    if ideal.shape != expected.shape or ideal.is_complex() != expected.is_complex():
        return False
    return bool((ideal.isfinite() | ~expected.isfinite()).all())


def _error(tensor: torch.Tensor, ideal: torch.Tensor) -> float:
    """err(t) = max|t - ref| / max|ref|, without what is finite on one side alone; absolute where all of ref is zero."""
    gap = _gap(tensor, ideal)
    counted = gap.isfinite() | (tensor.isfinite() & ideal.isfinite())
    largest = _largest(_size(ideal)[counted]) or 1.0
    return (_largest(gap[counted]) or 0.0) / largest


def _remark(path: str, ours: float | None, eagers: float | None) -> str:
    """Say so when the backend is clearly more precise than eager: it computes in another dtype than eager does."""
    if ours is None or eagers is None or ours * FACTOR > eagers:
        return ""
    return f"{path} is more precise than eager: off by {ours:.2g} from fp64, eager by {eagers:.2g}"

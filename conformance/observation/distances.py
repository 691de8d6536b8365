"""Distances between tensors in float64: elementwise, and the largest."""

from __future__ import annotations

import torch

__all__ = ["distance", "gaps", "largest", "relative_error", "sizes", "spacings"]


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Float64 numbers with one more dimension: size 2 for real and imaginary parts of complex numbers, else 1."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.to(torch.complex128))
    return tensor.to(torch.float64).unsqueeze(-1)


def gaps(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Elementwise distance; zero where both are NaN or the same infinity, not finite where only one is finite."""
    a, b = _parts(left), _parts(right)
    same = (a == b) | (a.isnan() & b.isnan())
    return _norm(torch.where(same, 0.0, a - b))


def sizes(tensor: torch.Tensor) -> torch.Tensor:
    """Elementwise absolute value; a number that is not finite counts as zero."""
    parts = _parts(tensor)
    return _norm(torch.where(parts.isfinite(), parts, 0.0))


def _norm(parts: torch.Tensor) -> torch.Tensor:
    return parts[..., 0].abs() if parts.shape[-1] == 1 else torch.hypot(parts[..., 0], parts[..., 1])


def spacings(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Elementwise unit in the last place of the dtype, at the larger of the two numbers."""
    info = torch.finfo(right.dtype)
    _, exponent = torch.frexp(torch.maximum(sizes(left), sizes(right)).clamp(min=info.tiny))
    # torch.ldexp would take the power in float32.
    return info.eps * torch.pow(2.0, (exponent - 1).double())


def largest(numbers: torch.Tensor) -> float | None:
    """The largest number, or None for an empty tensor."""
    return float(numbers.max()) if numbers.numel() else None


def relative_error(tensor: torch.Tensor, ideal: torch.Tensor) -> float:
    """err(t) = max|t - ref| / max|ref|, without elements finite on one side alone; absolute where ref is all zero."""
    return distance(tensor, ideal) / (largest(sizes(ideal)[_counted(tensor, ideal)]) or 1.0)


def distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """The largest elementwise distance, without elements finite on one side alone."""
    return largest(gaps(left, right)[_counted(left, right)]) or 0.0


def _counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return gaps(left, right).isfinite() | (left.isfinite() & right.isfinite())

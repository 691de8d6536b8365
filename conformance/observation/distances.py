"""Distances of tensors, as float64 numbers: element by element, and the largest."""

from __future__ import annotations

import torch

__all__ = ["distance", "gaps", "largest", "relative_error", "sizes", "spacings"]


def _parts(tensor: torch.Tensor) -> torch.Tensor:
    """Float64 numbers with one more dimension: a number, or the real and the imaginary part of one."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.to(torch.complex128))
    return tensor.to(torch.float64).unsqueeze(-1)


def gaps(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Elementwise distance; zero where both are NaN or the same infinity, else no number where one is not finite."""
    ours, others = _parts(one), _parts(other)
    same = (ours == others) | (ours.isnan() & others.isnan())
    return _norm(torch.where(same, 0.0, ours - others))


def sizes(tensor: torch.Tensor) -> torch.Tensor:
    """Elementwise absolute value; what is not finite counts as zero."""
    parts = _parts(tensor)
    return _norm(torch.where(parts.isfinite(), parts, 0.0))


def _norm(parts: torch.Tensor) -> torch.Tensor:
    return parts[..., 0].abs() if parts.shape[-1] == 1 else torch.hypot(parts[..., 0], parts[..., 1])


def spacings(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """One unit in the last place: the distance of neighbouring numbers of the dtype, at the larger of two."""
    info = torch.finfo(other.dtype)
    _, exponent = torch.frexp(torch.maximum(sizes(one), sizes(other)).clamp(min=info.tiny))
    # torch.ldexp would take the power in float32.
    return info.eps * torch.pow(2.0, (exponent - 1).double())


def largest(numbers: torch.Tensor) -> float | None:
    """The largest number, None where there is none."""
    return float(numbers.max()) if numbers.numel() else None


def relative_error(tensor: torch.Tensor, ideal: torch.Tensor) -> float:
    """err(t) = max|t - ref| / max|ref|, without what is finite on one side alone; absolute where all of ref is zero."""
    return distance(tensor, ideal) / (largest(sizes(ideal)[_counted(tensor, ideal)]) or 1.0)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest distance of two elements, without what is finite on one side alone."""
    return largest(gaps(one, other)[_counted(one, other)]) or 0.0


def _counted(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return gaps(one, other).isfinite() | (one.isfinite() & other.isfinite())

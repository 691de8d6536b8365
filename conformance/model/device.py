"""The device that programs run on: the one place that names it."""

from __future__ import annotations

__all__ = ["DEVICE"]

DEVICE = "cpu"

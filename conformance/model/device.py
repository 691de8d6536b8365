"""The device that programs run on, named only here."""

from __future__ import annotations

__all__ = ["DEVICE"]

DEVICE = "cpu"

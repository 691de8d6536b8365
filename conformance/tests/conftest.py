"""Fixtures that several test modules share; builders of values are in `fakes`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that these tests lie in."""
    return Path(__file__).parents[2]

"""Fixtures that several test modules share; builders of values are in `fakes`."""

from __future__ import annotations

from pathlib import Path

import pytest

collect_ignore = ["plugin"]  # a package of its own, with tests of its own: `nox -s plugin`


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that these tests lie in."""
    return Path(__file__).parents[2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under --benchmark-only leave out what is no benchmark, instead of a line for each test that says so."""
    if config.getoption("benchmark_only", default=False):
        timed = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in timed])
        items[:] = timed

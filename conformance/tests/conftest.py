"""Fixtures that several test modules share; builders of values are in `fakes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.tests.servers import kept

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore = ["plugin"]  # a package of its own, with tests of its own: `nox -s plugin`


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that contains these tests."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def _alone() -> Iterator[None]:
    """Processes started by tests are no workers of pytest-xdist, are not measured, and print plain text.

    Output is as wide as where there is no terminal, and has no colours and no folds, wherever the tests run.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            *("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "COVERAGE_PROCESS_CONFIG"),
            *("COLUMNS", "FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS"),
        ):
            patch.delenv(name, raising=False)
        patch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")  # or each fork server starts a Python with torch to find out
        with kept():
            yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put files that need torch first: they take longest, and no process may be left alone with one at the end.

    Under --benchmark-only deselect tests that are no benchmark, instead of skipping each with a line.
    """
    slow = {item.path for item in items if item.get_closest_marker("torch")}
    items.sort(key=lambda item: item.path not in slow)
    if config.getoption("benchmark_only", default=False):
        timed = [item for item in items if "benchmark" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in timed])
        items[:] = timed

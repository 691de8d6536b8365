"""The pytest plugin: options that select cases and backends, and one test item per request.

pytest loads this module in every project of an environment that holds the suite, so importing it costs nothing:
no torch, no cases and no backends until something of the suite is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import pandas as pd

    from conformance.execution.pytest_session import Session
    from conformance.model.request import Request

__all__ = ["parameters", "pytest_collection", "pytest_generate_tests", "pytest_load_initial_conftests", "session_of"]

_OPTIONS = {
    "backend": "run on this backend: a name, torch:NAME, package.module:attribute or path/to/file.py:attribute",
    "case": "only cases whose id matches this glob",
    "variant": "only variants that have these axes, such as grad=disabled,dynamic=true",
    "tag": "only cases that have this tag",
}
_SESSION = pytest.StashKey["Session"]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None]:
    """Add the options that select what runs, the same as those of `conformance run`.

    Their names are common words, which the conftest.py of another project may define too. That one takes precedence:
    two options of one name would end every run of pytest in that project.
    """
    yield
    group = parser.getgroup("conformance", "conformance of torch.compile backends")
    for name, text in _OPTIONS.items():
        if f"--{name}=" not in parser.parse_known_and_unknown_args([f"--{name}="])[1]:
            continue
        group.addoption(
            f"--{name}",
            action="append",
            default=[],
            dest=_destination(name),
            metavar=name.upper(),
            help=f"{text}; repeatable",
        )


def pytest_collection(session: pytest.Session) -> None:
    """Refuse a selection that matches nothing before anything is collected."""
    if any(session.config.getoption(_destination(name), default=()) for name in _OPTIONS):
        session_of(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each request for tests that ask for `conformance_request`."""
    if "conformance_request" in metafunc.fixturenames:
        metafunc.parametrize("conformance_request", parameters(session_of(metafunc.config).plan.requests))


@pytest.fixture(scope="session")
def conformance_session(pytestconfig: pytest.Config) -> Session:
    """The session of the suite: its selected requests, and how to run one of them."""
    return session_of(pytestconfig)


@pytest.fixture(scope="session")
def assert_conforms() -> Generator[Callable[..., pd.DataFrame]]:
    """`conformance.assert_conforms`, which checks a function on backends: `assert_conforms(f, inputs, backends=...)`.

    A test is skipped if no backend can run here. The processes that run the checks end with the tests.
    """
    import conformance
    from conformance.isolation import tasks

    def checked(*args: object, **options: object) -> pd.DataFrame:
        __tracebackhide__ = True
        found = conformance.assert_conforms(*args, **options)  # type: ignore[arg-type]
        if not found["scored"].any():
            pytest.skip("; ".join(found["message"].unique()))
        return found

    yield checked
    tasks.shutdown()


def session_of(config: pytest.Config) -> Session:
    """Return the session of the suite for this pytest run, created on first use.

    Raises:
        pytest.UsageError: an option selects nothing or is another plugin's, or a cases or expectations file is bad.
    """
    if _SESSION not in config.stash:
        from conformance.execution import attempts
        from conformance.execution.pytest_session import Session, named
        from conformance.model.errors import ConformanceError

        # Listing needs only the name of a backend, so no process is started.
        describe = named if config.getoption("collectonly") else attempts.describe
        try:
            config.stash[_SESSION] = opened = Session(describe=describe, **_selection(config))
        except ConformanceError as error:
            raise pytest.UsageError(str(error)) from error
        config.add_cleanup(opened.close)
    return config.stash[_SESSION]


def parameters(requests: Iterable[Request]) -> list[object]:
    """Return requests as test parameters, with ids like `inductor-views.add-grad=enabled`."""
    return [pytest.param(request, id="-".join(request.key)) for request in requests]


def _destination(option: str) -> str:
    return f"conformance_{option}"


def _selection(config: pytest.Config) -> dict[str, list[str]]:
    if taken := [f"--{name}" for name in _OPTIONS if not hasattr(config.option, _destination(name))]:
        message = f"a conftest.py or plugin here has a {', '.join(taken)} of its own; run the suite from another folder"
        raise pytest.UsageError(message)
    return {f"{name}s": config.getoption(_destination(name)) for name in _OPTIONS}

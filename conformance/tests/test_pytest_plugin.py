from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import conformance
import conformance.triage.api
from conformance.catalogue.loader import load_cases
from conformance.execution import pytest_session
from conformance.model.case import Location, Variant
from conformance.model.enums import Capability
from conformance.model.errors import CaseError, Problem
from conformance.tests import fakes
from conformance.tests.runs import checked, red, skipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo, Expectation, Request
    from conformance.model.result import Attempt, Record


class Suite(Protocol):
    """Runs pytest on the suite with fakes in place of cases, backends and children."""

    def __call__(
        self,
        *args: str,
        attempts: Mapping[str, Attempt] = ...,
        backend: BackendInfo = ...,
        expected: tuple[Expectation, ...] = ...,
    ) -> pytest.RunResult:
        """Attempts are by case id; a case without one passes."""


CASES: tuple[Case, ...] = (
    fakes.a_case("demo.first.one", tags=frozenset({"smoke"})),
    fakes.a_case("demo.first.two", variants=(Variant(), Variant(grad="disabled"))),
    fakes.a_case("other.rng.draw", requires=frozenset({Capability.COMPLEX})),
)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The suite over three fake cases."""

    def run(
        *args: str,
        attempts: Mapping[str, Attempt] | None = None,
        backend: BackendInfo | None = None,
        expected: tuple[Expectation, ...] = (),
    ) -> pytest.RunResult:
        info = backend or fakes.a_backend("fake")

        def attempt(request: Request) -> Attempt:
            return (attempts or {}).get(request.case.id, fakes.an_attempt())

        monkeypatch.setattr(pytest_session, "collect", lambda: CASES)
        monkeypatch.setattr(pytest_session, "known_failures", lambda *_: {info.name: expected})
        monkeypatch.setattr("conformance.execution.attempts.run", attempt)
        monkeypatch.setattr("conformance.execution.attempts.describe", lambda _: info)
        return pytester.runpytest("--pyargs", "conformance.suite", "-p", "no:cacheprovider", "-rA", *args)

    return run


def test_importing_the_plugin_imports_no_torch() -> None:
    """Every pytest run of an environment that holds the suite loads the plugin, and must not pay for torch."""
    code = (
        "import sys, conformance.pytest_plugin; print([m for m in ('torch', 'pandas', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_request_is_an_item_with_a_readable_id(suite: Suite) -> None:
    """Backend, case and variant can be read off an item and given back with -k."""
    result = suite("--backend", "m:fake", "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "*test_conforms[[]fake-demo.first.one-grad=enabled]",
            "*test_conforms[[]fake-demo.first.two-grad=enabled]",
            "*test_conforms[[]fake-demo.first.two-grad=disabled]",
        ]
    )


def test_what_conforms_passes(suite: Suite) -> None:
    """A pass is a passed item."""
    suite("--backend", "m:fake").assert_outcomes(passed=4, skipped=4)


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (fakes.failed(), "fail: values differ in output[[]0]*"),
        (fakes.raised(), "error: raised in forward: RuntimeError: bad graph*"),
        (fakes.crashed(), "crash: killed by SIGSEGV*"),
        (fakes.vacuous(), "vacuous: nothing was compiled*"),
    ],
    ids=["fail", "error", "crash", "vacuous"],
)
def test_what_does_not_conform_fails_with_its_message(suite: Suite, attempt: Attempt, words: str) -> None:
    """A red verdict is a failed item with the message and how to reproduce it, without a traceback of the suite."""
    result = suite("--backend", "m:fake", "--case", "demo.first.one", attempts={"demo.first.one": attempt})
    result.assert_outcomes(failed=1, skipped=4)
    result.stdout.fnmatch_lines([words, "*Reproduce: conformance run --backend *fake --case demo.first.one*"])
    result.stdout.no_fnmatch_line("*test_conformance.py:*: Failed")


def test_an_expected_failure_is_xfailed_with_its_reason(suite: Suite) -> None:
    """The reason comes from the backend's expectations."""
    backend = fakes.a_backend("fake", expectations=Path("fake.expected.yaml"))
    result = suite(
        *("--backend", "m:fake", "--tag", "smoke"),
        attempts={"demo.first.one": fakes.failed("values")},
        backend=backend,
        expected=(fakes.an_expectation(),),
    )
    result.assert_outcomes(xfailed=1, skipped=4)
    result.stdout.fnmatch_lines(["XFAIL *doubles twice*"])


def test_an_unexpected_pass_fails(suite: Suite) -> None:
    """An expectation that no longer holds must be deleted."""
    backend = fakes.a_backend("fake", expectations=Path("fake.expected.yaml"))
    result = suite("--backend", "m:fake", "--tag", "smoke", backend=backend, expected=(fakes.an_expectation(),))
    result.assert_outcomes(failed=1, skipped=4)
    result.stdout.fnmatch_lines(["xpass: *delete*"])


def test_a_capability_that_is_not_claimed_skips(suite: Suite) -> None:
    """Cases that need what a backend does not claim are not run."""
    backend = fakes.a_backend("fake", capabilities=Capability.all() - {Capability.COMPLEX})
    result = suite("--backend", "m:fake", "--case", "other.*", backend=backend)
    result.assert_outcomes(skipped=5)
    result.stdout.fnmatch_lines(["SKIPPED *needs complex"])


def test_a_broken_backend_is_one_failure(suite: Suite) -> None:
    """A plug-in whose import raises is one failed item, not one for each case."""
    backend = fakes.a_backend("fake", broken="ImportError: no module named mine")
    result = suite("--backend", "m:fake", backend=backend)
    result.assert_outcomes(failed=1, skipped=4)
    result.stdout.fnmatch_lines(["error: *ImportError: no module named mine*"])


def test_variants_are_selected_by_axes(suite: Suite) -> None:
    """--variant keeps what has the axes."""
    suite("--backend", "m:fake", "--variant", "grad=disabled").assert_outcomes(passed=1, skipped=4)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--backend", "indcutor"), "*unknown backend 'indcutor'*Did you mean 'inductor'*"),
        (("--backend", "m:fake", "--case", "demo.frist.*"), "*no case matches 'demo.frist.[*]'*"),
        (("--backend", "m:fake", "--tag", "smok"), "*no tag matches 'smok'*"),
    ],
    ids=["backend", "case", "tag"],
)
def test_a_selection_of_nothing_is_a_usage_error(suite: Suite, args: tuple[str, ...], words: str) -> None:
    """A misspelt name never gives an empty green run."""
    result = suite(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])


def test_malformed_cases_are_a_usage_error(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of the case files is shown with its place."""
    problems = [Problem(Location(file="cases/a_b.yaml", line=n), "unknown key 'x'") for n in (3, 7)]

    def load() -> tuple[Case, ...]:
        raise CaseError(problems)

    class Loader(pytest_session.Session):
        """Takes the place of the session after the fixture has replaced the loader."""

        def __init__(self, **_: object) -> None:
            load()

    monkeypatch.setattr(pytest_session, "Session", Loader)
    result = suite("--backend", "m:fake")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cases/a_b.yaml:3:1: unknown key 'x'", "cases/a_b.yaml:7:1: unknown key 'x'"])


LISTENER = """
import sys
from pathlib import Path

def pytest_unconfigure():
    children = Path("/proc/self/task/{}/children".format(__import__("os").getpid())).read_text().split()
    print("torch imported:", "torch" in sys.modules, "children:", len(children))
"""


@pytest.mark.parametrize(
    ("args", "items"),
    [
        (("--backend", "eager", "--backend", "mine.py:mine", "--case", "base.smoke.*"), ["eager-", "mine-"]),
        (("--tag", "smoke"), ["inductor-", "aot_eager-"]),
    ],
    ids=["named", "all"],
)
def test_listing_the_suite_starts_nothing(pytester: pytest.Pytester, args: tuple[str, ...], items: list[str]) -> None:
    """With --collect-only no process is started and torch is not imported; a backend is called as it was named."""
    pytester.makeconftest(LISTENER)
    pytester.makepyfile(mine="raise ValueError('imported')")
    result = pytester.runpytest_subprocess("--pyargs", "conformance.suite", "--collect-only", "-q", *args)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["torch imported: False children: 0"])
    for item in items:
        result.stdout.fnmatch_lines([f"*test_conforms[[]{item}base.smoke.arithmetic-grad=enabled]"])


USING = """
def test_it(assert_conforms):
    assert_conforms(len, [], backends="mine")
"""


@pytest.mark.parametrize(
    ("record", "outcome", "words"),
    [
        (fakes.a_record(), {"passed": 1}, "*1 passed*"),
        (red(), {"failed": 1}, "E*values differ in output*"),
        (skipped("no C++ compiler"), {"skipped": 1}, "SKIPPED*no C++ compiler*"),
    ],
    ids=["pass", "fail", "skip"],
)
def test_a_test_of_ones_own_asks_for_a_fixture(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, record: Record, outcome: dict[str, int], words: str
) -> None:
    """It passes, fails with the table, or is skipped where nothing could be tried; the line shown is the test's."""
    pytester.makepyfile(USING)
    monkeypatch.setattr("conformance.triage.check.run", lambda *_: checked(record))
    result = pytester.runpytest("-rA", "-p", "no:cacheprovider")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines([words])
    assert "api.py" not in result.stdout.str()


def test_other_projects_start_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no item of the suite is collected, no case is loaded and no process is started."""
    monkeypatch.setattr(pytest_session, "collect", lambda: pytest.fail("cases were loaded"))
    pytester.makepyfile("def test_nothing(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


OWN_OPTION = "def pytest_addoption(parser): parser.addoption('--backend', default='numpy')"


def test_options_of_other_projects_come_first(pytester: pytest.Pytester) -> None:
    """A project whose conftest.py has a --backend of its own works on, where the suite is installed."""
    pytester.makeconftest(OWN_OPTION)
    pytester.makepyfile("def test_it(pytestconfig): assert pytestconfig.getoption('--backend') == 'mine'")
    pytester.runpytest("--backend", "mine").assert_outcomes(passed=1)


def test_an_option_that_is_taken_stops_the_suite(suite: Suite, pytester: pytest.Pytester) -> None:
    """The option --backend of another project is not the suite's."""
    pytester.makeconftest(OWN_OPTION)
    result = suite("--backend", "m:fake")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*has a --backend of its own; run the suite from another folder*"])


def test_benchmarks_wait_to_be_asked(suite: Suite) -> None:
    """Without --benchmark-only nothing is timed, and the reason is given."""
    result = suite("--backend", "m:fake", "--case", "demo.first.one")
    result.stdout.fnmatch_lines(["SKIPPED *asked for with --benchmark-only"])


@pytest.mark.torch
def test_a_plain_callable_from_a_file_passes_the_smoke_cases(pytester: pytest.Pytester) -> None:
    """`--backend file.py:attribute` needs no installation and no registration."""
    pytester.makepyfile(mine="def backend(gm, example_inputs): return lambda *args: gm(*args)")
    args = ("--pyargs", "conformance.suite", "--backend", "mine.py:backend", "--tag", "smoke")
    result = pytester.runpytest_subprocess(*args)
    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["passed"] > 1


@pytest.mark.torch
def test_a_benchmark_names_what_it_timed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are in groups by case, variant and phase, uncompiled as the baseline, and each names what it timed."""
    # pytest-benchmark times nothing in a worker of pytest-xdist, which this pytest may be.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    quick = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=2", "--benchmark-json=times.json")
    case = next(case for case in load_cases() if case.id == "training.steps.mlp")
    chosen = ("--case", case.id, "--variant", case.variants[0].id)
    result = pytester.runpytest_subprocess(
        "--pyargs",
        "conformance.suite",
        "--benchmark-only",
        "--backend",
        "eager",
        "--backend",
        "aot_eager",
        *chosen,
        *quick,
    )
    assert result.ret == pytest.ExitCode.OK
    rows = json.loads((pytester.path / "times.json").read_text())["benchmarks"]
    timed = {(row["extra_info"]["backend"], row["extra_info"]["phase"]) for row in rows}
    assert timed == {
        (backend, phase)
        for backend in ("uncompiled", "eager", "aot_eager")
        for phase in ("forward", "backward", "step")
    }
    assert {row["extra_info"]["case"] for row in rows} == {case.id}
    assert all(row["extra_info"]["torch"] and row["extra_info"]["fingerprint"] for row in rows)
    assert len({row["group"] for row in rows}) == 3
    frame = conformance.load_timing(pytester.path / "times.json")
    assert len(frame) == 6
    assert (frame["ratio"] > 0).all()
    assert (frame["guards"] > 0).all()

"""Every job of the project; `nox -l` lists them, and arguments after `--` are passed on.

Each session has a virtual environment of its own, kept between runs (delete `.nox` to start anew).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import nox
from nox.command import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "cases", "tests"]

ROOT = Path(__file__).parent
RECORDS = Path("results", "records")
IN_TREE = ("eager", "pre_dispatch_eager", "aot_eager", "aot_eager_decomp_partition", "inductor")
CONSTRAINTS = os.environ.get("CONFORMANCE_CONSTRAINTS", "constraints.txt")
"""Which release of torch jobs install: that of the committed tables, unless the environment names another file."""
RELEASES = {
    "2.13.0": "torch==2.13.0",
    "2.13.0-pypi": "torch===2.13.0",  # PyPI's build, where pip's own configuration finds another
    "2.14.1": "torch==2.14.1",
    "2.15.0": "torch==2.15.0",
}
LINTERS = ("ruff==0.17.6", "import-linter==2.17")
THIRD_PARTY_CONSTRAINTS = "constraints-ci.txt"  # of the release that zentorch has built for


class Maker(NamedTuple):
    """Backends that no entry point of this package declares: their adapters in backends/, and what they need."""

    adapters: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    constraints: str = THIRD_PARTY_CONSTRAINTS


THIRD_PARTY = {
    "torch": Maker(("cudagraphs", "aot_eager_default_partitioner", "invoke_subgraph", "aot_ts", "eager_noexcept")),
    "torch-strict": Maker(("inductor_strict",), constraints=CONSTRAINTS),  # older releases lack the option
    "openvino": Maker(("openvino", "openvino_aot"), ("openvino==2026.4.1",)),
    "iree": Maker(("turbine_cpu",), ("iree-turbine==3.9.0", "iree-base-compiler==3.9.0", "iree-base-runtime==3.9.0")),
    "torchburn": Maker(("torchburn",), ("torchburn==1.0.2", "numpy")),
    "zentorch": Maker(("zentorch",), ("zentorch==2.13.0.2",)),
    "tvm": Maker(("tvm",), ("apache-tvm==0.27.0.post1",)),
}
TYPES = ("mypy==2.4.1", "pandas-stubs", "types-PyYAML", "types-jsonschema", "types-tabulate")


def install(session: nox.Session, *what: str) -> None:
    """Install with one release of torch, in whatever build pip finds here."""
    session.install("--constraint", CONSTRAINTS, *what)


@nox.session
def conformance(session: nox.Session) -> None:
    """Run every case on the five in-tree backends and rewrite results/; with arguments: `conformance run ARGS`."""
    install(session, "--editable", ".[plot]")
    run_and_publish(session, "in-tree.jsonl", RECORDS.joinpath)


@nox.session
@nox.parametrize("requirement", list(RELEASES.values()), ids=list(RELEASES))
def releases(session: nox.Session, requirement: str) -> None:
    """Run every case on the in-tree backends on each release of torch, in an environment each, and rewrite results/."""
    session.install("--editable", ".[plot]", requirement)
    run_and_publish(session, "in-tree.jsonl", RECORDS.joinpath)


@nox.session(name="confirm-releases")
def confirm_releases(session: nox.Session) -> None:
    """Run the script of each change between releases on both, in the environments that `releases` left."""
    install(session, "--editable", ".[test]")
    pythons = sorted(Path(session.virtualenv.location).parent.glob("releases-*/bin/python"))
    words = [f"--python={python.absolute()}" for python in pythons]
    # What a script does not confirm belongs in the pages as well.
    session.run(
        "python", "-m", "conformance.tests.jobs.confirm_releases", *words, *session.posargs, success_codes=[0, 1]
    )
    publish(session)


@nox.session
@nox.parametrize("maker", list(THIRD_PARTY), ids=list(THIRD_PARTY))
def thirdparty(session: nox.Session, maker: str) -> None:
    """Run every case on third-party backends, each maker's in an environment of its own, and rewrite results/."""
    adapters, requirements, constraints = THIRD_PARTY[maker]
    session.install("--constraint", constraints, "--editable", ".[plot]", *requirements)
    red = []
    for name in adapters:
        try:
            run_and_publish(
                session,
                f"{name}.jsonl",
                lambda _: RECORDS,  # each is of the one release that its maker has built for
                "--backend",
                f"conformance.backends.{name}:backend",
            )
        except CommandFailed:  # the remaining ones still run
            red.append(name)
    if red:
        session.error(f"not green: {', '.join(red)}")


def run_and_publish(session: nox.Session, name: str, home: Callable[[str], Path], *backends: str) -> None:
    """Run into a scratch file; without arguments, the records of a whole run become the committed ones.

    Args:
        session: the job.
        name: of the record file.
        home: its folder, from the release and build of torch of the run.
        backends: further arguments for `conformance run`.
    """
    scratch = Path(session.create_tmp(), "records.jsonl")
    scratch.unlink(missing_ok=True)
    try:
        session.run("conformance", "run", "--attribute", "--records", str(scratch), *backends, *session.posargs)
    finally:
        # Findings belong in the pages as well, whatever the exit code; an interrupted run leaves them as they were.
        if not session.posargs and scratch.exists() and '"kind":"footer"' in scratch.read_text(encoding="utf-8"):
            folder = home(torch_of(scratch))
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(scratch, folder / name)
            publish(session)


def torch_of(records: Path) -> str:
    """Return the release and build of torch in the header of a record file."""
    with records.open(encoding="utf-8") as lines:
        return str(json.loads(next(lines))["environment"]["torch"])


def publish(session: nox.Session, *options: str) -> None:
    """Rewrite the pages of results/ and the known failures of fuzzing from committed records; options only compare."""
    session.run("conformance", "report", "--records", str(RECORDS), "--output", "results", *options)
    if not options:
        session.run("python", "-m", "conformance.triage.fuzz.known")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite's own tests; without arguments, with coverage of the core that imports no torch.

    Then hypothesis draws the same examples each time; with arguments, such as `-- conformance/tests`, others.
    """
    install(session, "--editable", ".[test]")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    env = {"COVERAGE_FILE": str(Path(session.create_tmp(), "coverage").absolute())}
    # Tests of one file stay in one process, since many share module-scoped fixtures; some wait for a time limit.
    processes = f"--numprocesses={(os.cpu_count() or 1) + 1}"
    parallel = (
        processes,
        "--dist=loadfile",
        "--no-loadscope-reorder",
        "--benchmark-disable",
        "--hypothesis-profile=ci",
    )
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", "conformance/tests", *parallel, "--durations=40", env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", "--skip-covered", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff, and the layers of packages with import-linter."""
    session.install(*LINTERS)
    check_style(session)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with mypy in strict mode."""
    install(session, "--editable", ".[test]", *TYPES)
    session.run("mypy", *session.posargs)


@nox.session
def cases(session: nox.Session) -> None:
    """Validate the cases, the expectations, and that the committed JSON Schemas are fresh."""
    install(session, "--editable", ".")
    validate(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; warnings are errors. `-- --builder linkcheck` tries links outside."""
    install(session, "--editable", ".[docs]")
    session.run("sphinx-build", "--fail-on-warning", "conformance/docs", "build/docs", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Rewrite the pages of results/ from the committed records; `-- --check` only compares."""
    install(session, "--editable", ".[plot]")
    publish(session, *session.posargs)


@nox.session(venv_backend="none")
def gates(session: nox.Session) -> None:
    """Run what continuous integration asks beside the tests, in the environment that the session `tests` has made."""
    tests = ROOT / ".nox" / "tests"
    if not (tests / "bin" / "python").exists():
        session.error("there is no environment yet: python -m nox --install-only -s tests")
    with tempfile.TemporaryDirectory(prefix="conformance-gates-") as folder:
        use(tests)
        use(borrow(session, tests, Path(folder, "tools")))  # the tests may be running in their own
        session.run("python", "-m", "pip", "install", "--constraint", CONSTRAINTS, "build", *TYPES, *LINTERS)
        check_style(session)
        session.run("mypy")
        validate(session)
        publish(session, "--check")
        wheel = build_wheel(session, folder)
        use(borrow(session, tests, Path(folder, "wheel")))
        session.run("python", "-m", "pip", "install", "--no-deps", str(wheel))
        run_smoke_cases(session, folder)


def use(environment: Path) -> None:
    """Make programs of an environment those that sessions without one of their own run."""
    os.environ["PATH"] = os.pathsep.join([str(environment / "bin"), os.environ["PATH"]])


def borrow(session: nox.Session, lender: Path, environment: Path) -> Path:
    """Make an environment that has what another has, but for what that has from a checkout: torch takes minutes."""
    session.run("python", "-m", "venv", str(environment))
    (packages,) = lender.glob("lib/python*/site-packages")
    own = environment / packages.relative_to(lender)
    (own / "borrowed.pth").write_text(f"{packages}\n", encoding="utf-8")  # files like this one are not read there
    return environment


def check_style(session: nox.Session) -> None:
    """Check style, formatting and layers."""
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", "--diff")
    session.run("lint-imports", "--no-cache")


def validate(session: nox.Session) -> None:
    """Validate cases, expectations and schemas."""
    session.run("conformance", "validate", *session.posargs)
    session.run("conformance", "validate", *map(str, sorted(Path("backends").glob("*.expected.yaml"))))
    session.run("python", "-m", "conformance.tests.jobs.operations.audit_page", "--check")
    if written := session.run("python", "-m", "conformance.schema", silent=True):
        session.error(f"the JSON Schemas were out of date; commit the files just written:\n{written}")


@nox.session(name="kill-matrix")
def kill_matrix(session: nox.Session) -> None:
    """Run the suite on broken backends that were not run yet, or with `-- NAME`, and rewrite results/kill_matrix.md."""
    install(session, "--editable", ".[test]")
    words = ["results/kill_matrix.md", "--done", "results/kill_matrix.jsonl", *session.posargs]
    session.run("python", "-m", "conformance.tests.jobs.kill_matrix", *words)


@nox.session
def mutants(session: nox.Session) -> None:
    """Run machine-made mutants of PyTorch's compiler; a folder as argument keeps what was run, and is continued.

    Without arguments it is a sample: 30 mutants on the requests of `--tier quick`. The published ones are continued by
    `-- results/mutants/2.13.0+cpu --count 1000 --page results/mutants.md`, on that release (CONFORMANCE_CONSTRAINTS).
    """
    install(session, "--editable", ".[test]")
    folder, *options = session.posargs or [session.create_tmp(), "--tier", "quick"]
    session.run("python", "-m", "conformance.tests.jobs.mutants", folder, *options)


@nox.session
def history(session: nox.Session) -> None:
    """Run the programs of past issues of PyTorch and rewrite results/history.md; it can be continued.

    The first argument, if any, is what to install in place of the newest torch, such as `torch==2.13.0`.
    """
    requirement, *options = session.posargs or [""]
    install(session, "--editable", ".[test]")
    if requirement:
        session.install(requirement)
    words = ["results/history", "--page", "results/history.md", *options]
    session.run("python", "-m", "conformance.tests.jobs.history", *words)


@nox.session(name="false-alarms")
def false_alarms(session: nox.Session) -> None:
    """Check correct functions of public projects and rewrite results/false_alarms.md; it can be continued."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.false_alarms", "results/false_alarms.md", *session.posargs)


@nox.session(name="saboteurs-on-models")
def saboteurs_on_models(session: nox.Session) -> None:
    """Check ten models on each broken backend and rewrite results/saboteurs_on_models.md; it can be continued."""
    install(session, "--editable", ".[test]")
    page = "results/saboteurs_on_models.md"
    session.run("python", "-m", "conformance.tests.jobs.saboteurs_on_practice", page, *session.posargs)


@nox.session
def benchmark(session: nox.Session) -> None:
    """Time the cases tagged for timing with pytest-benchmark, uncompiled and all backends side by side."""
    install(session, "--editable", ".[pytest]")
    session.run("pytest", "conformance/suite/test_benchmarks.py", "--benchmark-only", *session.posargs)


@nox.session
def operations(session: nox.Session) -> None:
    """Write the cases of operations anew from PyTorch's descriptions, and their audit; with arguments, of some."""
    session.install("--constraint", THIRD_PARTY_CONSTRAINTS, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.operations", *session.posargs)
    session.run("python", "-m", "conformance.tests.jobs.operations.audit_page")


@nox.session
def bench(session: nox.Session) -> None:
    """Time what conforms against uncompiled, in pairs, on the in-tree backends; or: `conformance bench ARGS`."""
    install(session, "--editable", ".")
    session.run("conformance", "bench", *session.posargs)


@nox.session
def accuracy(session: nox.Session) -> None:
    """Measure how reliable timings are: false verdicts, planted slow-downs, the cost of the harness."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.accuracy", *session.posargs)


@nox.session
def scripts(session: nox.Session) -> None:
    """Run the stand-alone script of every failure of the committed records, and compare it with its record."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.scripts", *session.posargs)


@nox.session
def causes(session: nox.Session) -> None:
    """Trace a failure of each broken backend to its cause: explain it, reproduce it by a script, shrink it."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.causes", *session.posargs)


@nox.session
def attributions(session: nox.Session) -> None:
    """Attribute a failure of each broken backend, and compare with what the backend says of itself."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.attributions", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz each in-tree backend for ten minutes into results/fuzzing/; with arguments: `conformance fuzz ARGS`."""
    install(session, "--editable", ".")
    if session.posargs:
        session.run("conformance", "fuzz", *session.posargs)
        return
    for name in IN_TREE:
        scratch, published = Path(session.create_tmp(), name), Path("results", "fuzzing", name)
        for folder in (scratch, published):
            shutil.rmtree(folder, ignore_errors=True)
        options = ("--backend", name, "--budget", "10m", "--seed", "0", "--output", str(scratch))
        session.run("conformance", "fuzz", *options, success_codes=[0, 1])
        # The state is needed only to continue.
        shutil.copytree(scratch, published, ignore=shutil.ignore_patterns("*.jsonl"))


@nox.session(name="fuzz-speed")
def fuzz_speed(session: nox.Session) -> None:
    """Measure how fast programs are drawn and run, which defects fuzzing finds within a minute, and what guides it."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.fuzz_speed", *session.posargs)
    session.run("python", "-m", "conformance.tests.jobs.fuzz_guidance")
    session.run("python", "-m", "conformance.tests.jobs.fuzz_units")


@nox.session
def speed(session: nox.Session) -> None:
    """Measure what isolation costs, how fast a whole run is, and how soon commands answer."""
    install(session, "--editable", ".[test]")
    session.run("python", "-m", "conformance.tests.jobs.speed", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build and inspect wheel and sdist, and run the smoke cases from the installed wheel, elsewhere and here."""
    with tempfile.TemporaryDirectory(prefix="conformance-build-") as folder:
        install_wheel(session, folder)
        run_smoke_cases(session, folder)


def run_smoke_cases(session: nox.Session, folder: str) -> None:
    """Run them in a folder and in the checkout, from the installed wheel."""
    session.chdir(folder)
    session.run("conformance", "run", "--tag", "smoke", "--backend", "eager", "--records", "smoke.jsonl")
    session.run("python", "-m", "pytest", "--pyargs", "conformance.suite", "--tag", "smoke", "--backend", "eager")
    # The checkout contains another `conformance`, with cases and backends beside it.
    session.chdir(ROOT)
    records = f"--records={folder}/checkout.jsonl"
    session.run("conformance", "run", "--tag", "smoke", "--backend", "eager", records)
    session.run("python", "-m", "conformance", "run", "--tag", "smoke", "--backend", "eager", records)


@nox.session
def site(session: nox.Session) -> None:
    """Build the static site of the committed records in the folder `site`."""
    install(session, "--editable", ".")
    session.run("conformance", "site", "--records", "results/records", *session.posargs)


@nox.session
def readme(session: nox.Session) -> None:
    """Run the commands of README, tutorial and guides in an empty folder, with the installed wheel; 20 minutes."""
    with tempfile.TemporaryDirectory(prefix="conformance-readme-") as folder:
        install_wheel(session, folder)
        # The tests are not in the wheel, and the commands must not find the checkout.
        shutil.copy(Path("conformance", "tests", "jobs", "typed_readme.py"), folder)
        guides = ROOT / "conformance" / "docs"
        pages = [ROOT / "README.md", guides / "tutorial.md", *sorted((guides / "how-to").glob("*.md"))]
        session.run("python", str(Path(folder, "typed_readme.py")), *map(str, pages), *session.posargs)


@nox.session
def plugin(session: nox.Session) -> None:
    """Run the recipe of backends/README.md with a third-party package, with the suite's wheel installed."""
    recipe = Path("backends", "README.md").read_text(encoding="utf-8").partition("in the folder `acme-compiler`")[2]
    commands = recipe.partition("```sh\n")[2].partition("```")[0].splitlines()
    with tempfile.TemporaryDirectory(prefix="conformance-plugin-") as folder:
        install_wheel(session, folder)
        session.chdir(shutil.copytree(Path("conformance", "tests", "plugin"), Path(folder, "acme-compiler")))
        for command in commands:
            session.run("sh", "-c", command, external=True)
        session.run("python", "-m", "pip", "uninstall", "--yes", "acme-compiler", silent=True)


def install_wheel(session: nox.Session, folder: str) -> None:
    """Build wheel and sdist in a folder, and install the wheel."""
    session.install("build")
    wheel = build_wheel(session, folder)
    install(session, f"{wheel}[cluster,parquet,pytest]")
    # The version stays the same between builds, so pip would keep the wheel of an earlier run.
    session.install("--force-reinstall", "--no-deps", str(wheel))


def build_wheel(session: nox.Session, folder: str) -> Path:
    """Build wheel and sdist in a folder, and inspect the wheel."""
    session.run("python", "-m", "build", "--outdir", folder, silent=True)
    wheel = next(Path(folder).glob("*.whl"))
    check_contents(session, wheel)
    return wheel


def check_contents(session: nox.Session, wheel: Path) -> None:
    """Fail unless the wheel holds every case, expectations file, page and schema of the checkout."""
    homes = {
        "backends": "conformance/backends",
        "cases": "conformance/cases",
        "cases/operations": "conformance/cases/operations",
        "conformance/schemas": None,
    }
    expected = {"conformance/py.typed", "conformance/triage/fuzz/known_failures.json"}
    for folder, home in homes.items():
        data = [path for ending in ("yaml", "json", "md") for path in (ROOT / folder).glob(f"*.{ending}")]
        expected |= {f"{home or folder}/{path.name}" for path in data}
    actual = set(zipfile.ZipFile(wheel).namelist())
    if missing := sorted(expected - actual):
        session.error(f"{wheel.name} lacks {', '.join(missing)}: see [tool.setuptools.package-data] in pyproject.toml")
    if strays := sorted(name for name in actual if "/tests/" in name):
        session.error(f"{wheel.name} holds tests: {', '.join(strays)}")
    session.log(f"{wheel.name} holds all {len(expected)} data files")

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import entry_points, packages_distributions
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conformance.backend import Backend
from conformance.backend.discovery import GROUP
from conformance.catalogue.loader import load_cases
from conformance.model.ladder import LADDER
from conformance.program.build import generate
from conformance.verdict.legend import MEANING, gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES_OF_A_FILE = 400  # without docstrings and empty lines; 300 is what we aim at
LINES_OF_A_FUNCTION = 40
BYTES_OF_A_REQUEST = 1_180


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((checkout / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def sessions(checkout: Path) -> set[str]:
    """The names of the nox sessions, read without nox."""
    text = (checkout / "noxfile.py").read_text()
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    found = set()
    for node in functions:
        for decorator in map(ast.unparse, node.decorator_list):
            if re.match(r"nox\.session\b", decorator):
                named = re.search(r"name='([\w-]+)'", decorator)
                found.add(named[1] if named else node.name)
    return found


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    """README.md."""
    return (checkout / "README.md").read_text()


def sources(checkout: Path) -> Iterator[Path]:
    """Every Python file of the project."""
    for pattern in ("*.py", "backends/*.py", "cases/*.py", "conformance/**/*.py"):
        yield from checkout.glob(pattern)


def pages(checkout: Path) -> list[Path]:
    """The pages that are written by hand, but for those beside the backends, whose commands `nox -s plugin` types."""
    found = [checkout / "README.md", checkout / "cases" / "README.md", checkout / "cases" / "SPEC.md"]
    return [*found, *(checkout / ".github").glob("*.md"), *(checkout / "conformance" / "docs").rglob("*.md")]


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def lines_of_code(path: Path) -> int:
    """Lines that are neither empty nor part of a docstring."""
    text = path.read_text()
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, holders))
    prose = (docstring.count("\n") + 1 for node in nodes if (docstring := ast.get_docstring(node, clean=False)))
    return sum(bool(line.strip()) for line in text.splitlines()) - sum(prose)


def length(function: ast.FunctionDef) -> int:
    """The lines of a function's body, its docstring left out."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    return (function.end_lineno or 0) - first.lineno + 1


def table(text: str, header: str) -> list[list[str]]:
    """The cells of the table of a page whose header line starts as given."""
    lines = text[text.index(header) :].splitlines()
    rows = lines[2 : next((n for n, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def test_the_commands_of_the_readme_are_sessions(checkout: Path, readme: str, sessions: set[str]) -> None:
    """Every command of the README and the guide for contributors exists, and the guide lists all jobs."""
    assert set(re.findall(r"nox -s (\w+)", readme)) >= {"conformance", "tests"}
    guide = (checkout / ".github" / "CONTRIBUTING.md").read_text()
    others = guide.partition("lists the other jobs: ")[2].partition(".\n")[0]
    assert set(re.findall(r"`([\w-]+)`", others)) | {"conformance", "tests"} == sessions


def test_every_command_of_the_documentation_is_run(checkout: Path, sessions: set[str]) -> None:
    """Every command of a page is typed by `nox -s readme` or `nox -s plugin`, installs something, or is a session."""
    guides = checkout / "conformance" / "docs"
    typed = {checkout / "README.md", guides / "tutorial.md", *(guides / "how-to").glob("*.md")}
    for page in pages(checkout):
        text = page.read_text().replace("\n   ", "\n")  # blocks in lists
        assert set(re.findall(r"nox -s \"?([\w-]+)", text)) <= sessions, page
        lines = {line for block in fenced(text, "sh") for line in block.splitlines()}
        others = {line for line in lines if not re.match(r"python(3\.11)? -m (pip|nox|venv) ", line)}
        assert page in typed or others == set(), page


def test_links_of_the_documentation_lead_somewhere(checkout: Path) -> None:
    """A link to a file or folder of the repository, as GitHub follows it."""
    for page in pages(checkout):
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"\]\(([^()\s#]+)", text)
        missing = [path for path in targets if ":" not in path and not (page.parent / path).exists()]
        assert missing == [], page


def test_ci_runs_the_test_command_of_the_readme(checkout: Path, readme: str, sessions: set[str]) -> None:
    """Continuous integration types the README's commands, and names sessions that exist."""
    script = (checkout / ".ci" / "run").read_text()
    command = next(block.strip() for block in fenced(readme, "sh") if block.strip().endswith("nox -s tests"))
    assert command in script
    assert set(" ".join(re.findall(r"nox -s ([\w ]+)", script)).split()) <= sessions


def test_the_workflow_names_sessions(checkout: Path, sessions: set[str]) -> None:
    """The workflow on GitHub runs the same sessions."""
    workflow = yaml.safe_load((checkout / ".github" / "workflows" / "ci.yml").read_text())
    named = [entry.split()[0] for job in workflow["jobs"].values() for entry in job["strategy"]["matrix"]["session"]]
    assert set(named) <= sessions


def test_one_version_of_the_linter(checkout: Path) -> None:
    """A commit hook and continuous integration must not disagree about style."""
    pinned = re.search(r'"ruff==([\d.]+)"', (checkout / "noxfile.py").read_text())
    hooks = yaml.safe_load((checkout / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repo["repo"].rpartition("/")[2]: repo["rev"] for repo in hooks}
    assert pinned is not None
    assert revisions["ruff-pre-commit"] == f"v{pinned[1]}"


@pytest.mark.parametrize("name", LADDER)
def test_an_in_tree_backend_is_declared_as_a_plugin_is(name: str) -> None:
    """Each entry point gives a `Backend` of its own name."""
    (point,) = entry_points(group=GROUP, name=name)
    assert isinstance(found := point.load(), Backend)
    assert found.name == name


@pytest.mark.parametrize(
    "module", ["conformance", "conformance.backend", "conformance.backends.inductor", "conformance.cli.main"]
)
def test_declaring_and_listing_import_no_torch(module: str) -> None:
    """Torch is paid for where something is compiled, and nowhere else."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_package_is_in_the_wheel(checkout: Path, project: dict[str, Any]) -> None:
    """A new folder of the package is listed in pyproject.toml; tests stay out of the wheel."""
    folders = {path.parent for path in (checkout / "conformance").rglob("__init__.py")}
    names = {".".join(folder.relative_to(checkout).parts) for folder in folders}
    shipped = {name for name in names if not name.startswith("conformance.tests")}
    mapped = {"conformance.backends", "conformance.cases"}
    assert set(project["tool"]["setuptools"]["packages"]) == shipped | mapped


def test_every_import_of_the_package_is_declared(checkout: Path, project: dict[str, Any]) -> None:
    """Whoever installs the wheel has all that it imports: by its dependencies, or by an extra for users."""
    declared = [*project["project"]["dependencies"]]
    declared += [
        each for name in ("cluster", "plot", "pytest") for each in project["project"]["optional-dependencies"][name]
    ]
    distributions = {canonicalize_name(Requirement(text).name) for text in declared}
    providers = packages_distributions()
    left_out = {checkout / "conformance" / name for name in ("tests", "docs")}
    for path in (checkout / "conformance").rglob("*.py"):
        if left_out.isdisjoint(path.parents):
            for name in _imported(path) - sys.stdlib_module_names - {"conformance"}:
                assert {canonicalize_name(each) for each in providers[name]} & distributions, f"{path} imports {name}"


def _imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}}


def test_coverage_leaves_out_only_what_runs_in_children(checkout: Path, project: dict[str, Any]) -> None:
    """A module that the parent runs cannot hide from coverage."""
    patterns = project["tool"]["coverage"]["run"]["omit"]
    files = {file for pattern in patterns if not pattern.endswith("/*") for file in checkout.glob(pattern)}
    plain = {path.stem for path in files if not re.search(r"^(import|from) torch\b", path.read_text(), re.MULTILINE)}
    there_when_called = "backend_name child counters in_units probe server torch_names warmup whole_files"
    assert plain == set(there_when_called.split())


def test_nothing_in_the_package_names_a_backend(checkout: Path) -> None:
    """In-tree backends are loaded as any other: no import of them, nor of the top-level folders."""
    for path in (checkout / "conformance").rglob("*.py"):
        found = re.search(r"^\s*(import|from) (backends|cases|conformance\.backends)\b", path.read_text(), re.MULTILINE)
        assert found is None, f"{path}: {found}"


def test_files_are_short(checkout: Path) -> None:
    """A file that has grown too long wants to be two."""
    lengths = {path.relative_to(checkout).as_posix(): lines_of_code(path) for path in sources(checkout)}
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}


def test_functions_are_short(checkout: Path) -> None:
    """A function that has grown too long wants to be two."""
    long = [
        f"{path.relative_to(checkout)}:{node.lineno} {node.name}"
        for path in sources(checkout)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and length(node) > LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_the_records_stay_small(checkout: Path) -> None:
    """Those of the largest committed run stay under 1,180 bytes a request, with its moves and attributions."""
    largest = max((checkout / "results" / "records").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    requests = largest.read_text(encoding="utf-8").count('"kind":"record"')
    assert largest.stat().st_size < BYTES_OF_A_REQUEST * requests


def test_the_readme_explains_the_verdicts_as_the_legend_does(readme: str) -> None:
    """The meaning of a verdict is the same on every page."""
    rows = table(readme, "| verdict |")
    assert rows == [[str(verdict), verdict.mark, meaning, gate(verdict)] for verdict, meaning in MEANING.items()]


def test_the_case_of_the_readme_is_valid(readme: str, tmp_path: Path) -> None:
    """A stranger's first case is copied from the README."""
    (text,) = fenced(readme, "yaml")
    (tmp_path / "demo_doubling.yaml").write_text(text)
    (case,) = load_cases([tmp_path])
    assert len(case.variants) == 5  # the fifth makes moves
    assert "with torch.no_grad():" in generate(case, case.variants[0]).source


def test_the_guide_names_every_field_of_a_backend(checkout: Path) -> None:
    """A field that is not documented might as well not exist."""
    rows = table((checkout / "backends" / "README.md").read_text(), "| field |")
    assert {row[0] for row in rows} == {field.name for field in fields(Backend)}


def test_the_guide_shows_the_package_that_is_tested(checkout: Path) -> None:
    """Its tree, its declaration and its test are, to the letter, those of the package that `nox -s plugin` installs."""
    guide, package = (checkout / "backends" / "README.md").read_text(), checkout / "conformance" / "tests" / "plugin"
    ((first, *paths),) = [re.findall(r"^\S+|(?<=^    )\S+", block, re.MULTILINE) for block in fenced(guide, "")[:1]]
    assert first == "acme-compiler/"
    sources = (path for path in package.rglob("*") if path.suffix in {".py", ".toml", ".yaml"})
    assert set(paths) == {path.relative_to(package).as_posix() for path in sources}
    for block in fenced(guide, "python")[:2]:
        head, _, rest = block.partition("\n")
        assert (package / head.removeprefix("# ")).read_text() == rest
    head, _, rest = fenced(guide, "toml")[0].partition("\n")
    assert head == "# of pyproject.toml"
    assert all(part in (package / "pyproject.toml").read_text() for part in rest.split("\n\n"))

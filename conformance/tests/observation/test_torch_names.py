"""The table of private names of PyTorch, compared with the sources of the suite and the installed torch."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

import conformance
from conformance.isolation.forkserver import ForkServer
from conformance.model.errors import TorchError
from conformance.observation.torch_names import NAMES, Without, find

PACKAGE = Path(conformance.__file__).parent
BACKENDS = Path(str(files("conformance.backends")))
WARM_UP = {"warmup.py"}
"""What it lacks makes children slower, and nothing else."""
OF_TENSORS = ("_base", "_indices", "_values", "_version")
"""Private attributes of tensors, which are used without the name of the class."""
NOT_USES = {
    "draft.py": "a name that programs may call",
    "evidence.py InvalidBackend": "a docstring",
    "exceptions.py": "compared with the module of an exception, which no other has",
    "dissect.py torch._functorch.aot_autograd": "a guard that is not shown",
}


def uses(path: Path) -> set[str]:
    """Private names of torch in a module: imported, as attributes, and in text."""
    text = path.read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and re.search(r"^torch\b.*\._", f"{node.module}"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    body = re.sub(r"^from torch.*$", "", text, flags=re.MULTILINE)
    found |= {match.rstrip(".") for match in re.findall(r"\btorch(?:\.[A-Za-z]\w*)*\._[A-Za-z]\w*(?:\.\w+)*", body)}
    return found | {f"torch.Tensor.{name}" for name in OF_TENSORS if re.search(rf"[\w)}}]\.{name}\b", text)}


def is_excused(path: Path, name: str) -> bool:
    """Whether something in a module looks like a use and is none."""
    words = [excuse.split() for excuse in NOT_USES]
    return any(home == path.name and all(word in name for word in rest) for home, *rest in words)


def home(path: Path) -> str:
    """A module as the table names it."""
    if path.parent == BACKENDS:
        return f"backends/{path.stem}"
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def is_within(name: str, other: str) -> bool:
    """Whether a dotted name is another, or a part of it."""
    return f"{name}.".startswith(f"{other}.")


SOURCES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "tests" not in path.relative_to(PACKAGE).parts and path.name not in {*WARM_UP, "torch_names.py"}
] + sorted(BACKENDS.glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=home)
def test_every_private_name_is_in_the_table(path: Path) -> None:
    """A use of a private name that the table does not list for this module fails."""
    listed = [each.name for each in NAMES if home(path) in each.used_by]
    unlisted = {
        name
        for name in uses(path)
        if not any(is_within(name, known) or is_within(known, name) for known in listed) and not is_excused(path, name)
    }
    assert not unlisted


def test_every_entry_of_the_table_is_used() -> None:
    """An entry for a module that does not use the name is stale."""
    used = {home(path): uses(path) for path in SOURCES}
    texts = {home(path): path.read_text(encoding="utf-8") for path in SOURCES}
    stale = {
        (each.name, module)
        for each in NAMES
        for module in each.used_by
        if not any(is_within(name, each.name) or is_within(each.name, name) for name in used[module])
        or each.name.rpartition(".")[2] not in texts[module]
    }
    assert not stale


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted({each.name for each in NAMES}))
def test_the_installed_torch_has_every_name(name: str) -> None:
    """A release that lacks one is one to look at."""
    assert find(name) is not None


@pytest.mark.torch
@pytest.mark.parametrize("name", ["torch._no_such_module.name", "torch._C._no_such_name", "torch.Tensor._nothing.more"])
def test_what_is_missing_is_not_found(name: str) -> None:
    """A missing module, a missing attribute of an extension module, and what would be behind one."""
    assert find(name) is None


@pytest.mark.torch
def test_a_torch_without_a_needed_name_is_refused() -> None:
    """The error names it and what it is for, and is one of usage: another release serves."""
    with pytest.raises(TorchError) as refused:
        ForkServer({}, "conformance.tests.warmups:without_a_name")
    assert "torch._guards.CompileContext.current_compile_id, which sees what is compiled" in str(refused.value)
    assert refused.value.exit_code == 2


def test_each_entry_has_a_consequence_and_a_purpose() -> None:
    """Both consequences occur, and each entry has a purpose."""
    assert {each.without for each in NAMES} == set(Without)
    assert all(each.purpose for each in NAMES)

"""Two names that must not be confused: `eager` is a backend, and the other program is *uncompiled*."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import click
import pytest

from conformance import schema
from conformance.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# PyTorch's own word for how uncompiled programs run, and whatever can only be the backend: code, cells, lists of names.
_CLEAR = re.compile(
    r"(uncompiled|plain)\s+eager|eager\s+(PyTorch|interpreter)|`[^`\n]*`|\[eager\]\(\S*\)|\|\s*eager\s*(?=\|)"
    r"|--backend eager|(rehearse|backend|# |divergences of) ?eager\b|\beager, pre_dispatch_eager|\beager \d, other \d",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?<![\w.:/@\"'<])eager(?![\w:/\"'-]|\.\w)|\beager's", re.IGNORECASE)


def alone(text: str) -> list[str]:
    """The lines of a text that call something eager which may be the uncompiled program."""
    return [line.strip() for line in _CLEAR.sub("", text).splitlines() if _ALONE.search(line)]


@pytest.mark.parametrize(
    ("text", "is_clear"),
    [
        ("the same as in eager", False),
        ("Eager raises nothing", False),
        ("eager's numbers", False),
        ("ratio to eager", False),
        ("Time what conforms against eager.", False),
        ("| eager raises | 1 |", False),
        ("the same as uncompiled eager", True),
        ("what `eager` does", True),
        ("| eager     | [eager](eager.md) |", True),
        ("conformance run --backend eager", True),
        ("aot_eager gives back", True),
    ],
)
def test_what_is_clear(text: str, *, is_clear: bool) -> None:
    """As a cell, in code and on a command line it is the backend."""
    assert (not alone(text)) is is_clear


def _helps(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield command.get_help(context)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _helps(each, f"{name} {each.name}")


def test_no_help_calls_the_reference_eager() -> None:
    """Neither that of the group nor that of any command."""
    assert [line for text in _helps(main, "conformance") for line in alone(text)] == []


def test_no_schema_calls_the_reference_eager() -> None:
    """Editors show their descriptions."""
    assert [line for text in schema.render().values() for line in alone(text)] == []


@pytest.mark.parametrize(
    "glob",
    [
        "*.md",
        ".github/*.md",
        "cases/*.md",
        "backends/*.md",
        "conformance/docs/**/*.md",
        "conformance/tests/**/__snapshots__/*/*.md",
    ],
)
def test_no_page_calls_the_reference_eager(checkout: Path, glob: str) -> None:
    """Pages written by hand, and those that tests render from records."""
    texts = {
        path: re.sub(r"(?ms)^```(text|python|sh|yaml)?\n.*?^```", "", path.read_text()) for path in checkout.glob(glob)
    }
    assert texts
    assert {path.name: found for path, text in texts.items() if (found := alone(text))} == {}


def test_no_case_or_expectation_calls_the_reference_eager(checkout: Path) -> None:
    """Their titles and reasons are on pages; the words that issues were searched for stay as they were typed."""
    paths = [*checkout.glob("cases/*.yaml"), *checkout.glob("backends/*.expected.yaml")]
    texts = {path: re.sub(r"(?m)^ *issue: .*(\n {4,}.*)*", "", path.read_text()) for path in paths}
    found = {
        path.name: alone(re.sub(r"(?m)^\s*eager = .*|return .*, eager$", "", text)) for path, text in texts.items()
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def _texts(source: str) -> Iterator[str]:
    """The texts of a module, docstrings among them; a name is none."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def test_no_text_of_the_package_calls_the_reference_eager(checkout: Path) -> None:
    """Messages of records, headings, progress, scripts and docstrings: all that is written in the source."""
    paths = [path for path in checkout.glob("conformance/**/*.py") if "tests" not in path.parts]
    texts = ((path.name, text) for path in paths for text in _texts(path.read_text()) if text != "eager")
    assert [(name, line) for name, text in texts for line in alone(text)] == []

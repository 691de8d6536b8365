"""Case files written for a test, loaded or refused."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.loader import load_cases
from conformance.model.errors import CaseError

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.case import Case

__all__ = ["load", "one", "refused"]


def load(folder: Path, **texts: str) -> tuple[Case, ...]:
    """Write each text as <name>.yaml in the folder and load the folder."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text.lstrip("\n"), encoding="utf-8")
    return load_cases([folder])


def refused(folder: Path, **texts: str) -> list[str]:
    """The problems of the texts, with paths relative to the folder."""
    with pytest.raises(CaseError) as caught:
        load(folder, **texts)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def one(lines: str) -> str:
    """A file of one case with other lines in place of its inputs."""
    head = "topic: Demonstration\ncases:\n  - id: demo.one\n    title: doubles\n"
    return head + indent(dedent(lines).lstrip("\n"), "    ")

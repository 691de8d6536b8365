"""`conformance check` for tests: what it prints, and the rows of its table."""

from __future__ import annotations

import os

from click.testing import CliRunner

from conformance.cli import main

__all__ = ["cells", "checked"]


def checked(*words: str) -> tuple[int, str]:
    """Exit code and output of `conformance check`, whose records are kept only where that is among the words."""
    kept = () if "--records" in words else ("--records", os.devnull)
    result = CliRunner().invoke(main, ["check", *words, *kept])
    return result.exit_code, result.output


def cells(output: str) -> dict[str, list[str]]:
    """The rows of the table."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line[:1].isalpha()}

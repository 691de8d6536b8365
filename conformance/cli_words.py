"""What the commands of `conformance` have in common: kinds of arguments, and words of their help."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["COMMAND", "EXIT_CODES", "FILE", "FOLDER", "PATH", "RECORDS", "examples"]

COMMAND = "conformance.command"
"""Where a context keeps the words of the command line, for the command that resumes an interrupted run."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(exists=True, path_type=Path)
RECORDS = click.Path(dir_okay=False, path_type=Path)


def examples(*lines: str) -> str:
    """Command lines as a paragraph of a help text."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


EXIT_CODES = """\b
Exit codes:
  0  conforming: nothing red
  1  findings: a red verdict, a stale expectation, a page or file that needs work
  2  usage: an option, a case file or an expectations file is wrong, or torch is missing or too old
  3  harness fault: the suite itself or the machine failed
  130  interrupted; the record file can be resumed
  143  ended by SIGTERM; the record file can be resumed"""

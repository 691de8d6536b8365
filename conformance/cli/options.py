"""What the commands of `conformance` share: kinds of arguments, options, and parts of help texts."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli.types import BACKEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "COMMAND",
    "EXIT_CODES",
    "FILE",
    "PATH",
    "RECORDS",
    "backends",
    "examples",
    "notices",
    "quiet",
    "refuse_unmatched",
    "verbose",
]

COMMAND = "conformance.command"
"""The key of the command line's words in a context, for the command that resumes an interrupted run."""

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PATH = click.Path(exists=True, path_type=Path)
RECORDS = click.Path(dir_okay=False, path_type=Path)


_LOG = logging.getLogger("conformance")


class _Notices(logging.Handler):
    """Prints what the package logs on stderr, where it keeps out of results."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        click.echo(self.format(record), err=True)


@contextmanager
def notices() -> Iterator[None]:
    """Within, what takes long is announced as it begins, unless the command is quiet."""
    handler, before = _Notices(), _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.setLevel(before)
        _LOG.removeHandler(handler)


def _hush(_ctx: click.Context, _option: click.Parameter, is_set: bool) -> bool:
    if is_set:
        _LOG.setLevel(logging.WARNING)
    return is_set


def backends(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--backend`, of which there may be several, with its help text."""
    return click.option("--backend", "backends", multiple=True, type=BACKEND, metavar="BACKEND", help=text)


def records_of_runs(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--records` of a command that reads runs, as `given`."""
    text = "A record file, or a folder of them. Repeatable; default: the last run in this folder, else results/records."
    return click.option("--records", "given", multiple=True, type=PATH, help=text)(command)


def quiet(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--quiet`, with its help text."""
    return click.option("--quiet", "-q", is_flag=True, callback=_hush, help=text)


def refuse_unmatched(
    folders: Sequence[Path],
    *,
    case_globs: Sequence[str],
    variants: Sequence[str],
    tags: Sequence[str],
    exclude_tags: Sequence[str] = (),
) -> None:
    """Refuse a selection of cases that matches nothing, before anything slow is imported or started.

    Args:
        folders: of case files, beyond what is installed.
        case_globs: as for `conformance.catalogue.selection.select`; so are the others.
        variants: of the cases.
        tags: of which a case has one.
        exclude_tags: of which it has none.

    Raises:
        ConformanceError: something matches nothing, or the cases cannot be read.
    """
    from conformance.catalogue.selection import select
    from conformance.catalogue.sources import collect

    select(collect(folders), (), case_globs=case_globs, variants=variants, tags=tags, exclude_tags=exclude_tags)


verbose = click.option("--verbose", "-v", is_flag=True, help="Print each red verdict in full as it comes.")


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

"""The command `conformance site`: records as a static site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli.options import examples, records_of_runs
from conformance.cli.suggestions import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["site"]


@click.command(
    "site",
    cls=Command,
    short_help="Make a static site of records: search, compare, link.",
    epilog=examples(
        "conformance site                                    of the last run, in the folder site",
        "conformance site --records results/records --output public       of every release in a folder of records",
    ),
)
@records_of_runs
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("site"), show_default=True, help="The folder of the site."
)
@click.option(
    "--scripts/--no-scripts",
    "with_scripts",
    default=True,
    show_default=True,
    help="With what does not conform, a script that shows it; torch is started for it.",
)
def site(*, given: Sequence[Path], output: Path, with_scripts: bool) -> None:
    """Make a static site of record files: it needs no server, opens from a file, and loads nothing from elsewhere.

    Timings among the files are shown too; each backend of whole runs gets a statement and badges of its levels. What an
    earlier build wrote in the folder is replaced; a file of something else is never overwritten.
    """
    from conformance.cli.report import found
    from conformance.site import build
    from conformance.site.scripts import compilers

    built = build.site(given or found(check=False), output, compilers if with_scripts else None)
    click.echo(f"{output / 'index.html'}: {built.records:,} records, {built.files} files, {built.size / 1e6:.1f} MB")

"""The command `conformance report`: records as pages for people, and in the formats that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli.options import examples, records_of_runs
from conformance.cli.suggestions import Command
from conformance.records.kept import PUBLISHED, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["found", "report"]

_STDOUT = Path("-")
_OUTPUTS = {
    "markdown": Path("conformance-report"),
    "html": Path("conformance-report.html"),
    "text": _STDOUT,
    "parquet": Path("conformance-records.parquet"),
    "junit": Path("conformance-junit.xml"),
    "sarif": Path("conformance.sarif"),
    "relay": _STDOUT,
}
_FORMATS = """\
A folder of pages; one HTML file that needs no other; text for a terminal; the table of records; JUnit XML; SARIF for\
 code scanning; the counts that PyTorch's Cross-Repository CI Relay takes."""


@click.command(
    "report",
    cls=Command,
    short_help="Make a report of records: markdown, HTML, text, SARIF, ...",
    epilog=examples(
        "conformance report --format text                  the last run, here",
        "conformance report --format html                  as one file, conformance-report.html",
        "conformance report --records mine.jsonl --output /tmp/pages      a folder of markdown pages",
        "conformance report --output - > report.md         one markdown text",
        "conformance report --records results/records --output results --check      in CI: fail if the committed pages"
        " are not what the records give",
    ),
)
@records_of_runs
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_OUTPUTS)),
    default="markdown",
    show_default=True,
    help=_FORMATS,
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Output folder or file, - for stdout; default: results for results/records as markdown, else the folder"
    " conformance-report, a file that is called after the format, and stdout for text and relay.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a markdown page would change.")
@click.pass_context
def report(ctx: click.Context, /, *, given: Sequence[Path], form: str, output: Path | None, check: bool) -> None:
    """Make a report of record files: an overview, and a page for each backend.

    For a partial run it states what was run and what was not. A folder of pages with a folder `records` in it is
    published: a partial run is not written there.

    In a folder of records, those of a release of torch may be in a folder named after it, such as 2.14.1+cu130: the
    pages are then of the newest, and one more page shows what changed between releases.
    """
    from conformance.model.errors import UsageError
    from conformance.report import pages as reporting

    records = given or found(check=check)
    target = output or _target(records, form)
    if form == "markdown" and target != _STDOUT:
        if target.is_file():
            message = f"{target} is a file, and markdown pages are written into a folder; see --output and --format"
            raise UsageError(message)
        touched = list(reporting.changes(records, target)) if check else reporting.write(records, target)
        verb = "differs from its records" if check else "written"
        click.echo("\n".join(f"{path}: {verb}" for path in touched) or _NOTHING)
        ctx.exit(1 if check and touched else 0)
    if check:
        message = "--check is for a folder of markdown pages"
        raise UsageError(message)
    if form == "parquet":
        from conformance.records import frame, parquet

        if target == _STDOUT or target.is_dir():
            message = "a table is written to a file: --output records.parquet"
            raise UsageError(message)
        parquet.write(frame.load(*records), target)
        click.echo(f"{target}: written")
        return
    _deliver(_text(records, form), target)


_NOTHING = "nothing to do: the pages are what the records give"


def found(*, check: bool) -> tuple[Path, ...]:
    """The records to use where none are named; with `--check`, the published ones."""
    from conformance.model.errors import UsageError
    from conformance.records import kept

    if not check and kept.last(Kind.RUN).exists():
        place = kept.last_run()
    elif PUBLISHED.exists():
        place = PUBLISHED
    else:
        ran = "" if check else f"no run below {kept.FOLDER}, and "
        message = f"{ran}no {PUBLISHED} in this folder; --records names others"
        raise UsageError(message)
    click.echo(f"records: {place}", err=True)
    return (place,)


def _target(records: Sequence[Path], form: str) -> Path:
    return PUBLISHED.parent if form == "markdown" and list(records) == [PUBLISHED] else _OUTPUTS[form]


def _text(records: Sequence[Path], form: str) -> str:
    """The whole report as one text."""
    if form in {"junit", "sarif", "relay"}:
        return _for_programs(records, form)
    from conformance.report import pages as reporting
    from conformance.report import terminal
    from conformance.report.formats import as_html, as_text

    # Nothing is written there; paths on the pages are relative to its parent.
    text = reporting.document(records, _OUTPUTS["markdown"])
    if form == "html":
        return as_html(text, reporting.images(records, _OUTPUTS["markdown"]))
    return text if form == "markdown" else as_text(text, terminal.width())


def _for_programs(records: Sequence[Path], form: str) -> str:
    from conformance.report import ci
    from conformance.report.runs import gathered

    every = [record for _, run in gathered(records).tables for record in run.records]
    if form != "sarif":
        return ci.junit(every) if form == "junit" else f"{ci.relay(every)}\n"
    from importlib.metadata import version

    from conformance.catalogue import sources
    from conformance.report.sarif import sarif

    places = {case.id: case.location for case in sources.collect()}
    return sarif(every, places, version("torch-compile-conformance"))


def _deliver(text: str, target: Path) -> None:
    from conformance.model.errors import UsageError
    from conformance.records.jsonl import as_record_error

    if target.is_dir():
        message = f"{target} is a folder, and this report is one file; see --output and --format"
        raise UsageError(message)
    if target == _STDOUT:
        click.echo(text, nl=False)
        return
    with as_record_error(f"cannot write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    click.echo(f"{target}: written")

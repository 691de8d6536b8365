"""The commands `conformance statement` and `conformance verify`: what a backend conforms to, and whether that holds."""

from __future__ import annotations

import json
import random
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli.options import FILE, examples
from conformance.cli.suggestions import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS"]

_PLACE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "statement",
    cls=Command,
    short_help="State what a backend conforms to, in a file that can be verified.",
    epilog=examples(
        "conformance statement --backend mine > mine.statement.json",
        "conformance statement --backend mine --records run.jsonl --badge mine.json --svg mine.svg",
    ),
)
@click.option("--backend", required=True, help="The name that it has in the records.")
@click.option("--records", type=FILE, help="The records of a whole run; default: the last run in this folder.")
@click.option("--output", type=_PLACE, help="Where the statement is written; default: stdout.")
@click.option("--badge", type=_PLACE, help="Write what shields.io takes for an endpoint badge.")
@click.option("--svg", type=_PLACE, help="Write the badge as a picture.")
def _statement(
    *, backend: str, records: Path | None, output: Path | None, badge: Path | None, svg: Path | None
) -> None:
    """State which levels of the specification a backend reaches, by the records of a whole run."""
    from conformance.records import kept
    from conformance.report import statement

    made = statement.make(records or kept.last_run(), backend)
    if output:
        _write(output, statement.text(made))
    else:
        click.echo(statement.text(made), nl=False)
    if badge:
        _write(badge, json.dumps(statement.badge(made)) + "\n")
    if svg:
        _write(svg, statement.svg(statement.badge(made)))


@click.command(
    "verify",
    cls=Command,
    short_help="Hold a statement against records, and a sample of these against this machine.",
    epilog=examples(
        "conformance verify mine.statement.json run.jsonl",
        "conformance verify mine.statement.json run.jsonl --rerun 20",
    ),
)
@click.argument("path", metavar="STATEMENT", type=FILE)
@click.argument("records", metavar="RECORDS", type=FILE)
@click.option("--rerun", type=click.IntRange(min=0), default=0, help="How many records to run again here.")
@click.option("--seed", type=int, help="Of the sample; default: another one each time, which is printed.")
@click.pass_context
def _verify(ctx: click.Context, /, *, path: Path, records: Path, rerun: int, seed: int | None) -> None:
    """Compute a statement again from records, and run a sample of them again; exit 1 where something differs."""
    from conformance.report import statement

    stated = statement.read(path)
    problems = statement.disagreements(stated, records)
    drawn = seed if seed is not None else secrets.randbelow(1 << 32)
    again = min(rerun, stated["records"])
    problems += _differing(stated, records, again, drawn) if again else []
    sample = f"; {again} of its requests, run again, do as recorded (--seed {drawn})" if again else ""
    click.echo("\n".join(problems) or f"{path} holds{sample}.")
    ctx.exit(1 if problems else 0)


def _differing(stated: Mapping[str, Any], path: Path, count: int, seed: int) -> list[str]:
    """The requests of a sample that do otherwise when they are run again."""
    from conformance.records import record_file
    from conformance.triage import lookup

    run = record_file.read(path)
    of_backend = [record for record in run.records if record.backend == stated["backend"]]
    found = []
    for record in random.Random(seed).sample(of_backend, min(count, len(of_backend))):  # noqa: S311 - made of the seed
        request = lookup.with_installed_backend(lookup.request(record, run))
        again = lookup.rerun(request).record
        if again.outcome is not record.outcome:
            name = f"{record.backend}/{record.case_id}/{record.variant}"
            found.append(f"{name}: recorded {record.outcome}, run again here {again.outcome}: {again.message}")
    return found


def _write(path: Path, text: str) -> None:
    from conformance.records.jsonl import as_record_error

    with as_record_error(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


COMMANDS = (_statement, _verify)

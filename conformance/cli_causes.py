"""The commands of `conformance` that lead from a function or a red cell to the cause."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from conformance.cli_words import EXIT_CODES, FOLDER, PATH, examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model import Record

__all__ = ["COMMANDS"]


record_argument = click.argument("name", metavar="BACKEND/CASE[/VARIANT]")


def record_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the record and its case are found."""
    where = click.option(
        "--records",
        "places",
        multiple=True,
        type=PATH,
        help="A record file, or a folder. Repeatable; default: conformance-records.jsonl, else results/records.",
    )
    cases = click.option("--cases", "folders", multiple=True, type=FOLDER, help="A further folder of case files.")
    return where(cases(command))


@click.command(
    "check",
    short_help="Does your own function do compiled what it does in eager?",
    epilog="\n\n".join(
        [
            examples(
                "conformance check model.py:loss                     inputs come from inputs() in model.py",
                "conformance check model.py:loss --input 'x=float32[4,8],requires_grad' --input 'scale=0.5'",
                "conformance check model.py:Net                      an nn.Module, and inputs() for its forward",
                "conformance check mylib.steps:train_step --backend inductor --backend mine.py:mine",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.argument("ref", metavar="FILE.py:FUNCTION")
@click.option("--backend", "backends", multiple=True, metavar="BACKEND", help="As for `conformance run`. Repeatable.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=INPUT",
    help="An argument: float32[4,4],requires_grad is a tensor, a number a number. Repeatable; default: what the"
    " function inputs() beside yours returns, or what @conformance.case says.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of inputs and cotangents.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds for each backend.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@click.pass_context
def check(ctx: click.Context, /, *, inputs: Sequence[str], quiet: bool, **options: object) -> None:
    """Run a function of yours, which may be any Python, on backends, with all checks, and print one table.

    Its file is run, in processes of its own: once for each backend and a few times in eager.
    """
    from conformance.usercheck import CheckOptions, run, text

    given = dict(_pair(text) for text in inputs)
    with ExitStack() as stack:
        found = run(CheckOptions(inputs=given, **options), _bar(stack, quiet=quiet))  # type: ignore[arg-type]
    click.echo(text(found))
    ctx.exit(0 if all(record.verdict.is_green for record in found) else 1)


@click.command(
    "explain",
    short_help="From a red cell to its cause.",
    epilog="\n\n".join(
        [
            examples(
                "conformance explain inductor/aliasing.views.slice_of_slice",
                "conformance explain 'mine / my.own.case / grad=enabled' --records mine.jsonl --cases my_cases",
            ),
            EXIT_CODES,
        ]
    ),
)
@record_argument
@record_options
def explain(name: str, places: Sequence[Path], folders: Sequence[Path]) -> None:
    """Run one recorded failure again and print what it takes to see its cause.

    The program with the line that differs, eager's and the backend's observation side by side, the first rung of
    eager, pre_dispatch_eager, aot_eager, aot_eager_decomp_partition, inductor that differs, the captured graphs with
    the first node that differs, graph breaks, guards, and the clauses of the specification.
    """
    from conformance import explain as explaining

    click.echo(explaining.text(explaining.explain(name, places, folders)))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        message = f"{text!r} is not of the form name=float32[4,4],requires_grad"
        raise click.BadParameter(message, param_hint="--input")
    return name.strip(), value


def _bar(stack: ExitStack, *, quiet: bool) -> Callable[[int, Record], None]:
    """A progress bar that begins with the first record, when it is known how many there will be."""
    from conformance.progress import progress

    advance: list[Callable[[Record], None]] = []

    def told(total: int, record: Record) -> None:
        if not advance:
            advance.append(stack.enter_context(progress(total, quiet=quiet)))
        advance[0](record)

    return told


COMMANDS = (check, explain)

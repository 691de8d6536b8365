"""The commands of `conformance` that time backends and compare runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from conformance.cli.cluster import cluster_options, scheduler_of
from conformance.cli.options import COMMAND, EXIT_CODES, RECORDS, examples, refuse_unmatched
from conformance.cli.options import backends as backends_option
from conformance.cli.options import quiet as quiet_option
from conformance.cli.suggestions import Command
from conformance.cli.types import CASES, RUN
from conformance.model.enums import TIMING_TAG
from conformance.timing.model import GATES, SMALLEST_EFFECT, Effort

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS"]


@click.command(
    "bench",
    cls=Command,
    short_help="Time what conforms against uncompiled.",
    epilog="\n\n".join(
        [
            examples(
                "conformance bench                                     the cases tagged `timing`, every backend",
                "conformance bench --backend inductor --case 'training.steps.*' --budget 5",
                "conformance bench --backend mine.py:mine --case training.steps.mlp --callgrind",
                "conformance bench --resume                            what an interrupted run has left to do",
                "conformance bench --scheduler tcp://host:8786         on a cluster, a request on each machine",
                "conformance report --records .conformance/last-bench.jsonl --output pages",
            ),
            EXIT_CODES,
        ]
    ),
)
@backends_option("As for `conformance run`. Repeatable.")
@click.option(
    "--case",
    "case_globs",
    multiple=True,
    metavar="GLOB",
    help="Only cases whose id matches, whatever their tags; default: those tagged `timing`. Repeatable.",
)
@click.option("--variant", "variants", multiple=True, metavar="AXIS=VALUE,...", help="As for `conformance run`.")
@click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files. Repeatable.")
@click.option(
    "--budget",
    "budget_s",
    type=click.FloatRange(min=0, min_open=True),
    default=Effort.budget_s,
    show_default=True,
    help="Seconds for each phase of a request at most.",
)
@click.option(
    "--precision",
    type=click.FloatRange(min=0),
    default=Effort.precision,
    show_default=True,
    help="Stop a phase when half the width of its ratio's interval is below this share.",
)
@click.option(
    "--smallest",
    type=click.FloatRange(min=0),
    default=SMALLEST_EFFECT,
    show_default=True,
    help="The smallest effect that counts as faster or slower, as a share.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of kernels.")
@click.option(
    "--compiles",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="How often compiling is timed, cold and warm; 0: never.",
)
@click.option("--callgrind", is_flag=True, help="Count instructions too, if valgrind is installed: takes minutes each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of inputs and cotangents.")
@click.option(
    "--records",
    type=RECORDS,
    help="Where timings are written, one line each, as they come; an existing file is replaced. Default: a new file in"
    " .conformance, to which .conformance/last-bench.jsonl links.",
)
@click.option("--resume", is_flag=True, help="Continue the last timing run, or the file that --records names.")
@cluster_options
@quiet_option("No progress, and only the last line of the summary.")
@click.pass_context
def bench(ctx: click.Context, /, *, quiet: bool, **options: Any) -> None:  # noqa: ANN401
    """Time each phase of what conforms in blocks that alternate with uncompiled ones, and give the ratio and interval.

    First, each request is shown to conform, and uncompiled calls are timed against themselves: where those spread
    wider than the smallest effect that counts, nothing is called faster or slower. On a cluster each machine times one
    request at a time.
    """
    options["scheduler"] = scheduler_of(options)
    tags = () if options["case_globs"] else (TIMING_TAG,)
    refuse_unmatched(options["folders"], case_globs=options["case_globs"], variants=options["variants"], tags=tags)

    from conformance.timing.bench import BenchOptions, prepare

    ready = prepare(BenchOptions(**options), partial(click.echo, err=True))

    from conformance.cli.progress import steps
    from conformance.report import bench_summary

    if ready.resumed and not quiet:
        click.echo(ready.resumed, err=True)
    with steps(ready.steps, quiet=quiet) as advance:
        result = ready.execute(advance)
    click.echo(bench_summary.text(result, quiet=quiet, command=ctx.find_root().meta[COMMAND]))
    ctx.exit(result.exit_code)


@click.command(
    "compare",
    short_help="Compare two runs.",
    epilog="\n\n".join(
        [
            examples(
                "conformance compare main.jsonl branch.jsonl               two commits",
                "conformance compare results/records/2.13.0+cpu results/records/2.14.1+cu130   two releases of torch",
                "conformance compare run.jsonl@aot_eager run.jsonl@inductor  two backends of one run",
                "conformance compare old.jsonl new.jsonl --gate timing       only what is slower exits with 1",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.argument("before", type=RUN)
@click.argument("after", type=RUN)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=click.Choice(GATES),
    default=GATES,
    help="What exits with 1: new failures, slower timings, higher counts. Repeatable; default: all.",
)
@click.pass_context
def compare(ctx: click.Context, *, before: str, after: str, gates: Sequence[str]) -> None:
    """Print, as markdown, what differs between two runs, of records or of timings, or folders of both.

    They are matched by case, variant and phase, and by backend unless each run is of one. Outcomes are compared,
    not expectations. Of folders named after releases of torch in a folder, the newest counts.
    """
    from conformance.report import diff

    found = diff.compare(diff.load(before), diff.load(after))
    click.echo(found.markdown(), nl=False)
    ctx.exit(1 if found.red(gates) else 0)


COMMANDS = (bench, compare)

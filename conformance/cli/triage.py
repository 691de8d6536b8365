"""The commands of `conformance` that lead from a function or a red cell to the cause."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli.cluster import cluster_options, scheduler_of
from conformance.cli.options import EXIT_CODES, FILE, PATH, RECORDS, examples
from conformance.cli.options import backends as backends_option
from conformance.cli.options import quiet as quiet_option
from conformance.cli.options import verbose as verbose_option
from conformance.cli.suggestions import Command
from conformance.cli.types import BACKEND, CASES, DURATION, FUNCTION, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.model.result import Record
    from conformance.timing.bench import Bench
    from conformance.triage.lookup import Found

__all__ = ["COMMANDS", "attributed"]


_FUZZ_S = 60.0


record_argument = click.argument("name", type=RECORD, metavar="BACKEND/CASE[/VARIANT]")


def record_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the record and its case are found."""
    where = click.option(
        "--records",
        "places",
        multiple=True,
        type=PATH,
        help="A record file, or a folder. Repeatable; default: the last check or run here that has the name, else"
        " results/records.",
    )
    cases = click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files.")
    return where(cases(command))


_DECLARED = ("input", "dynamic", "call", "requires", "raises", "check", "tolerance", "moves")
"""Options of `check` that describe the function."""


def _of_function(name: str, metavar: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that describes a function, kept as it was typed."""
    return click.option(f"--{name}", name, multiple=True, metavar=metavar, help=text)


@click.command(
    "check",
    short_help="Does your own function do compiled what it does uncompiled?",
    epilog="\n\n".join(
        [
            examples(
                "conformance check model.py:loss                     inputs come from inputs() in model.py",
                "conformance check model.py:loss --input 'x=float32[4,8],requires_grad' --input 'scale=0.5'",
                "conformance check model.py:Net                      an nn.Module, and inputs() for its forward",
                "conformance check mylib.steps:train_step --backend inductor --backend mine.py:mine",
                "conformance check model.py:loss --call '{}' --call '{grad: disabled}' --dynamic true",
                "conformance explain inductor/user.loss              and repro, shrink: from a red cell to its cause",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.argument("ref", type=FUNCTION, metavar="FILE.py:FUNCTION")
@backends_option(
    "As for `conformance run`. Repeatable; default: every installed one but pre_dispatch_eager, which is for debugging."
)
@_of_function(
    "input",
    "NAME=INPUT",
    "An argument: float32[4,4],requires_grad is a tensor, a number a number. Repeatable; default: what the function"
    " inputs() beside yours returns.",
)
@_of_function("dynamic", "auto|true|false", "What torch.compile(dynamic=...) is given. Repeatable; default: auto.")
@_of_function("call", "CALL", "One call of a sequence, such as '{grad: disabled}'. Repeatable; default: two calls.")
@_of_function("requires", "CAPABILITY", "A capability that a backend must claim to be run. Repeatable.")
@_of_function("raises", "[backward:]TYPE", "The exception that the uncompiled function must raise.")
@_of_function("check", "NAME", "A check to request, or to raise to MUST; see `list --checks`. Repeatable.")
@_of_function("tolerance", "DTYPE=NUMBER", "The relative error that is allowed of a dtype. Repeatable.")
@_of_function("moves", "NAME", "What the caller does besides calling; or none, usual (the default), all. Repeatable.")
@click.option("--expectations", type=FILE, help="Known failures of the one backend that runs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of inputs and cotangents.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds each backend may compute or sleep.",
)
@click.option(
    "--records",
    type=RECORDS,
    help="Where results are written; an existing file is replaced. Default: a new file in .conformance, to which"
    " .conformance/last-check.jsonl links.",
)
@click.option("--timing", is_flag=True, help="Time what conforms against uncompiled too, as `conformance bench` does.")
@click.option("--json", "as_json", is_flag=True, help="Print the records, as they are in the file, and no table.")
@verbose_option
@quiet_option("No progress.")
@click.pass_context
def check(ctx: click.Context, /, *, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> None:  # noqa: ANN401
    """Run a function of yours, which may be any Python, on backends, with all checks, and print one table.

    Its file is run, in processes of its own: once for each backend and a few times uncompiled. Options that
    describe the function override those of @conformance.case, which have the same names.
    """
    from conformance.catalogue.user_function import refuse_malformed

    declared = {name: texts for name in _DECLARED if (texts := options.pop(name))}
    refuse_malformed(declared)

    from conformance.triage import check as triage_check

    check_options = triage_check.CheckOptions(said=declared, **options)
    with ExitStack() as stack:
        checked = triage_check.run(check_options, _bar(stack, quiet=quiet, verbose=verbose))
    timing = triage_check.timing(checked, check_options)
    if as_json:
        click.echo(checked.path.read_text(encoding="utf-8"), nl=False)
    else:
        click.echo(triage_check.text(checked.records, checked.path))
    if timing is not None:
        click.echo(_timed(timing, quiet=quiet or as_json), err=as_json)
    ctx.exit(checked.exit_code)


def _timed(timing: Bench, *, quiet: bool) -> str:
    """Time what conforms; return what to print."""
    from conformance.cli.progress import steps
    from conformance.report import bench_summary

    with steps(timing.steps, quiet=quiet) as advance:
        result = timing.execute(advance)
    return f"\n{bench_summary.text(result, quiet=quiet, command=())}"


@click.command(
    "explain",
    short_help="From a red cell to its cause.",
    epilog="\n\n".join(
        [
            examples(
                "conformance explain inductor/aliasing.views.view_from_no_grad",
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

    The program with the line that differs, what was observed uncompiled and on the backend, the first of the rungs
    eager, pre_dispatch_eager, aot_eager, aot_eager_decomp_partition, inductor that differs, the captured graphs with
    the first node that differs, graph breaks, guards, and the clauses of the specification.
    """
    from conformance.triage.explain import command as explaining

    explained = explaining.explain(name, places, folders)
    _print_source(explained.found)
    click.echo(explaining.text(explained))


@click.command(
    "attribute",
    short_help="Whose fault failures are: run controls and note what they show.",
    epilog="\n\n".join(
        [
            examples(
                "conformance attribute                            the failures of the last run here",
                "conformance attribute --records mine.jsonl       those of a file, which is rewritten",
                "conformance run --backend mine --attribute       as part of a run",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.option(
    "--records", "path", type=FILE, help="A record file, which is rewritten; default: the last run in this folder."
)
@click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files. Repeatable.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="How many failures at a time; default: one for each CPU."
)
@quiet_option("No progress.")
def attribute(path: Path | None, folders: Sequence[Path], jobs: int | None, quiet: bool) -> None:
    """Attribute the failures of a run, expected ones too, and write the attributions into its records.

    Each failure is held against controls: the same request on the rung below, without modes, without backward, and
    with the operations run uncompiled. Its attribution is `inherited`, `harness` (memory of results is used again, or
    something else did the work), `mode`, `backward` or `base`; `undecided` where a control cannot be judged. No
    request that passed is run again, and controls that run alike are run once. Failures that have an attribution keep
    it, so that the command can be interrupted and started again.

    The records must be of the versions of torch and of backends that are installed. If they are of another machine,
    each failure is run here first, and is undecided if it does not show.
    """
    from conformance.records.kept import last_run

    click.echo(attributed(path or last_run(), folders=folders, jobs=jobs, quiet=quiet))


def attributed(path: Path, *, folders: Sequence[Path], jobs: int | None, quiet: bool) -> str:
    """Attribute the failures of a record file; return what to print."""
    from conformance.cli.progress import steps
    from conformance.triage.attribution import command as attributing

    ready = attributing.prepare(path, jobs=jobs, folders=folders)
    with steps(len(ready.failures), quiet=quiet) as advance:
        return ready.execute(advance).text


@click.command(
    "repro",
    short_help="A stand-alone script that shows one failure.",
    epilog="\n\n".join(
        [
            examples(
                "conformance repro inductor/mutation.views.shared_after_apart > repro.py && python repro.py",
                "conformance repro aot_eager/autocast.lists.inference_inside --issue > report.md",
            ),
            EXIT_CODES,
        ]
    ),
)
@record_argument
@record_options
@click.option("--issue", is_flag=True, help="Print a filled-in PyTorch bug report with the script in it.")
@click.pass_context
def repro(ctx: click.Context, /, name: str, places: Sequence[Path], folders: Sequence[Path], *, issue: bool) -> None:
    """Print a script that imports torch alone and asserts the one observable that differs.

    It exits with 1 where the divergence is there, with 0 where it is not. It is run once before it is printed; if it
    does not show the divergence, this is reported and the command exits with 1.
    """
    from dataclasses import replace

    from conformance.triage.lookup import find, with_installed_backend
    from conformance.triage.repro import bug_report, running, script

    found = find(name, places, folders)
    found = replace(found, request=with_installed_backend(found.request))
    _print_source(found)
    text = script.render_script(found, script.compiler(found.request.backend))
    click.echo(bug_report.of(found, text, bug_report.environment()) if issue else text, nl=False)
    _exit_unless_shown(ctx, name, running.unshown(text, found.record.outcome, found.request.timeout_s))


@click.command(
    "fuzz",
    cls=Command,
    short_help="Draw random programs, and find where a backend differs from uncompiled.",
    epilog="\n\n".join(
        [
            examples(
                "conformance fuzz --backend inductor --budget 10m --seed 1",
                "conformance fuzz --backend mine.py:mine --programs 1000 --output found",
                "conformance run --backend mine.py:mine --cases found    what was found, as cases",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.option("--backend", required=True, type=BACKEND, metavar="BACKEND", help="As for `conformance run`.")
@click.option(
    "--budget",
    "budget_s",
    type=DURATION,
    metavar="10m",
    help="Total wall time, once torch has started: seconds, or 90s, 10m, 1h; default: 60s.",
)
@click.option("--programs", type=click.IntRange(min=1), metavar="N", help="About how many programs.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed draws the same programs, as long as these have the same results.",
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Batches at a time; default: one for each CPU.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Seconds for each program.")
@click.option(
    "--known",
    multiple=True,
    type=PATH,
    help="Records of failures that are known already. Repeatable; default: the published ones, in this package.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("conformance-fuzz"),
    show_default=True,
    help="The folder of findings; a run that is in it already is continued.",
)
@cluster_options
@click.option("--verbose", "-v", is_flag=True, help="Print what was drawn, and the known findings, first.")
@quiet_option("No progress.")
@click.pass_context
def fuzz(ctx: click.Context, /, *, known: Sequence[Path], verbose: bool, quiet: bool, **options: Any) -> None:  # noqa: ANN401
    """Draw programs at random from the grammar of cases, run them with all checks, and shrink what differs.

    Findings are distinguished by what differs, the first of PyTorch's own backends that shows it, and the nest of
    modes; each is a YAML file in the output folder with its stand-alone script, which was run to confirm it, beside
    `report.md` and the state from which the run can be continued.

    The budget is wall time for drawing, running, shrinking and confirming; starting torch comes before it. On a cluster
    its workers run and shrink the programs; what is found is confirmed on this machine.
    """
    scheduler = scheduler_of(options)

    from conformance.cli.progress import steps
    from conformance.triage.fuzz import command as fuzz_command
    from conformance.triage.fuzz.result import Options

    if options["budget_s"] is None and options["programs"] is None:
        options["budget_s"] = _FUZZ_S
    ready = fuzz_command.prepare(Options(**options), known, scheduler, partial(click.echo, err=True))
    with steps(ready.steps, quiet=quiet) as advance:
        result = ready.execute(advance)
    click.echo("\n\n".join([*([result.statistics] if verbose else []), result.text]))
    ctx.exit(result.exit_code)


@click.command(
    "shrink",
    short_help="The smallest case that still shows a failure.",
    epilog="\n\n".join(
        [
            examples(
                "conformance shrink aot_eager/autocast.lists.inference_inside",
                "conformance shrink grad_mode.nesting.enable_in_no_grad --backend mine.py:mine --output smaller",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.argument("name", metavar="BACKEND/CASE[/VARIANT]|CASE")
@record_options
@click.option("--backend", type=BACKEND, metavar="BACKEND", help="Run CASE on it first: no record is needed.")
@click.option("--variant", default="", metavar="AXIS=VALUE,...", help="Variant to run; default: the first.")
@click.option("--budget", type=click.IntRange(min=1), default=400, show_default=True, help="Attempts at most.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=1, show_default=True, help="Attempts at a time.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="A folder for the case and the script."
)
@quiet_option("No progress.")
@click.pass_context
def shrink(
    ctx: click.Context,
    /,
    name: str,
    *,
    places: Sequence[Path],
    folders: Sequence[Path],
    backend: str | None,
    variant: str,
    budget: int,
    jobs: int,
    output: Path | None,
    quiet: bool,
) -> None:
    """Make a failing case smaller as long as it shows the same failure, and print it as YAML with its script.

    Statements, contexts, inputs and calls are dropped, operations, shapes and dtypes replaced by simpler ones; each
    step is run in a process of its own, so that crashes and hangs shrink too. The script is run at the end; if it does
    not show the failure, this is reported and the command exits with 1.
    """
    from conformance.catalogue.sources import case_called

    if backend is None:
        RECORD.convert(name, None, ctx)
    else:
        case_called(name, folders)
    from conformance.cli.progress import steps
    from conformance.triage.shrink import command as shrink_command

    if backend is None and variant:
        message = "is for a case that is run now, with --backend; the variant of a record is in its name"
        raise click.BadParameter(message, param_hint="--variant")
    if backend is not None and places:
        message = "is for a record; with --backend the case is run now"
        raise click.BadParameter(message, param_hint="--records")
    if backend is None:
        failure = shrink_command.recorded(name, places, folders)
        _print_source(failure)
    else:
        failure = shrink_command.fresh(name, backend, variant, folders)
    with steps(budget, quiet=quiet) as advance:
        small = shrink_command.shrunk(failure, budget=budget, jobs=jobs, advance=advance)
    click.echo(shrink_command.text(small) if output is None else shrink_command.write(small, output))
    _exit_unless_shown(ctx, name, small.unshown)


def _print_source(found: Found) -> None:
    """Print which file a record was found in, for there may be many."""
    click.echo(f"record of {found.path}, made {found.run.header.environment.started[:19]}", err=True)


def _exit_unless_shown(ctx: click.Context, name: str, why: str) -> None:
    """Report that a script does not show what it was written for, and exit with 1."""
    if why:
        click.echo(f"{name}: {why}", err=True)
        ctx.exit(1)


def _bar(stack: ExitStack, *, quiet: bool, verbose: bool) -> Callable[[int, Record], None]:
    """Progress that begins with the first record, when it is known how many there will be."""
    from conformance.cli.progress import progress
    from conformance.report import run_summary

    advance: list[Callable[[Record], None]] = []

    def shown(total: int, record: Record) -> None:
        if not advance:
            advance.append(
                stack.enter_context(
                    progress(total, quiet=quiet, show=run_summary.as_it_comes if verbose else run_summary.brief)
                )
            )
        advance[0](record)

    return shown


COMMANDS = (check, explain, attribute, repro, shrink, fuzz)

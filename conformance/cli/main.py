"""The command `conformance`: parse, call, exit code; no logic.

Modules that a command needs are imported inside it, so that `--help` and `list` answer at once.
"""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli import report, site, statement, timing, triage
from conformance.cli.cluster import cluster_options, scheduler_of
from conformance.cli.options import (
    COMMAND,
    EXIT_CODES,
    FILE,
    PATH,
    RECORDS,
    examples,
    notices,
    refuse_unmatched,
)
from conformance.cli.options import backends as backends_option
from conformance.cli.options import quiet as quiet_option
from conformance.cli.options import verbose as verbose_option
from conformance.cli.suggestions import Command, Group
from conformance.cli.termination import Terminated, terminable
from conformance.cli.types import BACKEND, CASES, SHARD
from conformance.model.enums import Extent
from conformance.model.errors import ConformanceError
from conformance.verdict.legend import MEANING, counting, gate

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_HARNESS_FAULT = 3
_INTERRUPTED = 130
_TERMINATED = 143


class _Group(Group):
    """Turns the suite's own exceptions into `error: ...` on stderr and the exit code of each."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words of the command line for the command that resumes an interrupted run."""
        ctx.meta[COMMAND] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; SIGTERM ends it as Ctrl-C does, but for the exit code."""
        with terminable() as termination, notices():
            try:
                return self._invoke(ctx)
            except click.exceptions.Exit as end:
                if termination.received and end.exit_code == _INTERRUPTED:
                    ctx.exit(_TERMINATED)
                raise

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConformanceError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as interrupt:
            click.echo("terminated" if isinstance(interrupt, Terminated) else "interrupted", err=True)
            ctx.exit(_INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception:  # noqa: BLE001 (a bug of the suite must not exit 1, which is for findings)
            traceback.print_exc()
            click.echo("error: this is a fault of the suite itself, see the traceback above", err=True)
            ctx.exit(_HARNESS_FAULT)


def _legend() -> str:
    lines = [
        f"  {verdict.mark:<3}{verdict:<12}{gate(verdict):<5}{counting(verdict):<10}{text}"
        for verdict, text in MEANING.items()
    ]
    head = f"  {'':<3}{'verdict':<12}{'gate':<5}{'conforms':<10}meaning"
    return "\n".join(["\b", "Verdicts:", head, *lines])


def _print_version(ctx: click.Context, _option: click.Parameter, is_set: bool) -> None:
    if not is_set or ctx.resilient_parsing:
        return
    from importlib import metadata
    from platform import python_version

    from conformance.isolation import torch_release

    suite = f"conformance, version {metadata.version('torch-compile-conformance')}"
    click.echo(f"{suite}\n{torch_release.installed()}\nPython {python_version()}")
    ctx.exit()


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="\n\n".join(
        [
            examples(
                "conformance check step.py:loss                       a function of your own on every backend",
                "conformance run                                      every case on every backend",
                "conformance run --backend inductor --case 'grad_mode.*'",
                "conformance run --backend mylib.compiler:backend     a backend of your own, nothing to install",
                "conformance list 'autocast.*'                        the cases there are",
                "conformance show pre_dispatch.autocast_simple        one case and the function made of it",
                "conformance explain inductor/aliasing.views.view_from_no_grad   from a red cell to its cause",
                "conformance report                                   markdown pages from records",
            ),
            EXIT_CODES,
        ]
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of the suite, of torch with its build, and of Python, and exit.",
)
def main() -> None:
    """Does a compiled function do what the uncompiled one does, in every respect that autograd gives meaning to?"""


@main.command(
    "run",
    cls=Command,
    short_help="Run cases on backends and report what does not conform.",
    epilog="\n\n".join(
        [
            examples(
                "conformance run --backend eager --backend inductor",
                "conformance run --backend path/to/file.py:my_compiler --tag smoke",
                "conformance run --backend torch:cudagraphs --case 'aliasing.*' --variant grad=disabled,dynamic=true",
                "conformance run --shard 1/4 --records part1.jsonl   a quarter of the work; report merges the parts",
                "conformance run --resume                            what an interrupted run has left to do",
            ),
            _legend(),
            EXIT_CODES,
        ]
    ),
)
@backends_option(
    "A name of `conformance list --backends`, torch:NAME, package.module:attribute, or path/to/file.py:attribute."
    " Repeatable; default: every installed backend."
)
@click.option("--case", "case_globs", multiple=True, metavar="GLOB", help="Only cases whose id matches. Repeatable.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="AXIS=VALUE,...",
    help="Only variants with all of these axes, such as grad=disabled,dynamic=true. Repeatable.",
)
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag. Repeatable.")
@click.option(
    "--exclude-tag", "exclude_tags", multiple=True, metavar="TAG", help="Skip cases with this tag. Repeatable."
)
@click.option(
    "--tier",
    type=click.Choice([extent.value for extent in Extent]),
    default=Extent.DEFAULT.value,
    show_default=True,
    help="How many cases: quick takes a minute or two and finds nearly all of the kill matrix, exhaustive hours.",
)
@click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files. Repeatable.")
@click.option("--expectations", type=FILE, help="Known failures of the one backend that runs, in place of its own.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="How many requests at a time; default: one for each CPU."
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="How many requests of one area share a process, as long as they pass; default: 16, fewer in a run of few.",
)
@click.option("--shuffle", type=int, metavar="SEED", help="A random order, always the same one for the same seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of inputs and cotangents.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds each request may compute or sleep.",
)
@click.option("--shard", type=SHARD, help="Run the i-th of n parts of the plan.")
@click.option("--max-fail", type=click.IntRange(min=1), metavar="N", help="Stop after N red verdicts.")
@click.option("--exitfirst", "-x", "max_fail", flag_value=1, type=int, help="Stop after the first red verdict.")
@click.option(
    "--records",
    type=RECORDS,
    help="Where results are written, one line each, as they come; an existing file is replaced. Default: a new file in"
    " .conformance, to which .conformance/last-run.jsonl links.",
)
@click.option("--resume", is_flag=True, help="Continue the last run, or the file that --records names.")
@click.option(
    "--attribute", is_flag=True, help="Attribute what fails at the end of the run, as `conformance attribute` does."
)
@cluster_options
@click.option("--junitxml", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as JUnit XML too.")
@verbose_option
@quiet_option("No progress, and only the last line of the summary.")
@click.pass_context
def _run(
    ctx: click.Context,
    /,
    *,
    quiet: bool,
    verbose: bool,
    attribute: bool,
    junitxml: Path | None,
    **options: Any,  # noqa: ANN401
) -> None:
    """Run cases on backends in processes of their own, and report what does not conform."""
    options["scheduler"] = scheduler_of(options)
    chosen = {name: options[name] for name in ("case_globs", "variants", "tags", "exclude_tags")}
    refuse_unmatched(options["folders"], **chosen)

    from conformance.execution import session

    run = session.prepare(session.Options(**options), partial(click.echo, err=True))
    if run.resumed and not quiet:
        click.echo(run.resumed, err=True)
    if not quiet:
        click.echo(run.estimate, err=True)

    from conformance.cli.progress import progress
    from conformance.report import ci, run_summary, terminal

    with progress(run.remaining, quiet=quiet, show=run_summary.as_it_comes if verbose else None) as advance:
        result = run.execute(advance)
    click.echo(run_summary.text(result, quiet=quiet, command=ctx.find_root().meta[COMMAND]))
    if attribute and not result.interrupted:
        click.echo(triage.attributed(result.path, folders=options["folders"], jobs=options["jobs"], quiet=quiet))
    if junitxml:
        ci.write_junit(junitxml, result.records)
    if terminal.on_github():
        places = {case.id: case.location for case in run.cases}
        click.echo("".join(f"{line}\n" for line in ci.marks(result.records, places)), nl=False)
        ci.summarize(result.records)
    ctx.exit(result.exit_code)


@main.command(
    "list",
    short_help="List cases, backends or checks.",
    epilog=examples(
        "conformance list",
        "conformance list 'grad_mode.*' 'aliasing.*'",
        "conformance list --tag law",
        "conformance list --backends",
        "conformance list --checks",
    ),
)
@click.argument("globs", nargs=-1)
@click.option("--backends", "what", flag_value="backends", help="List the installed backends instead.")
@click.option("--checks", "what", flag_value="checks", help="List what is compared with uncompiled instead.")
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag. Repeatable.")
@click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files. Repeatable.")
def _list(globs: Sequence[str], what: str | None, tags: Sequence[str], folders: Sequence[Path]) -> None:
    """List cases (id, variants, tags, title), those that match one of the GLOBS if any is given.

    Without GLOBS or a tag, all cases of a family are one line.
    """
    from conformance.cli import listing

    tables = {"backends": listing.backends, "checks": listing.checks}
    click.echo(tables[what]() if what else listing.cases(globs, folders, tags))


@main.command(
    "show",
    short_help="Show the YAML of a case and the function made of it.",
    epilog=examples(
        "conformance show pre_dispatch.autocast_simple", "conformance show my.own.case --cases path/to/folder"
    ),
)
@click.argument("case_id", metavar="CASE")
@click.option("--cases", "folders", multiple=True, type=CASES, help="A further folder of case files. Repeatable.")
def _show(case_id: str, folders: Sequence[Path]) -> None:
    """Show the YAML of one case and the Python function made of it, for each variant that differs."""
    from conformance.cli import listing

    click.echo(listing.show(case_id, folders))


@main.command(
    "validate",
    short_help="Check case files and expectations.",
    epilog=examples(
        "conformance validate", "conformance validate my_cases/", "conformance validate mine.expected.yaml"
    ),
)
@click.argument("paths", nargs=-1, type=PATH)
@click.pass_context
def _validate(ctx: click.Context, paths: Sequence[Path]) -> None:
    """Check case files and expectations and print every problem of all of them.

    PATHS are folders of case files, and files named *.expected.yaml. Without any, the packaged cases and the
    expectations of every installed backend are checked.
    """
    from conformance.maintenance.validate import proofread

    problems = proofread(paths)
    click.echo("\n".join(problems) or "no problems found")
    ctx.exit(1 if problems else 0)


@main.command(
    "capabilities",
    cls=Command,
    short_help="Try the capabilities that backends claim, and others.",
    epilog=examples("conformance capabilities", "conformance capabilities --backend mine --most 50"),
)
@backends_option("Default: every installed one. Repeatable.")
@click.option(
    "--most", type=click.IntRange(min=1), default=10, show_default=True, help="Cases to try for each capability."
)
@click.pass_context
def _capabilities(ctx: click.Context, *, backends: Sequence[str], most: int) -> None:
    """Run a few cases for each capability of each backend, claimed or not, and compare with the claims.

    A claim is wrong if nothing that needs the capability conforms, or if all does and it is not claimed.
    """
    from conformance.cli.progress import progress
    from conformance.maintenance import capabilities
    from conformance.report import capability_table

    ready = capabilities.prepare(backends, most)
    with progress(len(ready.requests)) as advance:
        trials = ready.execute(advance)
    click.echo(capability_table.text(trials))
    ctx.exit(1 if any(trial.finding for trial in trials) else 0)


@main.group("expectations", cls=Group, short_help="Known failures of backends.")
def _expectations() -> None:
    """Known failures of backends, in `<name>.expected.yaml`."""


@_expectations.command(
    "update",
    cls=Command,
    short_help="Update a file of expectations from a run.",
    epilog=examples(
        "conformance run --backend mine --records mine.jsonl",
        "conformance expectations update --records mine.jsonl",
        "conformance expectations update --like aot_eager    take over reasons for what fails in the same way",
        "conformance expectations update --backend inductor --records results/records/2.13.0+cpu"
        " --records results/records/2.14.1+cu130",
    ),
)
@click.option(
    "--records",
    "places",
    multiple=True,
    type=PATH,
    help="The record file of a run, or a folder of them. Repeatable, for runs on several releases of torch; default:"
    " the last run here.",
)
@click.option("--backend", metavar="NAME", help="The backend, if the run was of several.")
@click.option(
    "--like", type=BACKEND, metavar="BACKEND", help="Take the reasons of this backend for what fails in the same way."
)
@click.option(
    "--output",
    type=RECORDS,
    help="The file to rewrite; default: the backend's own, else <name>.expected.yaml here.",
)
@click.pass_context
def _update(
    ctx: click.Context, *, places: Sequence[Path], backend: str | None, like: str | None, output: Path | None
) -> None:
    """Rewrite a backend's file of expectations from a run, or from runs on several releases of torch.

    Entries that no longer hold are removed, and each new failure gets an entry. Reasons and issues are kept. A new
    entry has the reason TODO, and is refused until that is replaced. A failure on only some of several releases gets
    their range (torch: ">=2.14,<2.15"), so that one file is green on all of them.
    """
    from conformance.maintenance.update_expectations import update
    from conformance.records import kept

    path, renewal = update(places or [kept.last_run()], backend=backend, like=like, output=output)
    counts = {"kept": renewal.kept, "narrowed": renewal.narrowed, "removed": renewal.removed, "added": renewal.added}
    counts |= {"for other releases": renewal.ranged} if renewal.ranged else {}
    click.echo(f"{path}: {', '.join(f'{number} {word}' for word, number in counts.items())}")
    if renewal.unexplained:
        click.echo(f"Replace each reason: TODO ({renewal.unexplained} entries); a bug needs its issue too.")
    ctx.exit(1 if renewal.unexplained else 0)


@_expectations.command(
    "apply",
    cls=Command,
    short_help="Judge the records of a run by the current expectations.",
    epilog=examples("conformance expectations apply", "conformance expectations apply --records mine.jsonl"),
)
@click.option(
    "--records",
    "files",
    multiple=True,
    type=FILE,
    help="The record file of a run. Repeatable; default: the last run here.",
)
@click.pass_context
def _apply(ctx: click.Context, *, files: Sequence[Path]) -> None:
    """Rewrite the verdicts of record files by the current expectations of their backends; nothing is run."""
    from conformance.maintenance.rejudge import apply
    from conformance.records import kept

    red = False
    for file in files or [kept.last_run()]:
        counts = apply(file)
        click.echo(f"{file}: {', '.join(f'{number} {verdict}' for verdict, number in sorted(counts.items()))}")
        red = red or not all(verdict.is_green for verdict in counts)
    ctx.exit(int(red))


for _command in (*timing.COMMANDS, *triage.COMMANDS, report.report, site.site, *statement.COMMANDS):
    main.add_command(_command)

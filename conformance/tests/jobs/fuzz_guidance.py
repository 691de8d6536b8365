"""Measures what guidance is worth: what the same number of programs reaches with and without it, for several seeds.

`python -m conformance.tests.jobs.fuzz_guidance --backend aot_eager --programs 400 --seeds 3`. The exit code is 1 where
guided programs reach less. Failures are counted, and not looked into.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from tabulate import tabulate

from conformance.isolation import tasks
from conformance.triage.fuzz import grammar
from conformance.triage.fuzz.campaign import Tools, prepare
from conformance.triage.fuzz.guidance import Guide
from conformance.triage.fuzz.result import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.triage.fuzz.guidance import Drawn
    from conformance.triage.fuzz.result import FuzzResult

_KINDS = ("guard", "graph", "counter")


class Row(NamedTuple):
    """What the programs of one seed reach."""

    seed: int
    guided: bool
    programs: int
    failed: int
    symptoms: int
    reached: int
    guards: int
    graphs: int
    counters: int


@click.command()
@click.option("--backend", default="aot_eager", show_default=True)
@click.option("--programs", default=400, show_default=True, help="Programs of each seed, with guidance and without.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", type=int, default=None, help="Batches at a time; default: one for each processor.")
def main(backend: str, programs: int, seeds: int, jobs: int | None) -> None:
    """Measure and print one table."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            for guided in (True, False):
                output = Path(folder, f"{seed}-{guided}")
                options = Options(backend=backend, output=output, seed=seed, programs=programs, jobs=jobs)
                rows.append(_row(_fuzzed(options, grammar.chunk if guided else _unguided), guided=guided))
    tasks.shutdown()
    sys.stdout.write(tabulate(rows, headers=Row._fields, tablefmt="github") + "\n")
    pairs = zip(rows[::2], rows[1::2], strict=True)
    sys.exit(0 if all(with_it.reached > without.reached for with_it, without in pairs) else 1)


def _unguided(number: int, seed: int, _: Guide) -> Sequence[Drawn]:
    return grammar.chunk(number, seed, Guide())


def _fuzzed(options: Options, generate: Callable[[int, int, Guide], Sequence[Drawn]]) -> FuzzResult:
    tools = Tools(
        rung=lambda *_: "", shrink=lambda request, *_: request, dump=lambda case: case.program, generate=generate
    )
    return prepare(options, tools).execute()


def _row(result: FuzzResult, *, guided: bool) -> Row:
    reached = result.kept.reached
    guards, graphs, counters = (sum(name.startswith(f"{kind} ") for name in reached) for kind in _KINDS)
    failed = result.failures
    click.echo(f"seed {result.seed}, guided {guided}: {len(reached)} reached", err=True)
    return Row(
        result.seed, guided, result.programs, failed.total(), len(failed), len(reached), guards, graphs, counters
    )


if __name__ == "__main__":
    main()

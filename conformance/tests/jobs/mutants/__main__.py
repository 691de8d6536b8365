"""Draw mutants of PyTorch's compiler, run those that a request reaches, and write the page of what became of them.

`python -m conformance.tests.jobs.mutants FOLDER` traces the requests, once for a release of torch, and draws 30
mutants; both are kept in the folder, and only what is missing is run. `--only ID` runs one mutant again and prints what
is seen.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import TypeAdapter

from conformance.isolation import tasks
from conformance.tests.jobs.mutants import draw, hunt, page, reach
from conformance.tests.jobs.mutants.operators import mutant_of
from conformance.tests.jobs.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.request import Request
    from conformance.tests.jobs.mutants.hunt import Result
    from conformance.tests.jobs.mutants.operators import Mutant
    from conformance.tests.jobs.mutants.reach import Key


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=30, show_default=True, help="How many mutants to draw.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--most", default=60, show_default=True, help="Requests that a mutant is run on.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--shard", type=(int, int), default=(1, 1), show_default=True, help="Part of the mutants: I N.")
@click.option("--only", metavar="ID", help="Run this mutant alone.")
@click.option("--page", "page_path", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page.")
def main(
    *,
    folder: Path,
    count: int,
    seed: int,
    most: int,
    jobs: int,
    shard: tuple[int, int],
    only: str | None,
    page_path: Path | None,
) -> None:
    """Run what is missing, write the page, and say how many were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    requests = _traced(folder / "reach.jsonl")
    reached = reach.read(folder / "reach.jsonl")
    if only:
        found = _Hunters(reached, requests, most, 1).run([mutant_of(only)], seed)
        sys.exit("\n".join(map(str, found)))
    results = ResultsFile(TypeAdapter(hunt.Result), folder / "mutants.jsonl")
    known = {result.id: result for result in results.read()}
    part, parts = shard
    drawn = draw.draw(count, seed, draw.files())[part - 1 :: parts]
    missing = [mutant for mutant in drawn if mutant.id not in known]
    for result in _Hunters(reached, requests, most, jobs).run(missing, seed):
        known[result.id] = results.add(result)
    if page_path:
        page_path.write_text(page.page(list(known.values())), encoding="utf-8")
    rate = page.rate([known[mutant.id] for mutant in drawn])
    click.echo(f"killed {rate.killed} of {rate.judged} that a request reaches", err=True)


def _traced(file: Path) -> dict[Key, Request]:
    """The requests by key, all of them traced."""
    requests: dict[Key, Request] = {}
    for backend in reach.BACKENDS:
        wanted = reach.requests(backend)
        reach.trace(wanted, file)
        requests |= {reach.key_of(request): request for request in wanted}
    tasks.shutdown()
    return requests


class _Hunters:
    """Processes that each run one mutant at a time."""

    def __init__(self, reached: reach.Reach, requests: dict[Key, Request], most: int, jobs: int) -> None:
        self._reached, self._requests, self._most, self._jobs = reached, requests, most, jobs

    def run(self, mutants: Sequence[Mutant], seed: int) -> Iterator[Result]:
        """What becomes of mutants, as each is done."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._jobs, mp_context=context) as pool:
            started = {pool.submit(hunt.hunt, mutant, seed, *self._for(mutant)) for mutant in mutants}
            for future in as_completed(started):
                result = future.result()
                click.echo(f"{result.fate}: {result.id} {', '.join(result.by)} {result.seconds} s", err=True)
                yield result

    def _for(self, mutant: Mutant) -> tuple[list[Request], list[Request], int]:
        reaching = [self._requests[key] for key in self._reached.of(mutant.file, mutant.line)]
        return hunt.likeliest(reaching, self._most), hunt.of_seed(reaching), len(reaching)


if __name__ == "__main__":
    main()

"""Draw mutants of PyTorch's compiler, run those that a request reaches, and write the page of what became of them.

`python -m conformance.tests.jobs.mutants FOLDER` traces the requests, once for a release of torch, and draws 30
mutants; both are kept in the folder, and only what is missing is run. What was traced is taken from `reach.jsonl.xz`,
where that is there alone. `--only ID` runs one mutant again and prints what is seen. With `--scheduler` the workers of
a dask cluster run them.
"""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import TypeAdapter

from conformance.execution.cluster import connected
from conformance.isolation import torch_release
from conformance.model.enums import Extent
from conformance.tests.jobs.mutants import draw, hunt, page, quarry, reach, readings, sources
from conformance.tests.jobs.mutants.operators import mutant_of
from conformance.tests.jobs.mutants.result import Fate, Result
from conformance.tests.jobs.results_file import ResultsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from conformance.model.request import Key, Request
    from conformance.tests.jobs.mutants.operators import Mutant
    from conformance.tests.jobs.mutants.quarry import Quarry

_IN_FLIGHT = 32  # mutants that are run or wait for it, each with the text of a file


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=30, show_default=True, help="How many mutants to draw.")
@click.option(
    "--tier",
    "within",
    type=click.Choice([extent.value for extent in Extent]),
    default=Extent.DEFAULT.value,
    show_default=True,
    help="Of the requests that mutants are run on.",
)
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--most", default=40, show_default=True, help="Requests that a mutant is run on.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--scheduler", metavar="PLACE", help="Of a cluster: its address, local:N, or a file.")
@click.option("--shard", type=(int, int), default=(1, 1), show_default=True, help="Part of the mutants: I N.")
@click.option("--only", metavar="ID", help="Run this mutant alone.")
@click.option("--page", "page_path", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page.")
def main(
    *,
    folder: Path,
    count: int,
    within: str,
    seed: int,
    most: int,
    jobs: int,
    scheduler: str | None,
    shard: tuple[int, int],
    only: str | None,
    page_path: Path | None,
) -> None:
    """Run what is missing, write the page, and say how many were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    traces = folder / "reach.jsonl"
    with _hunters(jobs, scheduler) as pool:
        requests = _traced(traces, Extent(within), pool)
        find = partial(quarry.find, seed=seed, most=most, reached=reach.read(traces), requests=requests)
        if only:
            sys.exit("\n".join(map(str, _hunted([mutant_of(only)], find, pool))))
        results = ResultsFile(TypeAdapter(Result), folder / "mutants.jsonl")
        known = {result.id: result for result in results.read()}
        part, parts = shard
        drawn = islice(draw.draw(count, seed, sources.files()), part - 1, None, parts)
        for result in _hunted((one for one in drawn if one.id not in known), find, pool):
            known[result.id] = results.add(result)
    if page_path:
        release = torch_release.installed().version
        read = readings.read(folder / "readings.yaml")
        page_path.write_text(page.page(list(known.values()), release, read), encoding="utf-8")
    rate = page.rate([result for result in known.values() if result.seed == seed], Fate.KILLED)
    click.echo(f"killed {rate} of this seed that a request reaches", err=True)


@contextmanager
def _hunters(jobs: int, scheduler: str | None) -> Iterator[Executor]:
    """What runs requests and mutants: threads, each with children of its own, or the workers of a cluster."""
    if scheduler is None:
        with ThreadPoolExecutor(jobs) as threads:
            yield threads
    else:
        with connected(scheduler) as client:
            yield client.get_executor(pure=False)


def _traced(file: Path, within: Extent, pool: Executor) -> dict[Key, Request]:
    """The requests by key, all of them traced."""
    requests: dict[Key, Request] = {}
    for backend in reach.BACKENDS:
        wanted = reach.requests(backend, within)
        reach.trace(wanted, file, pool)
        requests |= {request.key: request for request in wanted}
    return requests


def _hunted(drawn: Iterable[Mutant], find: Callable[[Mutant], Quarry | Result], pool: Executor) -> Iterator[Result]:
    """What becomes of mutants, as each is done: the next are made while some run."""
    started: set[Future[Result]] = set()
    for mutant in drawn:
        found = find(mutant)
        if isinstance(found, Result):
            yield _told(found)
            continue
        started.add(pool.submit(hunt.hunt, found))
        if len(started) >= _IN_FLIGHT:
            done, started = wait(started, return_when=FIRST_COMPLETED)
            yield from (_told(future.result()) for future in done)
    yield from (_told(future.result()) for future in as_completed(started))


def _told(result: Result) -> Result:
    click.echo(f"{result.fate}: {result.id} {', '.join(result.by)} {result.seconds} s", err=True)
    return result


if __name__ == "__main__":
    main()

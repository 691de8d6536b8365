"""Run the programs of past issues on the installed torch, and write the page of what became of them.

`python -m conformance.tests.jobs.history FOLDER` adds what is missing for the installed torch to `runs.jsonl` of the
folder, a line for each release and issue. The page is made of all lines that are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli.termination import terminable
from conformance.isolation import tasks
from conformance.tests.jobs.history import page, runs
from conformance.tests.jobs.history.issues import draw

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", "numbers", multiple=True, type=int, help="Run this issue alone. Repeatable.")
@click.option("--page", "page_path", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page.")
def main(folder: Path, numbers: Sequence[int], page_path: Path | None) -> None:
    """Run what is missing, and write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    issues = [issue for issue in draw().issues if not numbers or issue.number in numbers]
    with terminable():
        for result in runs.run(issues, folder / "runs.jsonl"):
            marks = ", ".join(result.broken or dict.fromkeys(result.outcomes)) or "not checked"
            click.echo(f"{result.number}: {'shown' if result.shown else 'not shown'}; {marks}", err=True)
    tasks.shutdown()
    if page_path:
        page_path.write_text(page.page(page.rows(draw(), runs.read(folder / "runs.jsonl").values())), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The overview of all backends: the matrix, one line a backend, the legend, the machine, how to make it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from conformance.model.enums import Verdict
from conformance.model.ladder import by_ladder
from conformance.records.environment import fingerprint
from conformance.report import markdown
from conformance.report.matrix import cell_apart, matrix, own_score, panels, tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from conformance.model.request import BackendInfo
    from conformance.model.result import Environment

__all__ = ["FACTS", "Source", "environments", "overview", "run_commands"]

FACTS = ("torch", "python", "platform", "cpu", "threads", "compiler", "suite_hash")
"""The fields that tables of environments show."""

_HOW_TO_READ = """\
One request is one case in one variant on one backend. Requests of one area share a process as long as they pass; the
first that does not ends it. A cell says how many requests conform out of those that are scored, then the mark and the
number of everything that is no plain pass; the [legend](#legend) explains the marks. An empty cell means that nothing
was run. Columns of other runs may be of another release of torch and of fewer cases ([environment](#environment)):
counts are comparable within a run.
By clause of the specification: [coverage](coverage.md)."""

_APART = """\
Where failures are attributed, *own* is the score in what the requests are about: their modes if they have any, else all
that they do. Failures that are *apart* are left out of it: those that a backend earlier in compiler order shows too,
those of how the backend runs what it compiled, and of a request with modes those that it shows without."""

_PARTIAL = "**Partial: this is not the result of a backend on all cases.**"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One run, as the pages describe it. `names` are the paths of its files as commands name them."""

    names: tuple[str, ...]
    environment: Environment
    backends: tuple[BackendInfo, ...]
    seed: int = 0
    folders: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    gated: Mapping[str, str] = field(default_factory=dict)


def overview(
    rows: pd.DataFrame,
    sources: Sequence[Source],
    report: str,
    beside: Sequence[str] = (),
    partial: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        rows: the frame of all records.
        sources: the runs they came from.
        report: the command that makes the pages.
        beside: lines that name further pages.
        partial: what was run, and what was not, of each run that is not whole, as markdown.
    """
    return markdown.page(
        "# Results",
        *([_PARTIAL, "\n".join(f"- {extent}" for extent in partial)] if partial else []),
        "\n".join([_HOW_TO_READ, *beside]),
        _APART if rows["elsewhere"].any() else "",
        *(_matrix(rows[rows["backend"].isin(names)]) for names in panels(rows["backend"].unique())),
        "## Backends",
        _backends(
            rows, {info.name: _description(info, source.gated) for source in sources for info in source.backends}
        ),
        "## Legend",
        markdown.legend(),
        "## Environment",
        environments(sources),
        "## Make these pages again",
        markdown.fenced("\n".join([*run_commands(sources), report]), "sh"),
    )


def _matrix(rows: pd.DataFrame) -> str:
    headers, cells = matrix(rows, cell_apart)
    return markdown.table([headers[0], *map(_link, headers[1:])], cells)


def _link(backend: str) -> str:
    return f"[{markdown.plain(backend)}]({markdown.page_name(backend)})"


def _description(info: BackendInfo, gated: Mapping[str, str]) -> str:
    """A description of a backend, and whether only its smoke cases were run."""
    limit = "only the smoke cases were run" if info.name in gated else ""
    return "; ".join(part for part in (info.description, info.broken, limit) if part)


def _backends(rows: pd.DataFrame, descriptions: Mapping[str, str]) -> str:
    lines = []
    for name in by_ladder(descriptions):
        own = rows[rows["backend"] == name]
        counts = tally(own)
        advisories = int((own["advisories"] != "").sum())
        numbers = (
            f"{int(own['conforms'].sum())}/{int(own['scored'].sum())}",
            *_attributed(own),
            int((~own["green"]).sum()),
            *(counts.get(verdict, 0) for verdict in (Verdict.XFAIL, Verdict.UNSUPPORTED, Verdict.SKIP)),
            advisories,
        )
        lines.append((_link(name) if len(own) else markdown.plain(name), markdown.plain(descriptions[name]), *numbers))
    headers = ("backend", "what it is", "conforming", "own", "apart", "red", "xfail", "unsupported", "skip")
    return markdown.table((*headers, "with advisories"), lines, right=range(2, 10))


def _attributed(rows: pd.DataFrame) -> tuple[str, str]:
    """The score without failures that are set apart, and their number; where not all are attributed, how many."""
    failing = rows[rows["scored"] & ~rows["conforms"]]
    missing = int(failing["attribution"].isna().sum())
    if missing and missing == len(failing):
        return "", "not attributed"
    return own_score(rows), f"{int(rows['elsewhere'].sum())}{f' ({missing} not attributed)' if missing else ''}"


def environments(sources: Sequence[Source]) -> str:
    """What runs were made with: a column for all on the same machine and software; equal values are in each column."""
    columns: dict[str, list[Source]] = {}
    for source in sources:
        columns.setdefault(fingerprint(source.environment), []).append(source)
    machines = [together[0].environment for together in columns.values()]
    packages = sorted({name for machine in machines for name in machine.packages} - {"torch"})
    rows = [(name, *(markdown.plain(str(getattr(machine, name))) for machine in machines)) for name in FACTS]
    rows += [(name, *(markdown.plain(machine.packages.get(name, "")) for machine in machines)) for name in packages]
    rows += [("started", *map(_started, columns.values()))]
    names = (", ".join(markdown.code(PurePath(one.names[0]).name) for one in runs) for runs in columns.values())
    return markdown.table(["", *names], rows)


def _started(sources: Sequence[Source]) -> str:
    times = sorted(source.environment.started for source in sources)
    return times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"


def run_commands(sources: Sequence[Source]) -> list[str]:
    """The commands that make the files of runs again."""
    return [_run_command(source, place) for source in sources for place in range(len(source.names))]


def _run_command(source: Source, place: int) -> str:
    refs = {info.name: info.ref for info in source.backends}
    backends = [word for name in by_ladder(refs) for word in ("--backend", refs[name])]
    seed = ["--seed", str(source.seed)] if source.seed else []
    folders = [word for folder in source.folders for word in ("--cases", folder)]
    tags = [word for tag in source.tags for word in ("--tag", tag)]
    shard = ["--shard", f"{place + 1}/{len(source.names)}"] if len(source.names) > 1 else []
    records = ["--records", source.names[place]]
    return shlex.join(["conformance", "run", "--attribute", *backends, *folders, *tags, *seed, *shard, *records])

"""Write the site: a shell of HTML, the application, and data as scripts, which a browser loads from files too.

Building twice gives the same bytes. What an earlier build wrote is replaced, other files are left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from conformance.catalogue.specification import chapter_titles
from conformance.model.errors import RecordError
from conformance.records import find, releases
from conformance.records.jsonl import as_record_error
from conformance.report import statement
from conformance.report.markdown import page_name
from conformance.report.runs import gathered
from conformance.site import content
from conformance.site.scripts import scripts
from conformance.site.timings import timings
from conformance.timing import timing_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from conformance.model.enums import Verdict
    from conformance.records.record_file import RunFile
    from conformance.timing.timing_file import TimingRun
    from conformance.triage.repro.script import Compiler

__all__ = ["Built", "script", "site"]

_MANIFEST = "site-manifest.json"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was written: files, bytes and records."""

    files: int
    size: int
    records: int


def site(
    records: Sequence[Path], folder: Path, named: Callable[[Sequence[RunFile]], Mapping[str, Compiler]] | None = None
) -> Built:
    """Build the site of record files.

    Args:
        records: record files, or folders of them; in release folders, those of each release. Timings among them are
            shown too.
        folder: where the site is written; made if it does not exist.
        named: returns how a script names each backend of some runs; without it there are no scripts.

    Raises:
        RecordError: a record file cannot be read, or the folder holds a file that no build wrote where one is written.
    """
    every = _releases(records)
    timed = [timing_file.read(path) for path in find.find_every_timing(*records)]
    pages = _pages(every, timed, named(list(chain(*every.values()))) if named else {})
    with as_record_error(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        before = _earlier(folder)
        foreign = [name for name in pages if name not in before and (folder / name).exists()]
        if foreign:
            message = f"{folder / foreign[0]} is not of a site; name a folder of its own with --output"
            raise RecordError(message)
        # Before the pages, so that a build that was interrupted can be repeated.
        _remember(folder, before | pages.keys())
        for name in before - pages.keys():
            (folder / name).unlink(missing_ok=True)
        for name, data in pages.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        _remember(folder, pages)
    made = sum(len(run.records) for runs in every.values() for run in runs)
    return Built(files=len(pages), size=sum(map(len, pages.values())), records=made)


def _earlier(folder: Path) -> set[str]:
    """The files that an earlier build wrote, none of them outside the folder."""
    manifest = folder / _MANIFEST
    names = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else []
    return {name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}


def _remember(folder: Path, names: Iterable[str]) -> None:
    (folder / _MANIFEST).write_text(json.dumps(sorted(names), indent=0) + "\n", encoding="utf-8")


def _releases(records: Sequence[Path]) -> Mapping[str, Sequence[RunFile]]:
    """The runs by the release that they were made on, the newest last; before them those of cases run on request."""
    made = gathered(records)
    groups = [*chain(*made.releases.values()), *made.tables]
    runs = dict(groups).values()  # those of the newest release are in both
    names = releases.ordered({run.header.environment.torch for run in runs})
    beside: dict[str, list[RunFile]] = {}
    for _, run in made.on_request:
        beside.setdefault(_on_request(run), []).append(run)
    return beside | {name: [run for run in runs if run.header.environment.torch == name] for name in names}


def _on_request(run: RunFile) -> str:
    """How the site calls a run of cases that run only on request: `2.15.0+cu132 ops`."""
    return " ".join((run.header.environment.torch, *run.header.selection.tags))


def _latest(every: Mapping[str, Sequence[RunFile]]) -> Mapping[str, str]:
    """The newest release that each backend was run on."""
    return {record.backend: name for name, runs in every.items() for run in runs for record in run.records}


class _Files(dict[str, bytes]):
    """The files of the site by name, with a name returned for each file of data."""

    def put(self, path: str, kind: str, name: str, value: object) -> str:
        self[path] = script(kind, name, value)
        return path


def _pages(every: Mapping[str, Sequence[RunFile]], timed: Sequence[TimingRun], known: Mapping[str, Compiler]) -> _Files:
    """Every file of the site, by its name."""
    made = _Files({name: resource.read_bytes() for resource, name in _static(files("conformance.site") / "static")})
    latest = _latest(every)
    facts: dict[str, dict[str, Any]] = {}
    for place, (name, runs) in enumerate(every.items()):
        facts[name] = _release(made, f"r{place}", name, runs)
        newest = {backend for backend, release in latest.items() if release == name}
        texts = scripts(runs, {backend: how for backend, how in known.items() if backend in newest})
        facts[name]["scripts"] = {
            backend: made.put(f"data/r{place}/scripts{number}.js", "scripts", f"{name} {backend}", found)
            for number, (backend, found) in enumerate(sorted(texts.items()))
        }
        facts[name]["levels"] = {
            backend: _levels(made, stated)
            for backend, stated in statement.of_runs(runs).items()
            if backend in newest  # a badge has one address
        }
    held = list(chain(*every.values()))
    folders = {Path(name) for run in held for name in run.header.folders}
    names = (record.case_id for run in held for record in run.records)
    cases = content.cases(names, sorted(folder for folder in folders if folder.is_dir()))
    for area, found in sorted(cases.items()):
        made.put(f"data/cases/{area}.js", "cases", area, found)
    meta = {
        "releases": facts,
        "timings": [_timed(made, f"t{place}", run) for place, run in enumerate(timed)],
        "areas": sorted(cases),
        "latest": latest,
        "legend": content.legend(),
        "chapters": chapter_titles(),
        "clauses": content.clauses(),
    }
    made.put("data/meta.js", "meta", "", meta)
    made["index.html"] = _index(every).encode()
    return made


def _release(made: _Files, place: str, name: str, runs: Sequence[RunFile]) -> dict[str, Any]:
    """The facts of a release, with the files of its rows and details."""
    details = {  # a backend may have any name, a file may not
        backend: made.put(f"data/{place}/{number}.js", "details", f"{name} {backend}", found)
        for number, (backend, found) in enumerate(sorted(content.details(runs).items()))
    }
    rows = made.put(f"data/{place}.js", "rows", name, content.rows(runs))
    return content.run_facts(runs) | {"file": rows, "details": details}


def _timed(made: _Files, place: str, run: TimingRun) -> dict[str, str]:
    """The release and the file of a run of timings."""
    return {
        "torch": run.header.environment.torch,
        "file": made.put(f"data/{place}.js", "timings", place, timings(run)),
        "name": place,
    }


def _levels(made: _Files, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What a backend conforms to, with the files of its statement and badges."""
    stem = page_name(stated["backend"]).removesuffix(".md")
    made[f"statements/{stem}.json"] = statement.text(stated).encode()
    badges = {"": statement.badge(stated), **statement.badges(stated)}
    for level, badge in badges.items():
        path = _badge_path(stem, level)
        made[f"{path}.json"] = (json.dumps(badge) + "\n").encode()
        made[f"{path}.svg"] = statement.svg(badge).encode()
    shown = ("level", "conforming", "scored", "reached", "invalid", "chapters_without_a_scored_request")
    return {
        "statement": f"statements/{stem}.json",
        "claims_everything": not stated["not_claimed"],
        "levels": [
            {name: each[name] for name in shown} | {"badge": _badge_path(stem, each["level"])}
            for each in stated["levels"]
        ],
    }


def _badge_path(stem: str, level: str) -> str:
    return "badges/" + "-".join([stem, *level.lower().split()])


def _static(folder: Traversable, within: str = "") -> Iterator[tuple[Traversable, str]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        name = f"{within}{entry.name}"
        if entry.is_dir():
            yield from _static(entry, f"{name}/")
        else:
            yield entry, name


def script(kind: str, name: str, value: object) -> bytes:
    """Data as a script; a page that is opened from a file may load scripts, and nothing else.

    It is parsed as JSON: in a literal of JavaScript a key `__proto__` would be something else.
    """
    text = json.dumps(value, separators=(",", ":")).replace("\\", "\\\\").replace("'", "\\'")
    return f"conformance.put({json.dumps(kind)},{json.dumps(name)},JSON.parse('{text}'));\n".encode()


def _index(every: Mapping[str, Sequence[RunFile]]) -> str:
    """The shell, with a table of the newest release for whoever has no JavaScript."""
    release, runs = list(every.items())[-1]
    template = (files("conformance.site") / "templates" / "index.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(release=release, backends=_scores(runs))


def _scores(runs: Sequence[RunFile]) -> list[dict[str, Any]]:
    scores: dict[str, list[Verdict]] = {}
    for run in runs:
        for record in run.records:
            scores.setdefault(record.backend, []).append(record.verdict)
    return [
        {
            "name": name,
            "conforming": sum(verdict.conforms for verdict in verdicts),
            "scored": sum(verdict.scored for verdict in verdicts),
        }
        for name, verdicts in scores.items()
    ]

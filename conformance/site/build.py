"""Write the site: a shell of HTML, the application, and data as scripts, which a browser loads from files too.

Building twice gives the same bytes. What an earlier build wrote is replaced, other files are left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from conformance.model.errors import RecordError
from conformance.records.jsonl import as_record_error
from conformance.report.runs import gathered
from conformance.site import content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from conformance.model.enums import Verdict
    from conformance.records.record_file import RunFile

__all__ = ["Built", "script", "site"]

_MANIFEST = "site-manifest.json"
_NEWEST = "newest"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was written: files, bytes and records."""

    files: int
    size: int
    records: int


def site(records: Sequence[Path], folder: Path) -> Built:
    """Build the site of record files.

    Args:
        records: record files, or folders of them; in release folders, those of each release.
        folder: where the site is written; made if it does not exist.

    Raises:
        RecordError: a record file cannot be read, or the folder holds a file that no build wrote where one is written.
    """
    releases = _releases(records)
    pages = dict(_pages(releases))
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
    made = sum(len(run.records) for runs in releases.values() for run in runs)
    return Built(files=len(pages), size=sum(map(len, pages.values())), records=made)


def _earlier(folder: Path) -> set[str]:
    """The files that an earlier build wrote, none of them outside the folder."""
    manifest = folder / _MANIFEST
    names = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else []
    return {name for name in names if (folder / name).resolve().is_relative_to(folder.resolve())}


def _remember(folder: Path, names: Iterable[str]) -> None:
    (folder / _MANIFEST).write_text(json.dumps(sorted(names), indent=0) + "\n", encoding="utf-8")


def _releases(records: Sequence[Path]) -> Mapping[str, Sequence[RunFile]]:
    """The runs of each release, the newest last, which has those that are in no release folder too."""
    made = gathered(records)
    older = {name: [run for _, run in groups] for name, groups in made.releases.items()}
    newest = next(reversed(older), made.tables[0][1].header.environment.torch if made.tables else _NEWEST)
    return {**older, newest: [run for _, run in made.tables]}


def _pages(releases: Mapping[str, Sequence[RunFile]]) -> Iterator[tuple[str, bytes]]:
    """Every file of the site, by its name."""
    for resource, name in _static(files("conformance.site") / "static"):
        yield name, resource.read_bytes()
    names: set[str] = set()
    facts = {}
    for place, (release, runs) in enumerate(releases.items()):
        details = sorted(content.details(runs).items())
        # A backend may have any name, a file may not.
        named = {backend: f"data/r{place}/{number}.js" for number, (backend, _) in enumerate(details)}
        facts[release] = content.run_facts(runs) | {"file": f"data/r{place}.js", "details": named}
        names |= {record.case_id for run in runs for record in run.records}
        yield f"data/r{place}.js", script("rows", release, content.rows(runs))
        for backend, found in details:
            yield named[backend], script("details", f"{release} {backend}", found)
    cases = content.cases(names)
    for area, found in sorted(cases.items()):
        yield f"data/cases/{area}.js", script("cases", area, found)
    meta = {"releases": facts, "areas": sorted(cases), "legend": content.legend(), "clauses": content.clauses()}
    yield "data/meta.js", script("meta", "", meta)
    yield "index.html", _index(releases).encode()


def _static(folder: Traversable, within: str = "") -> Iterator[tuple[Traversable, str]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        name = f"{within}{entry.name}"
        if entry.is_dir():
            yield from _static(entry, f"{name}/")
        else:
            yield entry, name


def script(kind: str, name: str, value: object) -> bytes:
    """Data as a script; a page that is opened from a file may load scripts, and nothing else."""
    words = [json.dumps(each, separators=(",", ":"), sort_keys=False) for each in (kind, name, value)]
    return f"conformance.put({','.join(words)});\n".encode()


def _index(releases: Mapping[str, Sequence[RunFile]]) -> str:
    """The shell, with a table of the newest release for whoever has no JavaScript."""
    release, runs = list(releases.items())[-1]
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

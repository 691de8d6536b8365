"""A statement of what a backend conforms to, which anybody can hold against its records."""

from __future__ import annotations

import hashlib
import html
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from conformance.catalogue.levels import VERSION, chapters_of, levels
from conformance.model.enums import Capability, Verdict
from conformance.model.errors import RecordFileError, UsageError
from conformance.records import record_file
from conformance.records.frame import makes_moves
from conformance.records.jsonl import reading
from conformance.records.record_file import publishable
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.catalogue.levels import ConformanceLevel
    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

__all__ = ["badge", "badges", "disagreements", "make", "of_run", "of_runs", "read", "svg", "text"]

_FORM = "torch-compile-conformance statement"
_FACTS = ("torch", "python", "platform", "cpu", "compiler", "suite_hash")
_LABEL = "torch.compile conformance"
_GREEN, _AMBER = "#116329", "#7a4a00"
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {message}">
  <title>{label}: {message}</title>
  <rect width="{left}" height="20" fill="#555"/><rect x="{left}" width="{right}" height="20" fill="{color}"/>
  <g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">
    <text x="{at_left}" y="14">{label}</text><text x="{at_right}" y="14">{message}</text>
  </g>
</svg>
"""


def make(path: Path, backend: str) -> dict[str, Any]:
    """State what a backend conforms to by a file of records.

    Returns:
        Levels with their counts, capabilities that are not claimed, versions, and the digest of the backend's records.

    Raises:
        RecordFileError: the file is not that of a whole run.
        UsageError: it has no record of the backend.
    """
    run = record_file.read(path)
    if why := publishable(run):
        message = f"{path}: {why}"
        raise RecordFileError(message)
    if backend not in {record.backend for record in run.records}:
        names = ", ".join(sorted({record.backend for record in run.records}))
        message = f"{path} has no record of {backend!r}\n  It has: {names}."
        raise UsageError(message)
    return of_run(run, backend)


def of_run(run: RunFile, backend: str) -> dict[str, Any]:
    """State what a backend conforms to by a whole run, in which it has records; the same as `make`."""
    records = [record for record in run.records if record.backend == backend]
    (info,) = (each for each in run.header.backends if each.name == backend)
    environment = run.header.environment
    return {
        "form": _FORM,
        "levels_version": VERSION,
        "backend": backend,
        "packages": dict(info.packages),
        "levels": [_level(level, [each for each in records if _belongs(each, level)]) for level in levels()],
        "verdicts": dict(sorted(Counter(record.verdict.value for record in records).items())),
        "not_claimed": sorted(map(str, Capability.all() - info.capabilities)),
        "environment": {name: getattr(environment, name) for name in _FACTS},
        "records": len(records),
        "digest": _digest(records),
    }


def of_runs(runs: Iterable[RunFile]) -> dict[str, dict[str, Any]]:
    """State what each backend conforms to by the whole ones of these runs."""
    return {
        backend: of_run(run, backend)
        for run in runs
        if not publishable(run)
        for backend in dict.fromkeys(record.backend for record in run.records)
    }


def read(path: Path) -> dict[str, Any]:
    """Return the statement in a file.

    Raises:
        UsageError: it is none.
    """
    with reading(f"cannot read {path}"):
        data = path.read_text(encoding="utf-8")
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("form") != _FORM or not isinstance(found.get("backend"), str):
        message = f"{path} is no statement of `conformance statement`"
        raise UsageError(message)
    return found


def disagreements(stated: Mapping[str, Any], path: Path) -> list[str]:
    """Return in what a statement differs from what a file of records gives; nothing if it holds.

    Raises:
        RecordFileError, UsageError: as `make`.
    """
    given = make(path, stated["backend"])
    return [
        f"{name}: stated {json.dumps(stated.get(name))}, the records give {json.dumps(given.get(name))}"
        for name in {**given, **stated}
        if stated.get(name) != given.get(name)
    ]


def text(stated: Mapping[str, Any]) -> str:
    """Return a statement as the text of its file."""
    return json.dumps(stated, indent=2) + "\n"


def badge(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what shields.io takes for an endpoint badge: the levels reached, or how much of the first one conforms.

    Source: https://shields.io/badges/endpoint-badge.
    """
    reached = [each["level"] for each in stated["levels"] if each["reached"]]
    first = stated["levels"][0]
    message = (
        ", ".join(reached) + _partly(stated) if reached else f"{first['level']} {first['conforming']}/{first['scored']}"
    )
    return _endpoint(_LABEL, message, reached=bool(reached))


def badges(stated: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the badge of each level, by its name."""
    return {
        each["level"]: _endpoint(
            f"{_LABEL}: {each['level']}",
            f"reached{_partly(stated)}" if each["reached"] else f"{each['conforming']}/{each['scored']}",
            reached=each["reached"],
        )
        for each in stated["levels"]
    }


def _partly(stated: Mapping[str, Any]) -> str:
    """What is added to a level that is reached without every capability."""
    return ", not every capability" if stated["not_claimed"] else ""


def _endpoint(label: str, message: str, *, reached: bool) -> dict[str, Any]:
    return {"schemaVersion": 1, "label": label, "message": message, "color": _GREEN if reached else _AMBER}


def svg(made: Mapping[str, Any]) -> str:
    """Return a badge as a picture."""
    left, right = (7 * len(made[name]) + 10 for name in ("label", "message"))
    places = {"width": left + right, "left": left, "right": right, "at_left": left // 2, "at_right": left + right // 2}
    texts = {name: html.escape(str(made[name])) for name in ("label", "message", "color")}
    return _SVG.format(**places, **texts)


def _belongs(record: Record, level: ConformanceLevel) -> bool:
    return level.has(record.clauses, makes_moves=makes_moves(record.variant))


def _level(level: ConformanceLevel, records: Sequence[Record]) -> dict[str, Any]:
    scored = sum(record.verdict.scored for record in records)
    conforming = sum(record.verdict.conforms for record in records)
    invalid = sum(record.verdict is Verdict.INVALID for record in records)
    shown = chapters_of(clause for record in records if record.verdict.scored for clause in record.clauses)
    return {
        "level": level.name,
        "conforming": conforming,
        "scored": scored,
        "invalid": invalid,
        "chapters_without_a_scored_request": sorted(level.chapters - shown),
        "reached": scored == conforming and not invalid and shown == level.chapters,
    }


def _digest(records: Iterable[Record]) -> str:
    """A digest of verdicts and symptoms; not of times and sizes, so that another run can give the same."""
    lines = sorted(f"{each.case_id} {each.variant} {each.verdict} {Symptom.of_record(each)}" for each in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

"""Encode header, records and footer as lines of JSON, and decode them without loss.

What every record of a file shares is only in its header. Checks that held are written as names; if they are the usual
ones, only those that have a grade are written.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from conformance.model import codec
from conformance.model.case import Case, Family
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Grade, Stage
from conformance.model.request import BackendInfo, Selection
from conformance.model.result import CheckResult, Environment, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "READABLE",
    "SCHEMA_VERSION",
    "Footer",
    "Header",
    "decode",
    "decode_header",
    "encode",
    "encode_record",
    "reproduce",
]

SCHEMA_VERSION = 4
READABLE = frozenset({3, SCHEMA_VERSION})
"""Versions that are read; records in version 3 have no attributions."""


def _usual() -> tuple[str, ...]:
    return tuple(spec.name for spec in CATALOGUE.values() if not spec.asked)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Parameters of a run. `planned` counts this file's requests; `total` and `digest` are of the whole plan.

    `folders` are folders of cases beyond the packaged ones, as given. `families` are those that generated cases;
    `cases` are those that are in no file: functions of users.
    `checks` lists, in order, the checks of a record that names none because all held.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    environment: Environment
    fingerprint: str
    backends: tuple[BackendInfo, ...]
    selection: Selection = field(default_factory=Selection)
    seed: int = 0
    shard: tuple[int, int] | None = None
    folders: tuple[str, ...] = ()
    planned: int
    total: int
    digest: str
    families: tuple[Family, ...] = ()
    cases: tuple[Case, ...] = ()
    checks: tuple[str, ...] = field(default_factory=_usual)


@dataclass(frozen=True, kw_only=True)
class Footer:
    """End of a run. `counts` are by verdict; `gated` is, by backend, why the rest of its cases was not run."""

    counts: dict[str, int]
    records: int
    gated: dict[str, str] = field(default_factory=dict)
    finished: str
    duration_s: float = 0.0


def encode(part: Header | Footer) -> str:
    """Return the line for a header or a footer."""
    plain = codec.to_plain(part)
    if isinstance(part, Footer):
        return codec.encode({"kind": "footer"} | plain)
    for backend in plain["backends"]:
        if "capabilities" in backend:
            backend["capabilities"].sort()
    # Defaults are written too: those of a later version of this package may differ.
    return codec.encode({"kind": "header", "schema_version": part.schema_version} | plain | {"checks": part.checks})


def encode_record(record: Record, header: Header) -> str:
    """Return the line for a record of the run with this header."""
    plain: dict[str, Any] = codec.to_plain(replace(record, checks=())) | _short(record.checks, header)
    for name, value in _implied(plain | {"seed": record.seed}, header).items():
        actual = getattr(record, name)
        if actual == value:
            plain.pop(name, None)
        else:
            plain[name] = actual
    return codec.encode({"kind": "record"} | plain)


def decode_header(text: str | bytes) -> Header:
    """Return the header in a line; raises ValueError if it contains none."""
    _, line = _parse(text, "header")
    return codec.from_plain(Header, line)


def decode(text: str | bytes, header: Header) -> Record | Footer:
    """Return the record or footer in a line of a file with this header; raises ValueError if it contains none."""
    kind, line = _parse(text, "record", "footer")
    if kind == "footer":
        return codec.from_plain(Footer, line)
    return codec.from_plain(Record, _implied(line, header) | line | {"checks": _full(line, header)})


def reproduce(ref: str, case_id: str, variant: str, seed: int, folders: Iterable[str] = ()) -> str:
    """Return the shell command that runs one request again."""
    homes = [word for folder in folders for word in ("--cases", folder)]
    words = ["conformance", "run", "--backend", ref, *homes, "--case", case_id, "--variant", variant]
    return " ".join(map(_quoted, [*words, "--seed", str(seed)] if seed else words))


_quoted = lru_cache(maxsize=16384)(shlex.quote)
"""Cached: most words of commands occur in many."""


def _parse(text: str | bytes, *kinds: str) -> tuple[str, dict[str, Any]]:
    line = from_json(text)
    kind = line.pop("kind", None) if isinstance(line, dict) else None
    if kind not in kinds:
        message = f"not a {' or '.join(kinds)}"
        raise ValueError(message)
    return kind, line


def _implied(line: dict[str, Any], header: Header) -> dict[str, Any]:
    """Fields that the line of a record may omit, derived from the header and its other fields."""
    backend, case_id, variant = (str(line.get(name)) for name in ("backend", "case_id", "variant"))
    ref = next((known.ref for known in header.backends if known.name == backend), backend)
    return {
        "schema_version": header.schema_version,
        "run_id": header.run_id,
        "fingerprint": header.fingerprint,
        "seed": header.seed,
        "outcome": line.get("verdict"),
        "stage": Stage.COMPARE,
        "reproduce": reproduce(ref, case_id, variant, line.get("seed", header.seed), header.folders),
    }


def _short(checks: tuple[CheckResult, ...], header: Header) -> dict[str, Any]:
    """Checks that only held, as names; if they are the usual ones, only the names of those that have a grade."""
    if not checks:
        return {}
    if all(map(_only_held, checks)) and tuple(check.check for check in checks) == header.checks:
        grades = sorted({check.grade for check in checks if check.grade})
        return {"held": {grade: [check.check for check in checks if check.grade is grade] for grade in grades}}
    return {"checks": [_word(check) if _only_held(check) else codec.to_plain(check) for check in checks]}


def _full(line: dict[str, Any], header: Header) -> list[Any]:
    match line.pop("held", None), line.pop("checks", []):
        case None, list(words):
            return [_from_word(word) if isinstance(word, str) else word for word in words]
        case dict(held), [] if all(isinstance(names, list) for names in held.values()):
            grades = {str(name): grade for grade, names in held.items() for name in names}
            return [_from_word(f"{name}={grades.get(name, '')}") for name in header.checks]
    message = "malformed checks"
    raise ValueError(message)


def _only_held(check: CheckResult) -> bool:
    return check.check in CATALOGUE and check == _from_word(_word(check))


def _word(check: CheckResult) -> str:
    return f"{check.check}={check.grade}" if check.grade else check.check


@cache  # the same few words occur in every record
def _from_word(word: str) -> CheckResult:
    name, _, grade = word.partition("=")
    if name not in CATALOGUE:
        message = f"unknown check {name!r}"
        raise ValueError(message)
    return CheckResult(check=name, level=CATALOGUE[name].level, held=True, grade=Grade(grade) if grade else None)

"""Record files as tidy pandas frames: one row a record, or one row a check."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conformance import record as record_file
from conformance import releases
from conformance.discover import by_ladder
from conformance.errors import RecordError
from conformance.ladder import first_in_records
from conformance.model import Evidence, Grade, Level, Outcome, Stage, Verdict
from conformance.symptom import Symptom
from conformance.timing_file import is_timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from enum import StrEnum

    from conformance.model import CheckResult, Record
    from conformance.record import RunFile

__all__ = [
    "axes_of",
    "categorical",
    "checks_of",
    "find_every_release",
    "find_files",
    "find_kinds",
    "load",
    "load_checks",
    "of",
    "with_torch",
]

_AXES = ("grad", "autocast", "dtype", "dynamic")
_GRADED = ("values", "gradients")
_EVIDENCE = tuple(spec.name for spec in fields(Evidence))
_KEY = ("backend", "area", "case", "variant")
_COLUMNS = (
    *(*_KEY, *_AXES, "params", "clauses"),
    *("outcome", "verdict", "conforms", "scored", "green", "stage", "message", "failing", "advisories"),
    *("first_rung", "first_stage"),
    *(f"{check}_grade" for check in _GRADED),
    *_EVIDENCE,
    *("kind", "reason", "issue", "duration_s", "seed", "reproduce", "run_id", "torch"),
)
_CHECK_COLUMNS = (*_KEY, "check", "level", "held", "breaks", "grade", "differences", "message")
_CATEGORIES: Mapping[str, type[StrEnum]] = {
    "outcome": Outcome,
    "verdict": Verdict,
    "stage": Stage,
    "level": Level,
    "grade": Grade,
    **{f"{check}_grade": Grade for check in _GRADED},
}
_TYPES = {
    **{name: "boolean" if name == "compiled_backward" else "Int64" for name in _EVIDENCE},  # absent without evidence
    **dict.fromkeys(("conforms", "scored", "green"), "bool"),
}


def load(*paths: str | Path) -> pd.DataFrame:
    """One row for each record, sorted by backend (in ladder order), case and variant.

    Columns: backend, area, case, variant; the axes grad, autocast, dtype, dynamic and `params` (a case's own axes as
    text); clauses, with a space between them; outcome, verdict, and the booleans conforms, scored, green; stage,
    message; failing and advisories (names of MUST and SHOULD checks that did not hold); first_rung and first_stage: the
    first of PyTorch's own backends from which on all show a failure, and whether it shows in forward or backward, empty
    where not all of them have a record; values_grade, gradients_grade;
    the counts of the evidence; kind, reason and issue of the expectation; duration_s, seed, reproduce, run_id, torch;
    then one column for each metric.

    Args:
        paths: record files, or folders of which every `*.jsonl` is read that holds no timings. Of folders in them that
            are named after releases of torch only the newest is read: `load("results/records")` gives the published
            tables, `load("results/records/2.13.0+cpu")` the run on that release, and both together, where both are
            named, differ in the column torch.
    """
    runs = _read(paths)
    return of(with_torch(runs), beside=with_torch(_older(paths, runs)))


def load_checks(*paths: str | Path) -> pd.DataFrame:
    """One row for each check of each record; the paths are as for `load`."""
    return checks_of(record for run in _read(paths) for record in run.records)


def _read(paths: Sequence[str | Path]) -> list[RunFile]:
    files, timings = find_kinds(*paths)
    if not files:
        message = f"{', '.join(map(str, timings))}: timings, which conformance.load_timing reads"
        raise RecordError(message)
    return [record_file.read(file) for file in files]


def _older(paths: Sequence[str | Path], runs: Iterable[RunFile]) -> list[RunFile]:
    """The runs in folders of older releases that some of these were made on: there the rungs below them are."""
    made, read = {run.header.environment.torch for run in runs}, find_files(*paths)
    files = [file for file in find_every_release(*paths) if file not in read]
    return [record_file.read(file) for file in files if releases.release_of(file) in made]


def with_torch(runs: Iterable[RunFile]) -> Iterator[tuple[Record, str]]:
    """The records of runs, each with the version of torch it was made with, as `of` takes them."""
    return ((record, run.header.environment.torch) for run in runs for record in run.records)


def find_files(*paths: str | Path) -> list[Path]:
    """The files that paths name, of records or of timings: a file is itself, a folder every `*.jsonl` in it, by name.

    Of folders in it that are named after releases of torch, a folder means the newest too (`conformance.releases`).

    Raises:
        RecordError: no path is given, or one holds no record file.
    """
    if not paths:
        message = "no record file is given"
        raise RecordError(message)
    return list(dict.fromkeys(file for path in paths for file in _files_at(Path(path))))


def find_kinds(*paths: str | Path) -> tuple[list[Path], list[Path]]:
    """The files of `find_files`, those of records and those of timings apart; it raises what that raises."""
    files = find_files(*paths)
    timings = [path for path in files if is_timings(path)]
    return [path for path in files if path not in timings], timings


def find_every_release(*paths: str | Path) -> list[Path]:
    """The record files of `find_kinds`, and those of every older release in the folders; it raises what that raises."""
    older = [folder for path in map(Path, paths) if path.is_dir() for folder in releases.within(path)]
    return find_kinds(*paths, *older)[0]


def _files_at(path: Path) -> list[Path]:
    files = [*releases.files(path), *releases.newest(path)] if path.is_dir() else [path] if path.exists() else []
    if not files:
        message = f"no record file at {path}"
        raise RecordError(message)
    return files


def of(records: Iterable[Record | tuple[Record, str]], beside: Iterable[tuple[Record, str]] = ()) -> pd.DataFrame:
    """The frame of `load`, from records in memory.

    Args:
        records: one row each; a record may come with the version of torch it was made with.
        beside: records that get no row, but may be rungs below those that do, on the same version.
    """
    pairs = [item if isinstance(item, tuple) else (item, "") for item in records]
    made = dict.fromkeys(torch for _, torch in pairs)
    every = [*pairs, *beside]
    culprits = {torch: first_in_records(one for one, on in every if on == torch) for torch in made}
    rows = [_row(record, torch) | _rung(record, culprits[torch].get(record.key, "")) for record, torch in pairs]
    metrics = sorted({name for row in rows for name in row}.difference(_COLUMNS))
    return _typed(pd.DataFrame(rows, columns=[*_COLUMNS, *metrics]).astype(_TYPES))


def checks_of(records: Iterable[Record]) -> pd.DataFrame:
    """The frame of `load_checks`, from records in memory; `differences` counts what differs."""
    rows = [
        _key(record)
        | {
            "check": check.check,
            "level": check.level,
            "held": check.held,
            "breaks": check.breaks,
            "grade": check.grade,
            "differences": len(check.differences),
            "message": "; ".join(filter(None, [_first(check), check.message])),
        }
        for record in records
        for check in record.checks
    ]
    return _typed(pd.DataFrame(rows, columns=list(_CHECK_COLUMNS)))


def _first(check: CheckResult) -> str:
    return next((f"{d.kind} in {d.path}: actual {d.actual}, expected {d.expected}" for d in check.differences), "")


def _key(record: Record) -> dict[str, object]:
    area = record.case_id.partition(".")[0]
    return {"backend": record.backend, "area": area, "case": record.case_id, "variant": record.variant}


def _row(record: Record, torch: str) -> dict[str, object]:
    grades = {check.check: check.grade for check in record.checks}
    expectation = record.expectation or {}
    return {
        **record.metrics,  # first: a metric cannot take the place of a column of ours
        **_key(record),
        **axes_of(record.variant),
        "clauses": " ".join(record.clauses),
        "outcome": record.outcome,
        "verdict": record.verdict,
        "conforms": record.verdict.conforms,
        "scored": record.verdict.scored,
        "green": record.verdict.is_green,
        "stage": record.stage,
        "message": record.message,
        "failing": ", ".join(check.check for check in record.checks if check.breaks),
        "advisories": ", ".join(check.check for check in record.checks if not check.held and not check.breaks),
        **{f"{name}_grade": grades.get(name) for name in _GRADED},
        **(asdict(record.evidence) if record.evidence else {}),
        **{name: expectation.get(name, "") for name in ("kind", "reason", "issue")},
        "duration_s": record.duration_s,
        "seed": record.seed,
        "reproduce": record.reproduce,
        "run_id": record.run_id,
        "torch": torch,
    }


def _rung(record: Record, first: str) -> dict[str, object]:
    return {"first_rung": first, "first_stage": Symptom.of_record(record).stage if first else ""}


def axes_of(variant: str) -> dict[str, str]:
    """Take a variant's id apart; axes it does not name stand at their defaults, a case's own go into `params`."""
    pairs = dict(part.partition("=")[::2] for part in re.split(r",(?=\w+=)", variant))
    defaults = {"grad": "enabled", "autocast": "off", "dtype": "float32", "dynamic": "false"}
    own = ",".join(f"{name}={value}" for name, value in pairs.items() if name and name not in _AXES)
    return {name: pairs.get(name, defaults[name]) for name in _AXES} | {"params": own}


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give words their order: backends along the ladder, everything else as its enumeration lists it."""
    for name, words in _CATEGORIES.items():
        if name in frame:
            frame[name] = categorical(frame[name], [str(word) for word in words])
    frame["backend"] = categorical(frame["backend"], by_ladder(frame["backend"]))
    by = [name for name in ("backend", "case", "variant", "check") if name in frame]
    return frame.sort_values(by, ignore_index=True, kind="stable")


def categorical(column: pd.Series, order: Sequence[str]) -> pd.Categorical:
    """A column of words in the order that they are given in; what is none of them is missing."""
    values = [None if pd.isna(value) else str(value) for value in column]
    return pd.Categorical(values, categories=list(order), ordered=True)

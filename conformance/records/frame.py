"""Record files as tidy pandas frames: one row per record, or one row per check."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conformance.isolation.garbage import uncollected
from conformance.model.attribution import Cause
from conformance.model.enums import Grade, Level, Outcome, Stage, Verdict
from conformance.model.errors import RecordFileError
from conformance.model.ladder import by_ladder
from conformance.model.moves import NO_MOVES
from conformance.model.result import Evidence
from conformance.records import parquet, record_file, releases
from conformance.records.find import find_every_release, find_files, find_kinds
from conformance.verdict.ladder import first_in_records
from conformance.verdict.root_causes import root_causes
from conformance.verdict.symptom import first_stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.model.result import CheckResult, Record
    from conformance.records.record_file import RunFile

__all__ = [
    "BY_LADDER",
    "CHECK_TYPES",
    "MOVES_AREA",
    "TYPES",
    "Types",
    "area_of",
    "axes_of",
    "checks_of",
    "joined",
    "load",
    "load_checks",
    "makes_moves",
    "of",
    "table",
    "with_torch",
]

_AXES = ("grad", "autocast", "dtype", "dynamic", "moves")
_GRADED = ("values", "gradients")
_EVIDENCE = tuple(spec.name for spec in fields(Evidence))
_KEY = ("backend", "area", "case", "variant")

Types = Mapping[str, str | type[StrEnum]]
"""Columns in order, each with its dtype; an enumeration is an ordered categorical of its values."""

MOVES_AREA = "moves"
"""The area of records in which the caller makes moves, whatever the case."""

BY_LADDER = "backends"
"""The dtype of a column of backends: an ordered categorical of those in the data, along the ladder."""

TYPES: Types = {
    "backend": BY_LADDER,
    **dict.fromkeys(("area", "case", "variant", *_AXES, "params", "clauses"), "str"),
    "outcome": Outcome,
    "verdict": Verdict,
    **dict.fromkeys(("conforms", "scored", "green"), "bool"),
    "stage": Stage,
    **dict.fromkeys(("fault", "message", "failing", "advisories", "first_rung", "first_stage"), "str"),
    "attribution": Cause,
    "elsewhere": "bool",
    "root_causes": "str",
    "alone": "bool",
    **{f"{check}_grade": Grade for check in _GRADED},
    **{name: "boolean" if name == "compiled_backward" else "Int64" for name in _EVIDENCE},  # absent without evidence
    **dict.fromkeys(("kind", "reason", "issue"), "str"),
    "duration_s": "float64",
    "seed": "int64",
    **dict.fromkeys(("reproduce", "run_id", "torch", "fingerprint"), "str"),
    **dict.fromkeys(("eager_saved_bytes", "first_call_s", "later_call_s", "modelled_leaves", "saved_bytes"), "float64"),
}
"""The columns of `load` and of `check`."""

CHECK_TYPES: Types = {
    **{name: TYPES[name] for name in _KEY},
    "check": "str",
    "level": Level,
    **dict.fromkeys(("held", "breaks"), "bool"),
    "grade": Grade,
    "differences": "int64",
    "message": "str",
}
"""The columns of `load_checks`."""


def load(*paths: str | Path) -> pd.DataFrame:
    """Read record files as a frame: a row for each record, sorted by backend (in ladder order), case and variant.

    The columns and their dtypes are the same whatever is read, even without records. Categories are ordered: backends
    along PyTorch's own ladder, all others as the suite lists them.

    ==================  ===========  ==================================================================================
    column              dtype        meaning
    ==================  ===========  ==================================================================================
    backend             category     name of the backend
    area                str          first part of the case id, or `moves` where the caller makes moves
    case                str          id of the case
    variant             str          id of the variant, made of its axes
    grad                str          ambient grad mode: enabled, disabled, inference
    autocast            str          ambient autocast: off, bfloat16, float16
    dtype               str          dtype of inputs that do not set one
    dynamic             str          value for `torch.compile(dynamic=...)`: false, true, auto
    moves               str          what the caller does besides calling: none, usual, all, or names of moves
    params              str          a case's own axes, as `name=value,...`
    clauses             str          clauses of the specification that the case tests, separated by spaces
    outcome             category     what happened
    verdict             category     the outcome, given the backend's known failures
    conforms            bool         whether it counts as conforming
    scored              bool         whether it counts at all: not unsupported, skip or invalid
    green               bool         whether it passes a gate
    stage               category     last stage reached: load, build, reference, compile, forward, backward, compare
    fault               str          cause of an invalid request; empty if it is valid
    message             str          description of the failure; empty for a pass
    failing             str          MUST checks that did not hold, separated by commas
    advisories          str          SHOULD checks that did not hold
    first_rung          str          first of PyTorch's own backends from which on all show the failure, if all were run
    first_stage         str          forward or backward, where it shows first; empty without a first rung
    attribution         category     whose fault a failure is: mode, base, ...; missing where no controls were run
    elsewhere           bool         whether it is not the fault of what the request is about
    root_causes         str          what it shows first, and what the backend's harness does, a line each
    alone               bool         whether it would conform with the check of its one root cause set aside
    values_grade        category     grade of the values: bitwise, close, reference, differs, nothing
    gradients_grade     category     grade of the gradients
    graphs              Int64        captured graphs; this and the next seven are missing if nothing was run
    backend_calls       Int64        calls of compiled graphs
    graph_breaks        Int64        graph breaks
    recompiles          Int64        compilations after the first
    frames_skipped      Int64        frames that ran as plain Python
    compiled_backward   boolean      whether backward was compiled
    mode_nodes          Int64        nodes of graphs that set a mode
    returned_unchanged  Int64        graphs that the backend returned unchanged
    kind                str          kind of a known failure: bug, notyet, never; this and the next two may be empty
    reason              str          why it is expected
    issue               str          link to its report
    duration_s          float64      seconds of the whole request
    seed                int64        seed of inputs and cotangents
    reproduce           str          how to run it again: a shell command, or a line of Python from `check`
    run_id              str          id of the run
    torch               str          version and build of torch
    fingerprint         str          digits that are equal for equal environments
    eager_saved_bytes   float64      bytes saved for backward uncompiled; NaN if unknown, as in the next four
    first_call_s        float64      seconds of the first call, which compiles
    later_call_s        float64      median seconds of later calls
    modelled_leaves     float64      uncompiled results that the oracle agrees with
    saved_bytes         float64      bytes that the compiled function saves for backward
    ==================  ===========  ==================================================================================

    A metric that this version does not know becomes one more column of float64 after these.

    >>> frame = conformance.load("results/records/openvino.jsonl")
    >>> frame["backend"].unique().tolist()
    ['openvino']
    >>> frame["conforms"].dtype
    dtype('bool')

    Args:
        paths: record files, or folders, in which every `*.jsonl` without timings is read. Of subfolders named after
            releases of torch only the newest is read: `load("results/records")` gives the published tables,
            `load("results/records/2.13.0+cpu")` the run on that release. If both are given, the column torch
            distinguishes them. A file `*.parquet`, as `conformance report --format parquet` writes it, has its rows,
            with the first rungs that were known when it was written.

    Raises:
        RecordError: no path is given, there is no file, or a file cannot be read.
    """
    tables = [parquet.read(Path(path), TYPES) for path in paths if parquet.is_named(path)]
    lines = [path for path in paths if not parquet.is_named(path)]
    if lines or not tables:
        with uncollected():  # reading makes no cyclic garbage, and collection would scan many objects
            runs = _read(lines)
            tables.append(of(with_torch(runs), beside=with_torch(_older(lines, runs))))
    return tables[0] if len(tables) == 1 else joined(tables)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of frames of `load` in one, in its order and with its dtypes."""
    orders = {name: [word.value for word in kind] for name, kind in TYPES.items() if not isinstance(kind, str)}
    words = dict.fromkeys(["backend", *orders], "str")
    rows = pd.concat([each.astype(words) for each in tables], ignore_index=True)
    for name, order in {"backend": by_ladder(rows["backend"].unique()), **orders}.items():
        rows[name] = pd.Categorical(rows[name], categories=pd.Index(order, dtype="str"), ordered=True)
    return rows.sort_values(["backend", "case", "variant"], ignore_index=True)


def load_checks(*paths: str | Path) -> pd.DataFrame:
    """Return one row for each check of each record; the paths are as for `load`, without Parquet."""
    return checks_of(record for run in _read(paths) for record in run.records)


def _read(paths: Sequence[str | Path]) -> list[RunFile]:
    files, timings = find_kinds(*paths)
    if not files:
        message = f"{', '.join(map(str, timings))}: timings, which conformance.load_timing reads"
        raise RecordFileError(message)
    return [record_file.read(file) for file in files]


def _older(paths: Sequence[str | Path], runs: Iterable[RunFile]) -> list[RunFile]:
    """The runs in folders of the older releases of these runs: they may contain the rungs below."""
    versions, read = {run.header.environment.torch for run in runs}, find_files(*paths)
    files = [file for file in find_every_release(*paths) if file not in read]
    return [record_file.read(file) for file in files if releases.release_of(file) in versions]


def with_torch(runs: Iterable[RunFile]) -> Iterator[tuple[Record, str]]:
    """Yield the records of runs, each with its version of torch, as `of` takes them."""
    return ((record, run.header.environment.torch) for run in runs for record in run.records)


def of(records: Iterable[Record | tuple[Record, str]], beside: Iterable[tuple[Record, str]] = ()) -> pd.DataFrame:
    """Return the frame of `load`, from records in memory.

    Args:
        records: one row each; a record may be paired with its version of torch.
        beside: records that get no row, but may be rungs below those that do, on the same version.
    """
    pairs = [item if isinstance(item, tuple) else (item, "") for item in records]
    versions = dict.fromkeys(torch for _, torch in pairs)
    every = [*pairs, *beside]
    first_rungs = {torch: first_in_records(each for each, on in every if on == torch) for torch in versions}
    rows = [_row(record, torch, first_rungs[torch].get(record.key, "")) for record, torch in pairs]
    return table(_sorted(rows), TYPES)


def checks_of(records: Iterable[Record]) -> pd.DataFrame:
    """Return the frame of `load_checks`, from records in memory; `differences` is their number."""
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
    return table(_sorted(rows), CHECK_TYPES)


def table(rows: Sequence[Mapping[str, object]], types: Types) -> pd.DataFrame:
    """Return a frame of rows in their order, with the same columns and dtypes whatever the rows contain.

    Args:
        rows: values by column; columns absent from a row are missing values.
        types: the columns; numbers with any other name are columns of float64 after these.
    """
    further = sorted({name for row in rows for name in row}.difference(types))
    dtypes: Types = {**types, **dict.fromkeys(further, "float64")}
    absent = dict.fromkeys(dtypes)
    every = itemgetter(*dtypes)
    columns = zip(*(every({**absent, **row}) for row in rows), strict=True) if rows else ([] for _ in dtypes)
    pairs = zip(dtypes.items(), columns, strict=True)
    return pd.DataFrame({name: _column(values, dtype) for (name, dtype), values in pairs})


def _column(values: Sequence[object], dtype: str | type[StrEnum]) -> pd.Series | pd.Categorical:
    if dtype == BY_LADDER:
        return _categorical(values, by_ladder(map(str, values)))
    if isinstance(dtype, str):
        return pd.Series(values, dtype=dtype)
    return _categorical(values, [word.value for word in dtype])


def _categorical(values: Iterable[object], order: Sequence[str]) -> pd.Categorical:
    """A column of categories in the given order; any other value is missing."""
    places: dict[object, int] = {word: place for place, word in enumerate(order)}
    codes = [places.get(value, -1) for value in values]
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(order), dtype="str"), ordered=True)


def _sorted(rows: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    ranks = {name: rank for rank, name in enumerate(by_ladder(str(row["backend"]) for row in rows))}
    by = itemgetter("case", "variant")
    return sorted(rows, key=lambda row: (ranks[str(row["backend"])], *by(row), row.get("check", "")))


def _first(check: CheckResult) -> str:
    return next((f"{d.kind} in {d.place}: actual {d.actual}, expected {d.expected}" for d in check.differences), "")


def _key(record: Record) -> dict[str, object]:
    return {"backend": record.backend, "area": area_of(record), "case": record.case_id, "variant": record.variant}


def _row(record: Record, torch: str, first_rung: str) -> dict[str, object]:
    grades = {check.check: check.grade for check in record.checks}
    broken = [check for check in record.checks if not check.held]
    causes = root_causes(record, makes_moves=makes_moves(record.variant))
    return {
        **record.metrics,  # first: a metric cannot replace a column
        **_key(record),
        **axes_of(record.variant),
        "clauses": " ".join(record.clauses),
        "outcome": record.outcome,
        "verdict": record.verdict,
        "conforms": record.verdict.conforms,
        "scored": record.verdict.scored,
        "green": record.verdict.is_green,
        "stage": record.stage,
        "fault": record.fault.value if record.fault else "",
        "message": record.full_message,
        "failing": ", ".join(check.check for check in broken if check.breaks),
        "advisories": ", ".join(check.check for check in broken if not check.breaks),
        "first_rung": first_rung,
        "first_stage": first_stage(record).value if first_rung else "",
        "attribution": record.attribution.cause if record.attribution else None,
        "elsewhere": bool(record.attribution and record.attribution.is_elsewhere),
        "root_causes": "\n".join(causes.names),
        "alone": causes.is_alone,
        **{f"{name}_grade": grades.get(name) for name in _GRADED},
        **(vars(record.evidence) if record.evidence else {}),
        **{name: str(getattr(record.expectation, name, None) or "") for name in ("kind", "reason", "issue")},
        "duration_s": record.duration_s,
        "seed": record.seed,
        "reproduce": record.reproduce,
        "run_id": record.run_id,
        "torch": torch,
        "fingerprint": record.fingerprint,
    }


@cache  # all records share a few hundred variants
def axes_of(variant: str) -> Mapping[str, str]:
    """Split a variant's id into axes; axes it does not name have their defaults, a case's own go into `params`."""
    pairs = dict(part.partition("=")[::2] for part in re.split(r",(?=\w+=)", variant))
    defaults = {"grad": "enabled", "autocast": "off", "dtype": "float32", "dynamic": "false", "moves": NO_MOVES}
    own = ",".join(f"{name}={value}" for name, value in pairs.items() if name and name not in _AXES)
    return {name: pairs.get(name, defaults[name]) for name in _AXES} | {"params": own}


def makes_moves(variant: str) -> bool:
    """Whether the caller of a variant, by its id, makes moves."""
    return axes_of(variant)["moves"] != NO_MOVES


def area_of(record: Record) -> str:
    """Return the area of a record; that of moves is apart: one defect there shows in the cases of every area."""
    return MOVES_AREA if makes_moves(record.variant) else record.case_id.partition(".")[0]

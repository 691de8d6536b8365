"""Record files: JSON lines of one header, records as they come, and a footer once the run is complete.

A run may be killed at any moment: every line is written before the next result is taken, so only the last line can be
cut off. `resume` drops that line and continues.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from conformance.backend.discovery import portable
from conformance.model.errors import RecordFileError
from conformance.model.result import Record
from conformance.records import encoding
from conformance.records.encoding import READABLE, SCHEMA_VERSION, Footer, Header
from conformance.records.environment import facts, fingerprint, now
from conformance.records.jsonl import (
    LineFile,
    as_record_error,
    is_begun_with,
    reading,
    refuse_another,
    refuse_version,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.catalogue.selection import Plan
    from conformance.model.case import Case, Family
    from conformance.model.result import Environment

__all__ = [
    "Footer",
    "Header",
    "RecordWriter",
    "RunFile",
    "belongs",
    "make_header",
    "mixed_with",
    "publishable",
    "publishable_on_request",
    "read",
    "resume",
    "rewrite",
]

_START = b'{"kind":"header"'


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """Content of a record file. `truncated` counts the bytes of a last line that was cut off; they are left out."""

    header: Header
    records: tuple[Record, ...] = ()
    footer: Footer | None = None
    truncated: int = 0


def make_header(
    plan: Plan, environment: Environment, run_id: str, folders: Sequence[str] = (), cases: Sequence[Case] = ()
) -> Header:
    """Build the header of a run; facts of backends that depend on where they are installed are left out.

    Args:
        plan: plan of the run.
        environment: environment of the run.
        run_id: id of the run.
        folders: folders of cases beyond the packaged ones.
        cases: cases of the plan that are in no file.
    """
    return Header(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        environment=environment,
        fingerprint=fingerprint(environment),
        backends=tuple(map(portable, plan.backends)),
        selection=plan.selection,
        seed=plan.seed,
        shard=plan.shard,
        folders=tuple(folders),
        planned=len(plan.requests),
        total=plan.total,
        digest=plan.digest,
        families=_families(plan),
        cases=tuple(cases),
    )


def _families(plan: Plan) -> tuple[Family, ...]:
    """The families that generated cases of the plan, each once."""
    found = (request.case.family for request in plan.requests)
    return tuple({family.id: family for family in found if family}.values())


class RecordWriter:
    """Writes a record file, each line at once; a context manager that leaves it without a footer unless `finish` ran.

    The file is opened here, so that an unwritable place is known before work starts.

    Args:
        path: the file; replaced if it exists and nothing is continued.
        header: header of the run.
        continues: the content of the file, if it is continued; then its header is used.

    Attributes:
        header: header of the file.
        finished: whether the file has its footer.
        dropped: how many bytes of a cut-off last line were removed from a continued file.

    Raises:
        UsageError: the file exists and is not a record file.
        RecordError: the file cannot be written; so do `write` and `finish`.
    """

    def __init__(self, path: Path, header: Header, continues: RunFile | None = None) -> None:
        self.header = continues.header if continues else header
        self.finished = continues is not None and continues.footer is not None
        self.dropped = continues.truncated if continues else 0
        self._counts = Counter(record.verdict.value for record in continues.records) if continues else Counter()
        self._opened = time.monotonic()
        self._file = LineFile(path, _START, encoding.encode(header), truncate=self.dropped if continues else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.__exit__(*raised)

    def write(self, record: Record) -> None:
        """Write one record at once."""
        self._put(encoding.encode_record(record, self.header))
        self._counts[record.verdict.value] += 1

    def finish(self, gated: Mapping[str, str]) -> None:
        """Write the footer: every planned request was run, except those of `gated` backends."""
        if self.finished:
            return
        footer = Footer(
            counts=dict(sorted(self._counts.items())),
            records=self._counts.total(),
            gated=dict(gated),
            finished=now(),
            duration_s=round(time.monotonic() - self._opened, 1),
        )
        self._put(encoding.encode(footer))
        self.finished = True

    def _put(self, line: str) -> None:
        self._file.put(line, f"; the {self._counts.total()} records before this one are kept")


def read(path: Path) -> RunFile:
    """Read a record file; a last line that was cut off is counted and left out.

    Raises:
        RecordFileError: the file cannot be read, or is not a record file.
    """
    run = _scan(path)
    if run is None:
        message = f"{path}: holds no header; the run was stopped as it began"
        raise RecordFileError(message)
    return run


def resume(path: Path, header: Header) -> tuple[RecordWriter, tuple[Record, ...]]:
    """Continue a record file, or start it if there is none; return the writer, and the records already in it.

    The writer has the header of the file, whose run_id the new records get.

    Raises:
        UsageError: the file is of a run of another plan or environment.
        RecordError: the file cannot be read or written, or is not a record file.
    """
    run = _scan(path) if path.exists() else None
    if run is None:
        return RecordWriter(path, header), ()
    refuse_another(path, _facts(run.header), _facts(header))
    return RecordWriter(path, header, continues=run), run.records


def mixed_with(run: RunFile) -> str:
    """Return the fingerprint of a run whose workers were allowed to differ; '' where they were not."""
    return run.header.fingerprint if run.header.selection.allow_mixed else ""


def rewrite(path: Path, run: RunFile) -> None:
    """Replace the content of a record file at once; of a link, that of the file that it leads to.

    Raises:
        RecordError: it cannot be written.
    """
    parts = [encoding.encode_record(record, run.header) for record in run.records]
    texts = [encoding.encode(run.header), *parts, *([encoding.encode(run.footer)] if run.footer else [])]
    with as_record_error(f"cannot write {path}"):
        path = path.resolve()
        scratch = path.with_name(f"{path.name}.new")  # so that a full disk costs nothing
        scratch.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        scratch.replace(path)


def belongs(path: Path, header: Header) -> bool:
    """Whether a file is of the run with this header, so that it can be continued."""
    return is_begun_with(path, _START, lambda line: _facts(encoding.decode_header(line)), _facts(header))


def publishable(run: RunFile) -> str | None:
    """Return why a run must not be published, or None. One with gated backends may be: its pages show it."""
    return _unfit(run, run.header.selection.restrictions)


def publishable_on_request(run: RunFile) -> str | None:
    """Return why a run of cases that run only on request must not be published beside those of the suite, or None."""
    return _unfit(run, [name for name in run.header.selection.restrictions if name != "tags"])


def _unfit(run: RunFile, restrictions: Sequence[str]) -> str | None:
    if run.truncated:
        return "its last line is cut off"
    if run.footer is None:
        return "it has no footer: the run was interrupted (`conformance run --resume` completes it)"
    if run.header.shard is not None:
        index, count = run.header.shard
        return f"it is shard {index} of {count}"
    if restrictions:
        return f"it is a partial run: selected by {', '.join(restrictions)}"
    if not run.footer.gated and len(run.records) != run.header.planned:
        return f"it holds {len(run.records)} of {run.header.planned} records"
    return None


def _scan(path: Path) -> RunFile | None:
    """The content of a file; None if its header is cut off."""
    found, truncated = split(path, _START, "a record file")
    if not found:
        return None
    first, *others = found
    with reading(f"{path}:1"):
        header = encoding.decode_header(first)
    refuse_version(path, header.schema_version, READABLE)
    records, footer = _contents(path, others, header)
    return RunFile(header=header, records=records, footer=footer, truncated=truncated)


def _contents(path: Path, texts: Iterable[bytes], header: Header) -> tuple[tuple[Record, ...], Footer | None]:
    records: dict[tuple[str, str, str], Record] = {}
    footer = None
    for number, text in enumerate(texts, start=2):
        with reading(f"{path}:{number}"):
            part = encoding.decode(text, header)
            if footer is not None or (isinstance(part, Record) and part.key in records):
                message = "it follows the footer, or repeats a record"
                raise ValueError(message)
        if isinstance(part, Record):
            records[part.key] = part
        else:
            footer = part
    return tuple(records.values()), footer


def _facts(header: Header) -> dict[str, object]:
    """Facts that two headers of one run share."""
    plan = {
        "plan": f"{header.total} requests ({header.digest})",
        "list of backends": ", ".join(info.name for info in header.backends),
        "seed": header.seed,
        "shard": header.shard,
    }
    return plan | facts(header.environment, header.backends)

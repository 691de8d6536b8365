from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.selection import select
from conformance.model.enums import Capability
from conformance.model.errors import RecordError, UsageError
from conformance.records import encoding
from conformance.records.record_file import Header, RecordWriter, RunFile, make_header, publishable, read, resume
from conformance.tests.fakes import a_backend, a_case, a_record, an_environment

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from conformance.model.result import Environment, Record

CASES = tuple(a_case(f"demo.first.{name}") for name in ("one", "two", "three"))


def a_header(environment: Environment | None = None, **selection: object) -> Header:
    """The header of a run of three cases."""
    backends = selection.pop("backends", [a_backend()])
    plan = select(CASES, backends, **selection)  # type: ignore[arg-type]
    return make_header(plan, environment or an_environment(), "run-1")


HEADER = a_header()
RECORDS = tuple(a_record(case.id, fingerprint=HEADER.fingerprint) for case in CASES)


def a_file(path: Path, records: tuple[Record, ...] = RECORDS, *, header: Header = HEADER, finish: bool = True) -> Path:
    """Write a record file; without its footer, the run was interrupted."""
    with RecordWriter(path, header) as writer:
        for record in records:
            writer.write(record)
        if finish:
            writer.finish({})
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Header, records and footer are read back as they were."""
    run = read(a_file(tmp_path / "new" / "run.jsonl"))
    assert (run.header, run.records, run.truncated) == (HEADER, RECORDS, 0)
    assert run.footer is not None
    assert (run.footer.counts, run.footer.records, run.footer.gated) == ({"pass": 3}, 3, {})


def test_each_record_is_out_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """Killing the parent loses no finished record."""
    path = tmp_path / "run.jsonl"
    with RecordWriter(path, HEADER) as writer:
        for count, record in enumerate(RECORDS, start=1):
            writer.write(record)
            assert read(path).records == RECORDS[:count]


def test_the_footer_has_what_was_gated(tmp_path: Path) -> None:
    """A backend that failed the smoke cases is in the footer."""
    with RecordWriter(tmp_path / "run.jsonl", HEADER) as writer:
        writer.finish({"fake": "all failed"})
    footer = read(tmp_path / "run.jsonl").footer
    assert footer is not None
    assert footer.gated == {"fake": "all failed"}


@pytest.mark.parametrize("content", [b"", b'{"kind":"hea'])
def test_a_file_without_a_header_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """A run that was stopped as it began is empty."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="holds no header"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "not a record file"),
        (b"\xff\n", "not a record file"),
        (b'{"kind":"header"\n', "run.jsonl:1: EOF while parsing"),
        (encoding.encode(HEADER).encode() + b"\n{}\n", "run.jsonl:2: not a record or footer"),
        (encoding.encode(HEADER).encode() + b"\n" + b"[" * 100_000 + b"\n", "run.jsonl:2: "),
        (encoding.encode(replace(HEADER, schema_version=9)).encode() + b"\n", "version 9 of the format"),
    ],
)
def test_another_file_is_refused_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    """Reading and resuming both report where the file is wrong, and leave it as it is."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    for action in (lambda: read(path), lambda: resume(path, HEADER)):
        with pytest.raises(RecordError) as caught:
            action()
        assert message in str(caught.value)
        assert len(str(caught.value)) < 600
    assert path.read_bytes() == content


@pytest.mark.parametrize("number", [1, 4])
def test_a_record_twice_or_after_the_footer_is_refused(tmp_path: Path, number: int) -> None:
    """A file that was put together by hand, or written by two runs at once, is no run."""
    path = a_file(tmp_path / "run.jsonl")
    content = path.read_bytes().splitlines(keepends=True)
    if number == 4:
        content.append(content[1].replace(b"first.one", b"first.four"))
    else:
        content.insert(2, content[1])
    path.write_bytes(b"".join(content))
    with pytest.raises(RecordError, match="follows the footer, or repeats a record"):
        read(path)


def test_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(RecordError, match=r"cannot read .*run.jsonl: No such file"):
        read(tmp_path / "run.jsonl")


@settings(deadline=None)
@given(data=st.data())
def test_any_prefix_of_a_file_resumes_with_its_complete_records(data: st.DataObject) -> None:
    """Wherever a run was killed: no record is lost, none is doubled, and it ends as if it had not been."""
    with tempfile.TemporaryDirectory() as folder:
        path = a_file(Path(folder, "run.jsonl"))
        content = path.read_bytes()
        # The footer may have a duration or not, so the end of the file is not always as far away.
        kept = content[: len(content) - min(data.draw(st.integers(0, 2000)), len(content))]
        path.write_bytes(kept)
        writer, done = resume(path, HEADER)
        with writer:
            assert done == RECORDS[: max(0, min(kept.count(b"\n") - 1, 3))]
            for record in RECORDS[len(done) :]:
                writer.write(record)
            writer.finish({})
        run = read(path)
        assert (run.header, run.records, run.truncated) == (HEADER, RECORDS, 0)
        assert run.footer is not None
        assert run.footer.counts == {"pass": 3}


def test_what_is_no_record_file_is_not_replaced(tmp_path: Path) -> None:
    """A run replaces the records of an earlier one, and nothing else."""
    path = tmp_path / "notes.txt"
    path.write_text("worth keeping")
    with pytest.raises(UsageError, match="is no record file, so it is not replaced"):
        RecordWriter(path, HEADER)
    assert path.read_text() == "worth keeping"
    assert read(a_file(a_file(tmp_path / "run.jsonl"), RECORDS[:1])).records == RECORDS[:1]


def test_resuming_nothing_starts(tmp_path: Path) -> None:
    """A missing file is a run that has everything left to do."""
    writer, done = resume(tmp_path / "run.jsonl", HEADER)
    with writer:
        assert (done, writer.header, writer.finished) == ((), HEADER, False)
    assert read(tmp_path / "run.jsonl").header == HEADER


def test_a_resumed_run_keeps_its_own_header(tmp_path: Path) -> None:
    """Its run_id is that of the records to come, and its start remains its start."""
    path = a_file(tmp_path / "run.jsonl", RECORDS[:1], finish=False)
    again = replace(a_header(an_environment(started="2027-01-01T00:00:00+00:00")), run_id="run-2")
    writer, done = resume(path, again)
    with writer:
        assert (writer.header, done) == (HEADER, RECORDS[:1])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    """There is nothing left to do."""
    path = a_file(tmp_path / "run.jsonl")
    before = path.read_bytes()
    writer, done = resume(path, HEADER)
    with writer:
        assert writer.finished
        writer.finish({})
    assert done == RECORDS
    assert path.read_bytes() == before


def test_a_cut_line_is_counted_and_dropped(tmp_path: Path) -> None:
    """The reader reports that the file is truncated; resuming repairs it."""
    path = a_file(tmp_path / "run.jsonl", finish=False)
    with path.open("ab") as file:
        file.write(b'{"kind":"rec')
    assert (read(path).truncated, read(path).records) == (12, RECORDS)
    with resume(path, HEADER)[0] as writer:
        assert (read(path).truncated, writer.dropped) == (0, 12)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (a_header(case_globs=["*.one"]), r"plan was 3 requests \(.*\), is now 1 requests"),
        (a_header(seed=1), "seed was 0, is now 1"),
        (a_header(shard=(1, 2)), r"shard was None, is now \(1, 2\)"),
        (a_header(an_environment(torch="2.14.0")), "torch was 2.13.0, is now 2.14.0"),
        (a_header(backends=[a_backend(packages={"x": "2"})]), "packages of backend fake was {}, is now {'x': '2'}"),
        (a_header(backends=[a_backend("new")]), r"list of backends was fake, is now new$"),
        (
            a_header(backends=[a_backend(capabilities=frozenset({Capability.RNG, Capability.AUTOCAST}))]),
            r"capabilities of backend fake was autocast, batched_gradients, .*, is now autocast, rng$",
        ),
    ],
)
def test_another_plan_or_machine_cannot_continue_a_file(tmp_path: Path, other: Header, message: str) -> None:
    """One file is for one run: the message has the differences, and the file stays as it is."""
    path = a_file(tmp_path / "run.jsonl", finish=False)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        resume(path, other)
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_folder_that_cannot_be_written_is_known_before_work_starts(tmp_path: Path, is_resumed: bool) -> None:
    """The error comes from opening the file, and names it."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "run.jsonl"
    with pytest.raises(RecordError, match=r"cannot write .*run.jsonl"):
        _ = resume(path, HEADER) if is_resumed else RecordWriter(path, HEADER)


def test_a_read_only_folder_is_known_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the system is in the message."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RecordError, match=r"cannot write .*run.jsonl: Read-only file system"):
        RecordWriter(tmp_path / "run.jsonl", HEADER)


def test_a_full_disk_is_known_before_work_starts() -> None:
    """The header is written at once, so that there is somewhere to write to."""
    with pytest.raises(RecordError, match="cannot write /dev/full: No space left on device"):
        RecordWriter(Path("/dev/full"), HEADER)


def test_a_disk_that_fills_up_keeps_the_records_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write raises; what was written can be read and resumed."""
    path = tmp_path / "run.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode, **_: _Full(path, mode))
        writer = RecordWriter(path, HEADER)
    with writer:
        writer.write(RECORDS[0])
        with pytest.raises(RecordError, match="No space left on device; the 1 records before this one are kept"):
            writer.write(RECORDS[1])
    assert (read(path).records, read(path).truncated) == (RECORDS[:1], 10)
    with resume(path, HEADER)[0] as again:
        again.write(RECORDS[1])
    assert read(path).records == RECORDS[:2]


class _Full(FileIO):
    """A file with room for the header, one record and ten bytes, which takes at most 100 bytes at a time."""

    room = len(encoding.encode(HEADER)) + 1 + len(encoding.encode_record(RECORDS[0], HEADER)) + 1 + 10

    def write(self, data: ReadableBuffer) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(memoryview(data)[: min(self.room, 100)])
        self.room -= written
        return written


def test_records_can_be_thrown_away() -> None:
    """What is no regular file is written to all the same."""
    with RecordWriter(Path(os.devnull), HEADER) as writer:
        writer.write(RECORDS[0])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"truncated": 3}, "its last line is cut off"),
        ({"footer": None}, "it has no footer: the run was interrupted"),
        ({"header": a_header(shard=(1, 3))}, "it is shard 1 of 3"),
        ({"header": a_header(case_globs=["demo.*"], variants=["grad=enabled"])}, "selected by cases, variants"),
        ({"header": a_header(timeout_s=5.0)}, None),
        ({"records": RECORDS[:2]}, "it holds 2 of 3 records"),
    ],
)
def test_only_a_whole_run_is_publishable(tmp_path: Path, changes: dict[str, object], reason: str | None) -> None:
    """The reason has what is missing, or was left out on purpose."""
    run = replace(read(a_file(tmp_path / "run.jsonl")), **changes)  # type: ignore[arg-type]
    assert (publishable(run) is None) if reason is None else (reason in (publishable(run) or ""))


def test_a_run_with_a_gated_backend_is_publishable(tmp_path: Path) -> None:
    """That the backend failed every smoke case is a result."""
    run = read(a_file(tmp_path / "run.jsonl"))
    assert run.footer is not None
    gated = RunFile(
        header=run.header, records=RECORDS[:1], footer=replace(run.footer, gated={"fake": "all smoke requests failed"})
    )
    assert publishable(gated) is None

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.model.enums import Verdict
from conformance.model.errors import RecordError, UsageError
from conformance.model.request import Selection
from conformance.records import find
from conformance.tests.fakes import a_timing
from conformance.tests.runs import a_run, some_timings
from conformance.timing import timing_file
from conformance.timing.model import Noise

TIMINGS = (
    a_timing(),
    a_timing(backend="other", verdict=Verdict.XFAIL, message="values differ", blocks=(), compiles={}),
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Header, noise, timings with every block, and footer are read back as they were."""
    run = timing_file.read(some_timings(tmp_path / "new" / "t.jsonl", *TIMINGS, smallest=0.05))
    assert run.timings == TIMINGS
    assert run.noises == (Noise(ratios={"demo": (0.995, 1.0, 1.005)}),)
    assert (run.header.smallest, run.header.conditions.governor) == (0.05, "performance")
    assert run.footer is not None
    assert (run.footer.timings, run.footer.load) == (2, 0.5)
    assert timing_file.publishable(run) is None


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    """A run that was killed while it wrote loses the line that it wrote, and is reported as incomplete."""
    path = some_timings(tmp_path / "t.jsonl", *TIMINGS, finish=False)
    path.write_bytes(path.read_bytes()[:-5])
    run = timing_file.read(path)
    assert run.timings == TIMINGS[:1]
    why = "it has no footer: the run was interrupted (`conformance bench --resume` completes it)"
    assert timing_file.publishable(run) == why


def test_a_choice_of_cases_is_not_published(tmp_path: Path) -> None:
    """A table of the cases that somebody chose is not the table of the backend."""
    run = timing_file.read(some_timings(tmp_path / "t.jsonl", *TIMINGS, selection=Selection(cases=("demo.*",))))
    assert timing_file.publishable(run) == "it is a partial run: selected by cases"
    few = timing_file.read(some_timings(tmp_path / "f.jsonl", *TIMINGS, planned=3))
    assert timing_file.publishable(few) == "it holds 2 of 3 timings"


def test_noise_counts_where_something_was_timed_after_it(tmp_path: Path) -> None:
    """A run that was stopped between the two and continued has a noise that nothing was timed under."""
    path = some_timings(tmp_path / "t.jsonl", a_timing(), a_timing(backend="other"), finish=False)
    header, noise, *timings = path.read_text().splitlines()
    loud = noise.replace("0.995", "0.5")
    path.write_text("\n".join([header, loud, noise, timings[0], loud, noise, timings[1], loud, ""]))
    assert timing_file.read(path).noises == (Noise(ratios={"demo": (0.995, 1.0, 1.005)}),) * 2


@pytest.mark.parametrize("place", [-2, -1])
def test_no_line_is_repeated(tmp_path: Path, place: int) -> None:
    """Neither a timing, nor anything after the footer."""
    path = some_timings(tmp_path / "t.jsonl", *TIMINGS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[place], *lines[-1:], ""]))
    with pytest.raises(RecordError, match=r"t\.jsonl:[56]: "):
        timing_file.read(path)


def test_a_header_that_cannot_be_written_is_reported() -> None:
    """So is every line."""
    with pytest.raises(RecordError, match="cannot write /dev/full: No space left on device"):
        some_timings(Path("/dev/full"), *TIMINGS)


def test_a_run_that_was_stopped_as_it_began_is_begun_anew(tmp_path: Path) -> None:
    """Of a header that was cut off nothing is kept."""
    header = timing_file.read(some_timings(tmp_path / "whole.jsonl", *TIMINGS)).header
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"kind":"timings","schema')
    writer, run = timing_file.resume(path, header)
    with writer:
        writer.write(TIMINGS[0])
    assert run == timing_file.TimingRun(header=header)
    assert timing_file.read(path).timings == TIMINGS[:1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "not a file of timings"),
        (b"", "holds no header"),
        (b'{"kind":"timings"', "holds no header"),
        (b'{"kind":"timings"}\n', "t.jsonl:1: "),
        (b'{"kind":"timings",\n', "t.jsonl:1: "),
        (b'{"kind":"timings"]\n', "t.jsonl:1: "),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """What is no file of timings is named, with the line where it is wrong."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=message):
        timing_file.read(path)


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"kind":"timing"}', b'{"kind":"header"}', b"nonsense"])
def test_a_line_that_is_no_timing_is_refused(tmp_path: Path, line: bytes) -> None:
    """It is named with its number."""
    path = some_timings(tmp_path / "t.jsonl", *TIMINGS, finish=False)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(RecordError, match=r"t\.jsonl:5: "):
        timing_file.read(path)


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    """What a later version wrote is not guessed at."""
    with pytest.raises(RecordError, match="version 9 of the format; this package reads 2"):
        timing_file.read(some_timings(tmp_path / "t.jsonl", *TIMINGS, schema_version=9))


def test_the_two_kinds_of_files_are_distinguished(tmp_path: Path) -> None:
    """Neither is taken for the other, nor replaced by the other."""
    records, timings = a_run(tmp_path / "r.jsonl"), some_timings(tmp_path / "t.jsonl", *TIMINGS)
    assert not find.is_timings(records)
    assert find.is_timings(timings)
    with pytest.raises(RecordError, match="not a file of timings"):
        timing_file.read(records)
    with pytest.raises(UsageError, match="so it is not replaced"):
        some_timings(records)
    with pytest.raises(UsageError, match="so it is not replaced"):
        a_run(timings)

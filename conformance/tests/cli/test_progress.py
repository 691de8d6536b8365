from __future__ import annotations

import io

import pytest

from conformance.cli.progress import Log, progress, steps
from conformance.tests.fakes import a_record
from conformance.tests.report.test_terminal import Terminal
from conformance.tests.runs import red


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def lines(total: int, seconds: float) -> list[str]:
    """The lines of a log of a run whose steps take equally long."""
    clock = Clock()
    log = Log(total, clock)
    lines = []
    for _ in range(total):
        clock.now += seconds / total
        lines.append(log.step())
    return [line for line in lines if line]


def test_a_log_says_how_much_is_done_what_is_red_and_how_long_it_takes_yet() -> None:
    """In one line that needs no other."""
    clock = Clock()
    log = Log(200, clock)
    lines = []
    for _ in range(10):
        clock.now += 3.0
        lines.append(log.step("2 red"))
    assert lines == [*[""] * 9, "10/200 done (5%), 2 red, about 10 min left"]


@pytest.mark.parametrize(
    ("left", "words"), [(20, "about 20 s left"), (600, "about 10 min left"), (5400, "about 1.5 h")]
)
def test_the_time_that_is_left_is_reported_in_its_unit(left: float, words: str) -> None:
    """In the largest suitable unit."""
    clock = Clock()
    log = Log(2, clock)
    clock.now += left
    assert words in log.step()


def test_a_run_of_seconds_has_no_lines_and_one_of_an_hour_has_about_25() -> None:
    """With any number of requests."""
    assert lines(100, 4.0) == []
    assert len(lines(1000, 90.0)) <= 20
    for total in (40, 5000):
        for hours in (0.25, 1.0, 3.0):
            assert 10 <= len(lines(total, 3600 * hours)) <= 28


def test_a_slow_beginning_is_reported_after_half_a_minute_then_less_often() -> None:
    """The first 5 % of a long run take minutes."""
    clock = Clock()
    log = Log(100_000, clock)
    seconds = []
    for second in range(1, 1000):
        clock.now = float(second)
        if log.step():
            seconds.append(second)
    assert seconds == [30, 90, 210, 450, 930]


def test_progress_is_drawn_on_a_terminal() -> None:
    """It counts verdicts as they come."""
    stream = Terminal()
    with progress(2, stream=stream) as advance:
        advance(a_record())
        advance(red())
    assert "2/2" in stream.getvalue()
    assert "fail 1" in stream.getvalue()


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_progress_is_silent_elsewhere(stream: io.StringIO, quiet: bool) -> None:
    """In a log file, or when asked for."""
    with progress(1, quiet=quiet, stream=stream) as advance:
        advance(a_record())
    assert stream.getvalue() == ""


def test_progress_in_a_log_is_lines_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bar, and nothing of it on stdout."""
    clock = Clock()
    monkeypatch.setattr("conformance.cli.progress.time.monotonic", clock)
    monkeypatch.setattr(Log.__init__, "__defaults__", (clock,))
    with progress(2) as advance:
        for record in (red(), a_record()):
            clock.now += 40.0
            advance(record)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "1/2 done (50%), 1 red, about 40 s left\n2/2 done (100%), 1 red, about 0 s left\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_findings_are_printed_as_they_come_where_that_is_asked_for(stream: io.StringIO) -> None:
    """In full, however long their lines are; of some records there is nothing to print."""
    text = f"seen [bold]{'x' * 300}[/bold]"
    with progress(2, stream=stream, show=lambda record: "" if record.verdict.is_green else text) as advance:
        advance(a_record())
        advance(red())
    assert stream.getvalue().count(text) == 1


@pytest.mark.parametrize("width", [60, 80, 240])
def test_the_numbers_of_the_bar_are_never_cut(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The current step has the rest of the line."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    with steps(5716, stream=stream) as step:
        for _ in range(5716):
            step("pass 5000  fail 700  aot_eager_decomp_partition autocast.lists.inference_inside")
    assert "5716/5716" in stream.getvalue()
    assert "0:00:0" in stream.getvalue()

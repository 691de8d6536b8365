"""The codec between dataclasses and JSON, and reading what an untrusted child wrote."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.isolation import messages
from conformance.model import codec
from conformance.model.enums import Grade, Level, Stage
from conformance.model.result import Attempt, CheckResult, Difference, Ended, Evidence, Raised

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_NUMBER = st.floats(allow_nan=False)
_DIFFERENCES = st.builds(
    Difference,
    path=_TEXT,
    kind=_TEXT,
    actual=_TEXT,
    expected=_TEXT,
    max_abs=st.none() | _NUMBER,
    first_index=st.none() | st.lists(st.integers(0, 9), max_size=3).map(tuple),
)
_CHECKS = st.builds(
    CheckResult,
    check=_TEXT,
    level=st.sampled_from(Level),
    held=st.booleans(),
    grade=st.none() | st.sampled_from(Grade),
    differences=st.lists(_DIFFERENCES, max_size=2).map(tuple),
)
_ATTEMPTS = st.builds(
    Attempt,
    checks=st.lists(_CHECKS, max_size=2).map(tuple),
    evidence=st.none() | st.builds(Evidence, graphs=st.integers(0, 5)),
    raised=st.none() | st.builds(Raised, stage=st.sampled_from(Stage), type=_TEXT, message=_TEXT),
    invalid=st.none() | _TEXT,
    metrics=st.dictionaries(_TEXT, _NUMBER, max_size=2),
    ended=st.none() | st.builds(Ended, signal=st.none() | _TEXT, status=st.none() | st.integers(0, 255)),
)


@given(_ATTEMPTS)
def test_attempts_survive(attempt: Attempt) -> None:
    """Whatever a child may report arrives as it was sent."""
    line = codec.encode(codec.to_plain(attempt))
    assert "\n" not in line
    assert codec.from_plain(Attempt, json.loads(line)) == attempt


def test_defaults_are_left_out() -> None:
    """A field that has its default takes no room."""
    assert codec.to_plain(Attempt(evidence=Evidence(graphs=1))) == {"evidence": {"graphs": 1}}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_special_numbers_survive(number: float) -> None:
    """NaN and infinities arrive as what they are."""
    attempt = codec.from_plain(Attempt, json.loads(codec.encode(codec.to_plain(Attempt(metrics={"m": number})))))
    assert repr(attempt.metrics["m"]) == repr(number)


def test_text_outside_utf8_is_replaced() -> None:
    """A lone surrogate, which no file can hold, becomes a question mark."""
    assert codec.encode("a\ud800b") == '"a?b"'


@pytest.mark.parametrize("plain", [None, [], {"stage": "nowhere"}, {"checks": [{"check": "values"}]}])
def test_what_does_not_fit_is_refused(plain: object) -> None:
    """Values that make no attempt raise ValueError."""
    with pytest.raises(ValueError, match="validation error"):
        codec.from_plain(Attempt, plain)


def test_report_has_last_stage_and_result() -> None:
    """A report is its last stage and what came of the task."""
    data = (
        messages.message("stage", Stage.BUILD)
        + messages.message("stage", Stage.FORWARD)
        + messages.message("result", {"a": 1})
    )
    assert messages.read_report(data) == messages.Report(stage=Stage.FORWARD, kind="result", body={"a": 1})


@pytest.mark.parametrize("kind", ["refused", "failed", "exhausted"])
def test_report_of_another_end(kind: messages.MessageKind) -> None:
    """An outcome that is no result is a text with the reason."""
    assert messages.read_report(messages.message(kind, "why")) == messages.Report(kind=kind, body="why")


def test_empty_report_says_nothing() -> None:
    """Of a child that wrote nothing, only the start is known."""
    assert messages.read_report(b"") == messages.Report()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"no json",
        b"3",
        b"[" * 100_000,
        b'{"stage":"nowhere"}',
        b'{"stage":1}',
        b'{"failed":1}',
        b'{"result":1,"stage":"load"}',
        b'{"other":1}',
    ],
    ids=lambda line: line[:20].decode(errors="replace") or "empty",
)
def test_malformed_message_ends_the_report(line: bytes) -> None:
    """A malformed message makes the whole report malformed; the stage before it is kept."""
    report = messages.read_report(
        messages.message("stage", Stage.BUILD) + line + b"\n" + messages.message("result", {})
    )
    assert (report.stage, report.kind) == (Stage.BUILD, None)
    assert (report.malformed or "").startswith("cannot read b")


@pytest.mark.parametrize(
    ("stages", "call"),
    [
        ([Stage.BUILD], None),
        ([Stage.COMPILE, Stage.BACKWARD], 0),
        ([Stage.COMPILE, Stage.FORWARD, Stage.BACKWARD, Stage.FORWARD], 2),
        ([Stage.COMPILE, Stage.FORWARD, Stage.COMPILE, Stage.BACKWARD], 0),
        ([Stage.COMPILE, Stage.FORWARD, Stage.COMPARE], None),
        ([Stage.REFERENCE, Stage.FORWARD], None),
    ],
)
def test_report_has_the_call_of_its_stage(stages: list[Stage], call: int | None) -> None:
    """The first call of a program compiles, each later one begins with its forward."""
    assert messages.read_report(b"".join(messages.message("stage", stage) for stage in stages)).call == call


def test_message_cut_off_makes_the_report_malformed() -> None:
    """A message without its end counts for nothing."""
    report = messages.read_report(messages.message("stage", Stage.BUILD) + b'{"result":{')
    assert report == messages.Report(stage=Stage.BUILD, malformed="cut off after b'{\"result\":{'")


@given(st.binary(max_size=200))
def test_reading_never_raises(data: bytes) -> None:
    """Whatever bytes a child writes, reading them gives a report."""
    assert isinstance(messages.read_report(data), messages.Report)

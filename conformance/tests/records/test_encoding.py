from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.selection import select
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Capability, Fault, Grade, Kind, Level, Outcome, Stage, Verdict
from conformance.model.request import Selection
from conformance.model.result import AppliedExpectation, CheckResult, Difference, Ended, Evidence, Raised, Record
from conformance.records.encoding import Footer, decode, decode_header, encode, encode_record, reproduce
from conformance.records.record_file import Header, make_header
from conformance.tests.fakes import a_backend, a_case, a_difference, a_record, an_environment, held_checks

BACKENDS = (
    a_backend("fake", ref="my folder/fake.py:make"),
    a_backend("weak", capabilities=frozenset({Capability.TRAINING, Capability.AUTOCAST, Capability.RNG})),
)


def a_header(seed: int = 0) -> Header:
    """The header of a run of one case on two backends."""
    return make_header(select([a_case()], BACKENDS, seed=seed), an_environment(), "run-1")


HEADER = a_header()
FOOTER = Footer(counts={"pass": 2}, records=2, gated={"weak": "why"}, finished="2026-01-01T00:00:00+00:00")

words = st.text(max_size=8)
numbers = st.none() | st.floats(allow_nan=False)
differences = st.builds(
    Difference,
    path=words,
    kind=words,
    actual=words,
    expected=words,
    max_abs=numbers,
    mismatched=st.none() | st.integers(0, 9),
    first_index=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
checks = st.builds(
    CheckResult,
    check=st.sampled_from([*CATALOGUE, "made_up"]),
    level=st.sampled_from(Level),
    held=st.booleans(),
    grade=st.none() | st.sampled_from(Grade),
    message=st.just("") | words,
    differences=st.lists(differences, max_size=1).map(tuple),
)
records = st.builds(
    Record,
    schema_version=st.integers(0, 2),
    run_id=st.sampled_from(["run-1", "run-2"]),
    case_id=words,
    variant=words,
    backend=st.sampled_from(["fake", "weak", "unknown"]),
    outcome=st.sampled_from(Outcome),
    verdict=st.sampled_from(Verdict),
    stage=st.sampled_from(Stage),
    message=words,
    checks=st.lists(checks, max_size=3).map(tuple) | st.sampled_from(Grade).map(held_checks),
    evidence=st.none() | st.builds(Evidence),
    raised=st.none() | st.builds(Raised, stage=st.sampled_from(Stage), type=words, message=words),
    metrics=st.dictionaries(words, st.floats(allow_nan=False), max_size=2),
    expectation=st.none()
    | st.builds(AppliedExpectation, kind=st.sampled_from(Kind), reason=words, entry=words, issue=st.none() | words),
    expectation_note=words,
    ended=st.none() | st.builds(Ended, signal=st.none() | words, timed_out=st.booleans(), note=words),
    fault=st.none() | st.sampled_from(Fault),
    fingerprint=st.sampled_from([HEADER.fingerprint, ""]),
    seed=st.integers(0, 2),
    duration_s=st.floats(0, 9),
    reproduce=words,
)


@settings(deadline=None)
@given(record=records, seed=st.integers(0, 2))
def test_a_record_is_read_back_as_it_was(record: Record, seed: int) -> None:
    """Whatever is left out of a line is restored from the header."""
    header = a_header(seed)
    line = encode_record(record, header)
    assert "\n" not in line
    assert decode(line, header) == record


def test_a_pass_is_a_short_line() -> None:
    """What every record of the file shares, and checks that only held, take no room."""
    command = reproduce(BACKENDS[0].ref, "demo.first.one", "grad=enabled", 0)
    record = a_record(
        case_id="demo.first.one",
        fingerprint=HEADER.fingerprint,
        metrics={"first_call_s": 0.023415, "later_call_s": 0.000312, "saved_bytes": 16.0, "eager_saved_bytes": 16.0},
        reproduce=command,
    )
    line = encode_record(record, HEADER)
    assert len(line) < 350
    assert json.loads(line).keys() == {
        *("kind", "case_id", "variant", "backend", "verdict", "held", "evidence", "metrics", "duration_s")
    }


def test_only_what_did_not_merely_hold_is_written_in_full() -> None:
    """The other checks of such a record are words."""
    broken = CheckResult(check="values", level=Level.MUST, held=False, differences=(a_difference(),))
    raised = CheckResult(check="saved_bytes", level=Level.MUST, held=True)
    graded = CheckResult(check="calls", level=Level.MUST, held=True, grade=Grade.CLOSE)
    plain = CheckResult(check="ambient", level=Level.MUST, held=True)
    told = json.loads(encode_record(a_record(checks=(broken, raised, graded, plain)), HEADER))["checks"]
    assert told[1:] == [{"check": "saved_bytes", "level": "must", "held": True}, "calls=close", "ambient"]
    assert told[0]["differences"][0]["mismatched"] == 3


def test_numbers_that_are_not_finite_survive() -> None:
    """A difference may well be NaN."""
    record = a_record(metrics={"a": math.nan, "b": math.inf})
    seen = decode(encode_record(record, HEADER), HEADER)
    assert isinstance(seen, Record)
    assert math.isnan(seen.metrics["a"])
    assert seen.metrics["b"] == math.inf


def test_header_and_footer_are_read_back_as_they_were() -> None:
    """Nothing of them is implied."""
    sharded = replace(HEADER, shard=(1, 2), selection=Selection(cases=("demo.*",)), seed=3)
    assert [decode_header(encode(header)) for header in (HEADER, sharded)] == [HEADER, sharded]
    assert decode(encode(FOOTER), HEADER) == FOOTER


def test_a_header_is_the_same_text_whenever_it_is_written() -> None:
    """Sets have no order of their own, which must not show in a committed file."""
    assert json.loads(encode(HEADER))["backends"][1]["capabilities"] == ["autocast", "rng", "training"]


def test_a_header_holds_no_path_of_the_machine() -> None:
    """Where expectations are installed, and what was set in the environment, is left out."""
    backend = a_backend(expectations=Path("/opt/fake.expected.yaml"), env={"KEY": "value"}, tags=frozenset({"x"}))
    line = encode(make_header(select([a_case()], [backend]), an_environment(), "run-1"))
    assert json.loads(line)["backends"] == [{"ref": "fake", "name": "fake"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "EOF while parsing"),
        ("[1]", "not a record or footer"),
        ('{"kind":"header"}', "not a record or footer"),
        ('{"kind":"record","verdict":"fine"}', "verdict"),
        ('{"kind":"record","held":{},"checks":["values"]}', "malformed checks"),
        ('{"kind":"record","held":3}', "malformed checks"),
        ('{"kind":"record","held":{"close":3}}', "malformed checks"),
        ('{"kind":"record","checks":["made_up"]}', "unknown check 'made_up'"),
        ('{"kind":"record","checks":["values=superb"]}', "superb"),
        ('{"kind":"footer"}', "counts"),
    ],
)
def test_another_line_is_refused(line: str, message: str) -> None:
    """A line that is no part of a run is an error with the reason."""
    with pytest.raises(ValueError, match=message):
        decode(line, HEADER)


def test_a_file_begins_with_its_header() -> None:
    """Any other first line is refused."""
    with pytest.raises(ValueError, match="not a header"):
        decode_header(encode(FOOTER))


def test_the_command_can_be_pasted_into_a_shell() -> None:
    """Words with spaces are quoted; a seed is given where it is not the default."""
    assert reproduce("my folder/b.py:f", "a.b", "grad=enabled", 7) == (
        "conformance run --backend 'my folder/b.py:f' --case a.b --variant grad=enabled --seed 7"
    )
    assert not reproduce("eager", "a.b", "grad=enabled", 0).endswith("0")

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.execution import attempts
from conformance.model.case import Variant
from conformance.model.enums import Fault, Outcome, Stage
from conformance.model.result import Attempt, Ended
from conformance.tests.fakes import a_backend, a_case, a_request, an_attempt
from conformance.tests.saboteurs import ref
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from conformance.model.request import Request

pytestmark = pytest.mark.torch

LEAVING = a_case(setup="import os\n", program="os._exit(3)\nreturn a\n")


def a_request_for(name: str) -> Request:
    """A request of a saboteur."""
    return a_request(a_case(), backend=replace(a_backend(), ref=ref("process", name)))


def test_a_caller_that_cannot_go_on_is_the_backends_doing() -> None:
    """The uncompiled program alone, in another process, makes its inputs; after the backend's call nobody can."""
    made = attempts.run(a_request_for("takes_random_numbers_away"))
    assert (outcome(made), made.fault) == (Outcome.CRASH, None)
    assert "the caller could not go on: TypeError" in str(made.ended)
    assert made.stage is Stage.BACKWARD


def test_a_process_in_which_nothing_is_reliable_is_the_backends_doing() -> None:
    """What differs from itself only after the backend's calls is held against the program alone, which is well."""
    case = a_case(program="return a.sin()\n", variants=(Variant(moves="anomaly_mode"),))
    made = attempts.run(a_request(case, backend=replace(a_backend(), ref=ref("process", "varies_under_anomaly_mode"))))
    assert (outcome(made), made.fault) == (Outcome.CRASH, None)
    assert "the uncompiled program differs from itself in move.anomaly_mode" in str(made.ended)


def test_moves_that_differ_from_themselves_are_the_programs_doing() -> None:
    """Alone in another process they do so too."""
    varies = "return a * (time.perf_counter() if torch.is_anomaly_enabled() else 1)\n"
    case = a_case(program=varies, setup="import time\n", variants=(Variant(moves="anomaly_mode"),))
    made = attempts.run(a_request(case, backend=replace(a_backend(), ref="eager")))
    assert (outcome(made), made.fault) == (Outcome.INVALID, Fault.UNSTABLE)
    assert "differs from itself in move.anomaly_mode" in (made.invalid or "")


def test_an_uncompiled_program_that_dies_alone_is_no_crash_of_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was seen of it in the process of the backend."""
    unstable = an_attempt(invalid="it varies", fault=Fault.UNSTABLE, stage=Stage.COMPARE)
    died = Attempt(ended=Ended(signal="SIGKILL"), stage=Stage.REFERENCE)
    made = iter([unstable, died])
    monkeypatch.setattr(attempts, "_in_child", lambda *_: next(made))
    alone = attempts.run(a_request())
    assert (outcome(alone), alone.fault) == (Outcome.INVALID, Fault.REFERENCE)
    assert alone.invalid == "the uncompiled program alone: killed by SIGKILL"


def test_a_program_that_ends_its_process_uncompiled_is_not_the_backends_doing() -> None:
    """It ends the process of the uncompiled program alone too."""
    made = attempts.run(a_request(LEAVING, backend=replace(a_backend(), ref=ref("process", "hands_back"))))
    assert (outcome(made), made.fault) == (Outcome.INVALID, Fault.REFERENCE)
    assert made.invalid == "the uncompiled program alone: exited with status 3 without a result"

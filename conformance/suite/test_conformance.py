"""One item for each request: case x variant x backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.model.enums import Verdict

if TYPE_CHECKING:
    from conformance.execution.pytest_session import Session
    from conformance.model.request import Request


def test_conforms(conformance_request: Request, conformance_session: Session) -> None:
    """The compiled function does what the uncompiled function does."""
    record = conformance_session.run(conformance_request)
    if record.verdict is Verdict.XFAIL and record.expectation:
        pytest.xfail(record.expectation.reason)
    if record.verdict in {Verdict.UNSUPPORTED, Verdict.SKIP}:
        pytest.skip(record.message)
    if record.verdict is not Verdict.PASS:
        pytest.fail(f"{record.verdict}: {record.full_message}\nReproduce: {record.reproduce}", pytrace=False)

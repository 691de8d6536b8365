"""What a run knows before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.execution import attempts, engine
from conformance.execution.engine import Scheduler
from conformance.execution.session import Options, prepare
from conformance.tests.fakes import a_backend, a_record
from conformance.tests.runs import a_last_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from conformance.model.request import Key

LONG, SHORT = "pre_dispatch.no_grad_simple", "base.smoke.gradient"


def long(folder: Path, name: str) -> Mapping[Key, float]:
    """What a run on a cluster knows to take long, whose own records go to a file of this name."""
    options = Options(
        records=folder / name, backends=["m:fake"], case_globs=[LONG], scheduler=Scheduler(place="local:1")
    )
    session = prepare(options)
    with session.stack, session.writer:
        return session.long


def test_a_cluster_begins_with_what_took_long_in_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a last run; one that cannot be read is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attempts, "describe", a_backend)
    monkeypatch.setattr(engine, "cluster", lambda *_, **__: engine.local(1))
    assert long(tmp_path, "none.jsonl") == {}
    path = a_last_run(tmp_path, a_record(LONG, duration_s=9.0), a_record(SHORT, duration_s=0.2))
    assert long(tmp_path, "one.jsonl") == {("fake", LONG, "grad=enabled"): 9.0}
    path.write_text("no records\n")
    assert long(tmp_path, "unreadable.jsonl") == {}

"""Confirms findings of fuzzing: the stand-alone script of each, written beside its case and run as it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import time_limit
from conformance.isolation import tasks
from conformance.isolation.deadline import Deadline
from conformance.model.enums import Outcome
from conformance.model.errors import BackendError, CaseError, UsageError
from conformance.model.request import Request
from conformance.records.jsonl import as_record_error
from conformance.triage import lookup
from conformance.triage.repro import script
from conformance.triage.repro.running import run_file
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo
    from conformance.triage.fuzz.finding import FuzzFinding

__all__ = ["Confirmation", "confirm", "scripted"]


_NO_TIME = "the time was up before its script had ended; the same command with a larger budget runs it"


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """How the script of a finding ended.

    Args:
        script: the name of its file; empty where it has none.
        says: how it ended, or why there is none.
        holds: whether that confirms the finding.
    """

    script: str = ""
    says: str
    holds: bool = False

    def __str__(self) -> str:
        return self.says if self.holds else f"NOT CONFIRMED: {self.says}"


def scripted(request: Request, expected: Symptom) -> str:
    """Run a request, and write the script of what comes of it.

    Raises:
        UsageError: it does not show the symptom, or a script by itself cannot show it.
        BackendError: its backend cannot be loaded.
        HarnessError: the fork server does not start, or died twice.
    """
    found = lookup.rerun(request)
    if (symptom := Symptom.of_record(found.record)) != expected:
        message = f"run again it shows: {symptom}"
        raise UsageError(message)
    return script.render_script(found, script.compiler(request.backend))


def confirm(
    findings: Iterable[FuzzFinding],
    backend: BackendInfo,
    folder: Path,
    write: Callable[[Request, Symptom], str] = scripted,
    *,
    timeout_s: float | None,
    jobs: int,
    deadline: Deadline | None = None,
) -> Mapping[str, Confirmation]:
    """Write the script of each finding into the folder of its case, and run it in a Python process of its own.

    Args:
        findings: those that are new.
        backend: that they are of.
        folder: where the files are.
        write: returns the script of a request that shows a symptom.
        timeout_s: that was asked for; None is the limit of the backend.
        jobs: how many scripts run at a time.
        deadline: when it has to end; those that have no script yet come first.

    Returns:
        The confirmation of each, by the id of its case.

    Raises:
        RecordError: a script cannot be written.
        HarnessError: the fork server does not start, or died twice.
    """
    end = deadline or Deadline()
    confirm_one = partial(_confirmed, backend=backend, folder=folder, write=write, timeout_s=timeout_s, deadline=end)
    scriptable = sorted(
        (finding for finding in findings if finding.file), key=lambda finding: _script(folder, finding).exists()
    )
    executor = ThreadPoolExecutor(jobs)
    try:
        made = list(executor.map(confirm_one, scriptable))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        tasks.shutdown()  # it ends what the executor waits for
        executor.shutdown()
    return {finding.case_id: each for finding, each in zip(scriptable, made, strict=True)}


def _confirmed(
    finding: FuzzFinding,
    *,
    backend: BackendInfo,
    folder: Path,
    write: Callable[[Request, Symptom], str],
    timeout_s: float | None,
    deadline: Deadline,
) -> Confirmation:
    path = _script(folder, finding)
    if deadline.has_passed:
        return _out_of_time(path)
    try:
        case = _case(folder / finding.file, finding.case_id)
        limit = time_limit(case, backend, timeout_s)
        # A case that is read from a file has a variant without moves before the one that makes them.
        request = Request(case=case, backend=backend, variant=case.variants[-1], timeout_s=limit)
        if finding.symptom.outcome is Outcome.TIMEOUT and deadline.left_s < limit:
            return _out_of_time(path)
        text = write(request, finding.symptom)
    except (CaseError, UsageError, BackendError) as error:
        return Confirmation(says=f"no script: {error}")
    with as_record_error(f"cannot write {path}"):
        path.write_text(text, encoding="utf-8")
    ended = run_file(path, limit, most_s=deadline.left_s)
    if ended.status is None and not deadline.left_s:
        return _out_of_time(path)
    return Confirmation(script=path.name, says=str(ended), holds=ended.shows(finding.symptom.outcome))


def _script(folder: Path, finding: FuzzFinding) -> Path:
    return folder / Path(finding.file).with_suffix(".py")


def _out_of_time(path: Path) -> Confirmation:
    return Confirmation(script=path.name if path.exists() else "", says=_NO_TIME)


def _case(path: Path, name: str) -> Case:
    for case in load_cases([path]):
        if case.id == name:
            return case
    message = f"{path} holds no case {name}"
    raise UsageError(message)

"""What fuzzing found, confirmed: the stand-alone script of each finding, written beside its case and run as it is."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import found, script
from conformance.errors import BackendError, UsageError
from conformance.loader import load_cases
from conformance.model import Outcome, Request
from conformance.selection import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from conformance.findings import Finding
    from conformance.model import BackendInfo

__all__ = ["Confirmation", "confirm", "scripted"]

_START_S = 30.0  # for Python and the imports of a script, beyond what its program may take


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What the script of a finding came to.

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


def scripted(request: Request) -> tuple[Outcome, str]:
    """Run a request, and write the script of what comes of it.

    Raises:
        UsageError: it does not fail, or in a way that a script by itself cannot show.
        BackendError: its backend cannot be loaded.
        HarnessError: the fork server does not start, or died twice.
    """
    seen = found.now(request)
    if not seen.record.outcome.is_failure:
        message = f"run again it is a {seen.record.outcome}"
        raise UsageError(message)
    return seen.record.outcome, script.of(seen, script.compiler(request.backend))


def confirm(
    findings: Iterable[Finding],
    backend: BackendInfo,
    folder: Path,
    write: Callable[[Request], tuple[Outcome, str]] = scripted,
    *,
    jobs: int,
) -> Mapping[str, Confirmation]:
    """Write the script of each finding into the folder of its case, and run it in a Python process of its own.

    Args:
        findings: those that have a file.
        backend: that they are of.
        folder: where the files are.
        write: gives the outcome of a request and its script.
        jobs: how many scripts run at a time.

    Returns:
        What each came to, by the id of its case.

    Raises:
        CaseError: a file is no case.
        HarnessError: the fork server does not start, or died twice.
    """
    wanted = {finding.case_id for finding in findings if finding.file}
    cases = [case for case in load_cases([folder]) if case.id in wanted] if wanted else []
    requests = [
        Request(case=case, backend=backend, variant=case.variants[0], timeout_s=time_limit(case, backend, None))
        for case in cases
    ]
    with ThreadPoolExecutor(jobs) as executor:
        made = list(executor.map(partial(_confirmed, folder=folder, write=write), requests))
    return {request.case.id: one for request, one in zip(requests, made, strict=True)}


def _confirmed(request: Request, *, folder: Path, write: Callable[[Request], tuple[Outcome, str]]) -> Confirmation:
    try:
        outcome, text = write(request)
    except (UsageError, BackendError) as error:
        return Confirmation(says=f"no script: {error}")
    path = folder / Path(request.case.location.file).with_suffix(".py").name
    path.write_text(text, encoding="utf-8")
    status = _status(path, request.timeout_s + _START_S)
    says = "it does not end" if status is None else f"it exits with {status}"
    return Confirmation(script=path.name, says=says, holds=_as_recorded(status, outcome))


def _status(path: Path, limit_s: float) -> int | None:
    """What a script exits with, below 0 the signal that ended it; None where it does not end."""
    try:
        done = subprocess.run(  # noqa: S603 - it was written here
            [sys.executable, path.name], cwd=path.parent, capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def _as_recorded(status: int | None, outcome: Outcome) -> bool:
    """Whether a script ended as one has to whose record has this outcome."""
    if outcome is Outcome.TIMEOUT:
        return status is None
    if outcome is Outcome.CRASH:
        return status not in {None, 0, 1}
    return status == 1

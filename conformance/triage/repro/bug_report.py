"""A failing record as a bug report that PyTorch's own form asks for, in markdown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.enums import Outcome
from conformance.model.errors import HarnessError
from conformance.report.markdown import verbatim
from conformance.triage.repro.observable import difference
from conformance.triage.repro.program_text import clause
from conformance.triage.repro.script import one_line_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.triage.lookup import Found

__all__ = ["environment", "of"]

_LIMIT_S = 120.0
_TITLE = 120  # characters
_SPECIFICATION = "the specification of torch-compile-conformance, cases/SPEC.md"


def environment() -> str:
    """Return the output of `python -m torch.utils.collect_env`, run in a process of its own.

    Raises:
        HarnessError: it fails, or takes too long.
    """
    command = [sys.executable, "-m", "torch.utils.collect_env"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_LIMIT_S)  # noqa: S603 - our own Python
    except (subprocess.SubprocessError, OSError) as error:
        message = f"torch.utils.collect_env failed: {error}"
        raise HarnessError(message) from error
    return done.stdout.strip()


def of(found: Found, script_text: str, environment_text: str) -> str:
    """Fill in PyTorch's form for bug reports.

    Args:
        found: the failing record.
        script_text: its reproduction script.
        environment_text: the output of `environment`.

    Raises:
        UsageError: the record is of no failure.
    """
    sections = [
        f"**Title:** {_title(found)}",
        "### 🐛 Describe the bug",
        *_described(found),
        "This script exits with 1 where the bug is there, with 0 where it is not:",
        verbatim(script_text, "python"),
        *_file(found),
        *_logs(found),
        "### Versions",
        f"<details>\n\n{verbatim(environment_text, '')}\n\n</details>",
    ]
    return "\n\n".join(sections) + "\n"


def _title(found: Found) -> str:
    text = " ".join(f"[{found.record.backend}] {one_line_summary(found)}".split())
    return text if len(text) <= _TITLE else f"{text[:_TITLE].rstrip()}..."


def _described(found: Found) -> Iterator[str]:
    record = found.record
    yield (
        f"A function compiled with `torch.compile(backend={record.backend!r})` does not do what it does uncompiled"
        f" (`{record.case_id}`: {found.request.case.title})."
    )
    uncompiled, compiled = _sides(found)
    yield f"- uncompiled: {uncompiled}\n- compiled: {compiled}"
    quoted = [f"> **{name}** {text}" for name in record.clauses if (text := clause(name))]
    if quoted:
        yield "\n>\n".join([*quoted, f"> ({_SPECIFICATION})"])


def _sides(found: Found) -> tuple[str, str]:
    """The behaviour uncompiled, and compiled."""
    record, first = found.record, difference(found)
    if record.raised is not None:
        return "runs without an exception", f"raises `{record.raised.type}` at stage {record.raised.stage}; see the log"
    if record.outcome in {Outcome.CRASH, Outcome.TIMEOUT}:
        return "runs", record.message.partition("\n")[0]
    if first is None:
        return "runs", one_line_summary(found)
    place, off = f"{first.kind} of `{first.place}`", f", off by up to {first.max_abs:.4g}" if first.max_abs else ""
    return f"{place} is `{first.expected}`", f"{place} is `{first.actual}`{off}"


def _file(found: Found) -> Iterator[str]:
    """The file that the script runs, where it is of a function of a user."""
    user = found.request.case.function
    if user and user.home.endswith(".py"):
        path = Path(user.home)
        yield f"The script runs `{path.name}`:"
        yield verbatim(path.read_text(encoding="utf-8"), "python")


def _logs(found: Found) -> Iterator[str]:
    raised = found.record.raised
    if raised is None:
        return
    frames = "\n".join(f"  {frame}" for frame in raised.traceback)
    yield "### Error logs"
    yield verbatim("\n".join(filter(None, [frames, f"{raised.type}: {raised.message}"])), "")

"""Whether a release shows an issue, found with torch alone, in a child: no part of the judge is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conformance.isolation import tasks
from conformance.tests.jobs.history.issues import CUSTOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.enums import Stage
    from conformance.tests.jobs.history.issues import Issue

__all__ = ["Question", "Seen", "ask", "seen"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A program, the backend, and whether a function beside the program is asked."""

    ref: str
    backend: str
    is_custom: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How compiled differs from uncompiled, by kind; `ended` is how the process ended, where it did not end well."""

    differences: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""

    def shows(self, issue: Issue) -> bool:
        """Whether this is what the issue says."""
        return issue.shows in self.differences or bool(self.ended and issue.outcomes)


def ask(question: Question, _report: Callable[[Stage], None]) -> Seen:
    """Child side: compare with torch alone."""
    from conformance.tests.jobs import plain_torch  # noqa: PLC0415 - it imports torch

    if question.is_custom:
        return Seen(
            differences={CUSTOM: "as the issue says"} if plain_torch.told(question.ref, question.backend) else {}
        )
    differences, unstable = plain_torch.shown(question.ref, question.backend)
    return Seen(differences={kind: text for kind, text in differences.items() if kind not in unstable})


def seen(issue: Issue, timeout_s: float) -> Seen:
    """What the installed torch does with the program of an issue."""
    question = Question(ref=issue.ref, backend=issue.backend, is_custom=issue.shows == CUSTOM)
    end = tasks.run_task(f"{__name__}:ask", question, env={}, timeout_s=timeout_s)
    found = tasks.result(Seen, end)
    return found if isinstance(found, Seen) else Seen(ended=str(found).strip().rpartition("\n")[2])

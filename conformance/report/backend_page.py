"""The page of one backend: every request that is no pass, with what was seen and how to see it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.legend import MEANING
from conformance.model import Verdict
from conformance.report import markdown
from conformance.report.matrix import cell, tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["backend_page"]

_DETAILED = (
    *(Verdict.INVALID, Verdict.CRASH, Verdict.TIMEOUT, Verdict.ERROR, Verdict.FAIL, Verdict.VACUOUS),
    *(Verdict.XPASS, Verdict.XFAIL),
)
_SHOWN = 5  # requests of one stated reason that are shown in full
_LISTED = (Verdict.UNSUPPORTED, Verdict.SKIP)


def backend_page(rows: pd.DataFrame, checks: pd.DataFrame, about: str) -> str:
    """The page, from the rows of one backend in the frames of records and of checks.

    Args:
        rows: at least one record of the backend.
        checks: the checks of the same records.
        about: a sentence on the backend and its versions, as markdown.
    """
    blocks = [f"# {markdown.plain(str(rows['backend'].iloc[0]))}", about, *_summary(rows)]
    for verdict in _DETAILED:
        blocks += _detailed(verdict, rows[rows["verdict"] == verdict])
    for verdict in _LISTED:
        blocks += _listed(verdict, rows[rows["verdict"] == verdict])
    return markdown.page(*blocks, *_advisories(checks))


def _summary(rows: pd.DataFrame) -> Iterator[str]:
    yield f"Conforming / scored requests: **{cell(rows)}**. The marks are explained in [the overview](README.md)."
    counts = [(verdict, markdown.code(verdict.mark), number) for verdict, number in tally(rows).items()]
    yield markdown.table(("verdict", "mark", "requests"), counts, right=[2])


def _title(verdict: Verdict, number: int) -> str:
    return f"## {verdict} ({number})\n\n{MEANING[verdict][0].upper()}{MEANING[verdict][1:]}."


def _detailed(verdict: Verdict, rows: pd.DataFrame) -> Iterator[str]:
    """One item a request, those with the same stated reason together."""
    if rows.empty:
        return
    yield _title(verdict, len(rows))
    for facts, group in rows.groupby(["reason", "kind", "issue"], sort=True):
        reason, kind, issue = map(str, facts)
        if reason:
            yield _reason(reason, kind, issue, len(group))
        shown = group[:_SHOWN] if reason else group
        yield "\n".join(_item(row) for _, row in shown.iterrows())
        if len(group) > len(shown):
            yield f"And {_names(group[_SHOWN:])}."


def _names(rows: pd.DataFrame) -> str:
    """Cases and how many of their variants, on one line."""
    return ", ".join(
        f"{markdown.code(str(case))} ({len(own)})" for case, own in rows.groupby("case", sort=True, observed=True)
    )


def _reason(reason: str, kind: str, issue: str, number: int) -> str:
    link = f"<{issue}>" if issue.startswith("https://") else markdown.plain(issue)
    facts = ", ".join(part for part in (kind, link, markdown.plural(number, "request")) if part)
    return f"### {markdown.plain(reason)}\n\n{facts}"


def _item(row: pd.Series) -> str:
    failing = f": {row['failing']}" if row["failing"] else ""
    first = f"; first in {markdown.code(row['first_rung'])}, {row['first_stage']}" if row["first_rung"] else ""
    lines = [
        f"- {markdown.code(row['case'])} {markdown.code(row['variant'])}{failing}{first}",
        markdown.fenced(row["message"], indent="  "),
        markdown.fenced(row["reproduce"], "sh", indent="  "),
    ]
    return "\n".join(lines)


def _listed(verdict: Verdict, rows: pd.DataFrame) -> Iterator[str]:
    """A reason, and the cases it stops."""
    if rows.empty:
        return
    yield _title(verdict, len(rows))
    reasons = rows.groupby("message", sort=True)["case"]
    yield markdown.table(("reason", "cases"), [(markdown.plain(str(why)), _cases(of)) for why, of in reasons])


def _cases(names: pd.Series) -> str:
    counts = names.value_counts().sort_index()
    return ", ".join(f"{markdown.code(str(name))} ({number})" for name, number in counts.items())


def _advisories(checks: pd.DataFrame) -> Iterator[str]:
    """SHOULD checks that did not hold: they never turn a table red."""
    advisory = checks[~checks["held"].astype(bool) & ~checks["breaks"].astype(bool)]
    if advisory.empty:
        return
    yield f"## Advisories ({len(advisory)})\n\nSHOULD checks that did not hold; they do not decide a verdict."
    rows = [
        (name, markdown.code(str(case)), len(group), markdown.plain(group["message"].iloc[0]))
        for (name, case), group in advisory.groupby(["check", "case"], sort=True)
    ]
    yield markdown.table(("check", "case", "requests", "first seen"), rows, right=[2])

"""The page of one backend: every request that does not pass, with its message and how to reproduce it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from conformance.model.enums import Verdict
from conformance.report import markdown
from conformance.report.links import NOWHERE, Links
from conformance.report.matrix import cell, own_score, tally
from conformance.report.plots import profile_plot
from conformance.report.root_causes import profile, root_causes
from conformance.verdict.legend import MEANING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

__all__ = ["backend_page"]

_DETAILED = (
    *(Verdict.INVALID, Verdict.CRASH, Verdict.TIMEOUT, Verdict.ERROR, Verdict.FAIL, Verdict.VACUOUS),
    *(Verdict.XPASS, Verdict.XFAIL),
)
_OF_ITEM = ("case", "variant", "failing", "first_rung", "first_stage", "message", "reproduce", "fingerprint")
_SHOWN = 5  # requests of one stated reason that are shown in full
_ALL = """\
A message names what differs first. `conformance explain BACKEND/CASE/VARIANT` runs a failure again and shows all of
it, with the program."""
_LISTED = (Verdict.UNSUPPORTED, Verdict.SKIP)


def backend_page(
    rows: pd.DataFrame, checks: pd.DataFrame, about: str, links: Links = NOWHERE, mixed_with: str = ""
) -> str:
    """The page, from the rows of one backend in the frames of records and of checks.

    Args:
        rows: at least one record of the backend.
        checks: the checks of the same records.
        about: a sentence on the backend and its versions, as markdown.
        links: of cases.
        mixed_with: the fingerprint of the run, if its workers were allowed to differ; items show any other.
    """
    name = str(rows["backend"].iloc[0])
    blocks = [f"# {markdown.plain(name)}", about, *_scores(rows), *root_causes(rows), *_verdicts(rows)]
    blocks += profile(rows, checks, profile_plot(name))
    for verdict in _DETAILED:
        blocks += _detailed(verdict, rows[rows["verdict"] == verdict], links, mixed_with)
    for verdict in _LISTED:
        blocks += _listed(verdict, rows[rows["verdict"] == verdict], links)
    return markdown.page(*blocks, *_advisories(checks, links))


def _scores(rows: pd.DataFrame) -> Iterator[str]:
    yield f"Conforming / scored requests: **{cell(rows)}**. The marks are explained in [the overview](README.md)."
    if apart := int(rows["elsewhere"].sum()):
        yield f"In what the requests are about: **{own_score(rows)}**; {apart} failures are set apart, as attributed."


def _verdicts(rows: pd.DataFrame) -> Iterator[str]:
    counts = [(verdict, markdown.code(verdict.mark), number) for verdict, number in tally(rows).items()]
    yield "## Verdicts"
    if not rows["green"].all() or (rows["verdict"] == Verdict.XFAIL).any():
        yield _ALL
    yield markdown.table(("verdict", "mark", "requests"), counts, right=[2])


def _title(verdict: Verdict, number: int) -> str:
    return f"## {verdict} ({number})\n\n{MEANING[verdict][0].upper()}{MEANING[verdict][1:]}."


def _detailed(verdict: Verdict, rows: pd.DataFrame, links: Links, mixed_with: str) -> Iterator[str]:
    """One item a request, those with the same stated reason together."""
    if rows.empty:
        return
    yield _title(verdict, len(rows))
    for facts, group in rows.groupby(["reason", "kind", "issue"], sort=True):
        reason, kind, issue = map(str, facts)
        if reason:
            yield _reason(reason, kind, issue, len(group))
        shown = group[:_SHOWN] if reason else group
        yield "\n".join(_item(row, links, mixed_with) for row in _records(shown))
        if len(group) > len(shown):
            more = group[_SHOWN:]
            yield markdown.folded(f"{len(more)} more with this reason", _names(more["case"], links))


def _records(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    """The columns of each row that an item shows; a whole row as a Series costs a hundred times as much."""
    columns = (rows[name].astype(str) for name in _OF_ITEM)
    return (dict(zip(_OF_ITEM, row, strict=True)) for row in zip(*columns, strict=True))


def _names(cases: pd.Series, links: Links) -> list[str]:
    """A line for each case, with how many of its variants."""
    counts = cases.astype(str).value_counts().sort_index()
    return [f"- {links.case(str(name))} ({number})" for name, number in counts.items()]


def _reason(reason: str, kind: str, issue: str, number: int) -> str:
    link = f"<{issue}>" if issue.startswith("https://") else markdown.plain(issue)
    facts = ", ".join(part for part in (kind, link, markdown.plural(number, "request")) if part)
    return f"### {markdown.plain(reason)}\n\n{facts}"


def _item(row: Mapping[str, str], links: Links, mixed_with: str) -> str:
    failing = f": {row['failing']}" if row["failing"] else ""
    first = f"; first in {markdown.code(row['first_rung'])}, {row['first_stage']}" if row["first_rung"] else ""
    differs = mixed_with and row["fingerprint"] != mixed_with
    where = f"; in environment {markdown.code(row['fingerprint'])}" if differs else ""
    lines = [
        f"- {links.case(row['case'])} {markdown.code(row['variant'])}{failing}{first}{where}",
        markdown.fenced(row["message"], indent="  "),
        markdown.fenced(row["reproduce"], "sh", indent="  "),
    ]
    return "\n".join(lines)


def _listed(verdict: Verdict, rows: pd.DataFrame, links: Links) -> Iterator[str]:
    """A reason, and the cases it stops."""
    if rows.empty:
        return
    yield _title(verdict, len(rows))
    for why, cases in rows.groupby("message", sort=True)["case"]:
        summary = f"{len(cases)}: {html.escape(' '.join(str(why).split()))}"
        yield markdown.folded(summary, _names(cases, links))


def _advisories(checks: pd.DataFrame, links: Links) -> Iterator[str]:
    """SHOULD checks that did not hold: they never turn a table red."""
    advisory = checks[~checks["held"].astype(bool) & ~checks["breaks"].astype(bool)]
    if advisory.empty:
        return
    yield f"## Advisories ({len(advisory)})\n\nSHOULD checks that did not hold; they do not decide a verdict."
    rows = [
        (name, links.case(str(case)), len(group), markdown.plain(group["message"].iloc[0]))
        for (name, case), group in advisory.groupby(["check", "case"], sort=True)
    ]
    yield markdown.table(("check", "case", "requests", "first seen"), rows, right=[2])

"""Coverage of the cases: clauses by backend, areas, the grammar of nests, the oracle and the laws."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from conformance.model.enums import Fault, Verdict
from conformance.report import markdown
from conformance.report.links import NOWHERE, Links
from conformance.report.matrix import counted, panels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from conformance.model.case import Family

__all__ = ["coverage"]

_CHAPTERS = {
    "GM": "gradient modes",
    "IM": "inference mode",
    "AC": "autocast",
    "AG": "autograd",
    "CS": "call sequences",
    "BD": "boundaries",
    "RS": "results",
}
_CLAUSES = """\
Requests of the cases that test a clause: conforming out of those scored, then the mark and the number of everything
that is no plain pass. The text of each clause is in the specification, `cases/SPEC.md`; a clause without a case is an
error of `conformance validate`."""
_SHOULD_CHECKS = {"GM-12": "saved_bytes", "CS-7": "graph_count", "RS-9": "mutation"}
_ADVISED = """\
A SHOULD clause decides no verdict, so in the table above its cases count by what else they show. This table counts
their requests in which the check of the clause reports a difference:"""
_GRAMMAR = """\
Nests of modes to a depth, under each ambient mode: how many there are, and how many of them were run. Rules leave out
what is taken for symmetric or without meaning (they are stated in `cases/README.md`); deeper nests and a sample run
with `--tag exhaustive`."""
_EVIDENCE = """\
What shows that a backend was at work. Of the requests that ran to their end: how many had a graph compiled and called,
how many a graph that sets a mode (a mode that holds already leaves no node, and round a graph break Dynamo sets it
outside), how many a backward that AOTAutograd compiled, and how many graphs came back from the backend as they were."""
_EVIDENCE_HEADERS = ("backend", "requests", "called", "with modes", "compiled backward", "graphs", "returned unchanged")
_ORACLE = """\
The oracle, which is not PyTorch, interprets the modes of a program and predicts their effect on its results. A variant
is followed where it predicts at least one result and the uncompiled program agrees; where that disagrees, the case is
invalid. What is not modelled has operations or objects that the oracle does not know."""


def coverage(rows: pd.DataFrame, checks: pd.DataFrame, families: Sequence[Family], links: Links = NOWHERE) -> str:
    """The page, from the frames of all records and checks, families of generated cases, and links."""
    backends = panels(rows["backend"].unique())
    return markdown.page(
        "# Coverage",
        "## Clauses",
        _CLAUSES,
        *(_clause_table(rows, names, links) for names in backends),
        *_advised(rows, backends, links),
        "## Areas",
        markdown.table(("area", "cases", "variants", "generated"), _areas(rows, families), right=(1, 2, 3)),
        *_grammar(rows, families, backends),
        "## Evidence",
        _EVIDENCE,
        markdown.table(
            _EVIDENCE_HEADERS,
            _evidence(rows, chain.from_iterable(backends), links),
            right=range(1, len(_EVIDENCE_HEADERS)),
        ),
        *_second_opinions(rows, checks),
    )


def _clause_table(rows: pd.DataFrame, backends: Sequence[str], links: Links) -> str:
    return markdown.table(["clause", "about", *map(links.backend, backends)], _clauses(rows, backends, links))


def _clauses(rows: pd.DataFrame, backends: Sequence[str], links: Links) -> Iterator[tuple[str, ...]]:
    each = rows.assign(clause=rows["clauses"].str.split()).explode("clause").dropna(subset=["clause"])
    numbers: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    columns = (each[name].astype(str) for name in ("clause", "backend", "verdict"))
    for (clause, name, verdict), number in Counter(zip(*columns, strict=True)).items():
        numbers[clause, name][verdict] = number
    for clause in sorted({clause for clause, _ in numbers}, key=_order):
        cells = (_cell(numbers.get((clause, name), {})) for name in backends)
        yield links.clause(clause), _CHAPTERS.get(clause[:2], ""), *cells


def _cell(numbers: Mapping[str, int]) -> str:
    return counted({verdict: numbers[verdict] for verdict in Verdict if verdict in numbers})


def _advised(rows: pd.DataFrame, backends: Sequence[Sequence[str]], links: Links) -> Iterator[str]:
    """For SHOULD clauses: in how many of their requests the check of the clause has an advisory."""
    tables = [(names, lines) for names in backends if (lines := list(_advice(rows, names, links)))]
    yield _ADVISED if tables else ""
    yield from (markdown.table(["clause", "check", *map(links.backend, names)], lines) for names, lines in tables)


def _advice(rows: pd.DataFrame, backends: Sequence[str], links: Links) -> Iterator[tuple[str, ...]]:
    for clause, check in _SHOULD_CHECKS.items():
        own = rows[rows["scored"] & rows["clauses"].str.split().map(lambda named, clause=clause: clause in named)]
        advised = own["advisories"].str.split(", ").map(lambda names, check=check: check in names)
        counts = [
            f"{int(advised[of_backend].sum())} of {int(of_backend.sum())}"
            for of_backend in (own["backend"] == b for b in backends)
        ]
        if len(own):
            yield links.clause(clause), check, *counts


def _order(clause: str) -> tuple[int, str, int]:
    chapter, _, number = clause.partition("-")
    chapters = list(_CHAPTERS)
    return (chapters.index(chapter) if chapter in chapters else len(chapters), chapter, int(number))


def _areas(rows: pd.DataFrame, families: Sequence[Family]) -> Iterator[tuple[str, int, int, int]]:
    """Of each area: cases, variants, and how many of the cases a family generated."""
    distinct = rows.drop_duplicates(["case", "variant"])
    for area, own in distinct.groupby("area", sort=True):
        names = own["case"].astype(str).drop_duplicates()
        yield str(area), len(names), len(own), sum(_depth(name, families) > 0 for name in names)


def _depth(case: str, families: Sequence[Family]) -> int:
    """How many levels a generated case has: the words of its id behind the family's; 0 of any other case."""
    found = next((family.id for family in families if case.startswith(f"{family.id}.")), None)
    return 0 if found is None else case.removeprefix(f"{found}.").count(".") + 1


def _grammar(rows: pd.DataFrame, families: Sequence[Family], backends: Sequence[Sequence[str]]) -> Iterator[str]:
    for family in families:
        if not family.pruned:
            continue
        rules = ", ".join(f"{markdown.code(rule)} {number}" for rule, number in family.pruned.items())
        yield "## Nests"
        yield f"{_GRAMMAR}\n\nLeft out by rule: {rules}."
        own = rows[rows["case"].astype(str).str.startswith(f"{family.id}.")]
        depths = own["case"].astype(str).map(lambda case: _depth(case, families)).astype(str)
        runs = own["backend"].groupby(depths).value_counts()
        for names in backends:
            lines = [
                (depth, points, *(_fraction(int(runs.get((depth, name), 0)), points) for name in names))
                for depth, points in family.points.items()
            ]
            yield markdown.table(["levels", "points", *names], lines, right=range(1, 2 + len(names)))


def _fraction(run: int, points: int) -> str:
    return f"{run} ({100 * run / points:.3g} %)" if run else ""


def _evidence(rows: pd.DataFrame, backends: Iterable[str], links: Links) -> Iterator[tuple[str | int, ...]]:
    for name in backends:
        own = rows[(rows["backend"] == name) & rows["graphs"].notna()]
        called, modes, backward = own["backend_calls"] > 0, own["mode_nodes"] > 0, own["compiled_backward"]
        counted_in = (called, modes, backward, own["graphs"], own["returned_unchanged"])
        yield links.backend(name), len(own), *(int(column.sum()) for column in counted_in)


def _second_opinions(rows: pd.DataFrame, checks: pd.DataFrame) -> Iterator[str]:
    """How many variants the oracle follows or contradicts, and how many laws were checked."""
    laws = len(checks[checks["check"] == "metamorphic"].drop_duplicates(["case", "variant"]))
    yield "## Second opinions"
    yield _ORACLE
    yield markdown.table(
        ("area", "variants", "followed", "not modelled", "disagreeing"), list(_followed(rows)), right=(1, 2, 3, 4)
    )
    yield f"Laws, pairs of programs that must do the same, were checked on {markdown.plural(laws, 'case variant')}."


def _followed(rows: pd.DataFrame) -> Iterator[tuple[str, int, int, int, int]]:
    """Of each area: variants, and those that the oracle follows, does not model, and contradicts."""
    leaves = rows["modelled_leaves"].fillna(0) if "modelled_leaves" in rows else 0
    differs = rows["fault"] == Fault.ORACLE
    marked = rows.assign(followed=leaves > 0, differs=differs)[["area", "case", "variant", "followed", "differs"]]
    each = marked.groupby(["area", "case", "variant"], observed=True).any().reset_index()
    for area, own in each.groupby("area", sort=True, observed=True):
        agreeing, differing = int((own["followed"] & ~own["differs"]).sum()), int(own["differs"].sum())
        yield str(area), len(own), agreeing, len(own) - agreeing - differing, differing

"""Which check catches which saboteur: the suite run on every broken backend of `saboteurs`, and the page that tells.

`python -m conformance.tests.kill_matrix PAGE [SABOTEUR ...]` runs the cases written by hand, each in its first variant,
and those that a saboteur is looked for in, in all of theirs. It exits with 1 where a defect is not caught by the check
that is meant for it, where a MUST check is nowhere the only one, and where an honest backend shows anything.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.checks import CATALOGUE
from conformance.families import EXHAUSTIVE
from conformance.model import BackendInfo, Level, Outcome
from conformance.report import markdown
from conformance.tests.saboteurs import HONEST, SABOTEURS, defects, ref
from conformance.tests.trial import CASES, findings, trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model import Case, Record
    from conformance.tests.trial import Findings

__all__ = ["Kill", "Survivor", "page", "problems"]

_ABOUT = """\
Every backend here is broken on purpose, in one way. The suite runs on each of them: the cases written by hand, in their
first variant, and those in which the defect is looked for in all variants. What PyTorch's own backend, from which the
saboteur is made, shows as well is not counted."""
_ALONE = "Of each check that decides verdicts, the defects that no other check shows in any request:"
_MATRIX = """\
In how many requests a check did not hold, or in which the run ended so that nothing could be checked. Bold is what is
meant to catch the defect."""
_HONEST = """\
Backends that are right, on other machinery than the five of this repository: what they show on the cases written by
hand, in all variants, that the backend of this repository with the same parts of PyTorch does not."""
_ENDS = (Outcome.ERROR.value, Outcome.CRASH.value, Outcome.TIMEOUT.value)
_LIMIT_S = 3.0  # for a saboteur that hangs


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What showed a saboteur: in how many requests each check or end, and the first case that shows what is meant."""

    name: str
    shown: Counter[str]
    first: str
    requests: int

    @property
    def meant(self) -> str:
        """What is meant to catch it."""
        return SABOTEURS[self.name].meant


@dataclass(frozen=True, kw_only=True)
class Survivor:
    """An honest backend, on how many requests it was run, and what it shows that its kin does not."""

    name: str
    shown: Counter[str]
    requests: int


@click.command()
@click.argument("page_path", metavar="PAGE", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("names", metavar="[SABOTEUR ...]", nargs=-1, type=click.Choice(list(SABOTEURS)))
def main(page_path: Path, names: Sequence[str]) -> None:
    """Run, write the page, and say what is missing."""
    kills = list(map(_kill, names or SABOTEURS))
    survivors = [] if names else list(map(_survivor, HONEST))
    page_path.write_text(page(kills, survivors), encoding="utf-8")
    sys.exit("\n".join(() if names else problems(kills, survivors)) or 0)


def problems(kills: Sequence[Kill], survivors: Sequence[Survivor]) -> Iterator[str]:
    """What keeps the matrix from being complete, in words."""
    yield from (f"{kill.name} is not caught by {kill.meant}" for kill in kills if not kill.first)
    yield from (f"no defect is shown by {check} alone" for check, names in _alone(kills).items() if not names)
    yield from (f"{one.name} is right, and shows {', '.join(one.shown)}" for one in survivors if one.shown)


def page(kills: Sequence[Kill], survivors: Sequence[Survivor]) -> str:
    """The page as markdown."""
    told = defects()
    columns = [name for name in (*CATALOGUE, *_ENDS) if any(kill.shown[name] for kill in kills)]
    return markdown.page(
        "# Kill matrix",
        _ABOUT,
        f"Caught by what is meant to catch them: **{sum(bool(kill.first) for kill in kills)} of {len(kills)}**.",
        "## Defects",
        markdown.table(
            ("saboteur", "made from", "defect", "meant to catch it", "first caught in"),
            [(kill.name, SABOTEURS[kill.name].kin, told[kill.name], kill.meant, kill.first) for kill in kills],
        ),
        "## Defects that one check alone shows",
        _ALONE,
        markdown.table(("check", "defects"), [(check, ", ".join(names)) for check, names in _alone(kills).items()]),
        "## Defects by checks",
        _MATRIX,
        markdown.table(("saboteur", "requests", *columns), [_counts(kill, columns) for kill in kills]),
        "## Honest backends",
        _HONEST,
        markdown.table(
            ("backend", "what it is", "held against", "requests", "findings"),
            [
                (one.name, told[one.name], HONEST[one.name].kin, one.requests, ", ".join(one.shown) or "none")
                for one in survivors
            ],
        ),
    )


def _alone(kills: Sequence[Kill]) -> dict[str, list[str]]:
    """By MUST check, the saboteurs that nothing else shows."""
    decisive = [spec.name for spec in CATALOGUE.values() if spec.level is Level.MUST]
    return {check: [kill.name for kill in kills if kill.shown.keys() == {check}] for check in decisive}


def _counts(kill: Kill, columns: Sequence[str]) -> tuple[str, ...]:
    numbers = (str(kill.shown[name] or "") for name in columns)
    marked = (f"**{n}**" if n and name == kill.meant else n for name, n in zip(columns, numbers, strict=True))
    return (kill.name, str(kill.requests), *marked)


def _kill(name: str) -> Kill:
    saboteur = SABOTEURS[name]
    hangs = saboteur.meant == Outcome.TIMEOUT
    backend = BackendInfo(ref=ref(saboteur.home, name), name=name)
    records = list(trial(backend, cases=_cases(saboteur.cases, only=hangs), timeout_s=_LIMIT_S if hangs else None))
    shown = [(record.case_id, _new(record, saboteur.kin)) for record in records]
    kill = Kill(
        name=name,
        shown=Counter(finding for _, new in shown for finding in new),
        first=next((case for case, new in sorted(shown) if saboteur.meant in new), ""),
        requests=len(records),
    )
    click.echo(f"{name}: {kill.first or 'NOT CAUGHT'} {dict(kill.shown)}", err=True)
    return kill


def _survivor(name: str) -> Survivor:
    honest = HONEST[name]
    backend = BackendInfo(ref=ref("honest", name), name=name, capabilities=honest.claims)
    records = list(trial(backend, cases=_WRITTEN))
    shown = Counter(finding for record in records for finding in _new(record, honest.kin))
    return Survivor(name=name, shown=shown, requests=len(records))


_WRITTEN = [case for case in CASES if EXHAUSTIVE not in case.tags]


def _cases(glob: str, *, only: bool) -> list[Case]:
    """The cases written by hand: those that match in all variants, the others in their first, or not at all."""
    return [
        case if fnmatchcase(case.id, glob) else replace(case, variants=case.variants[:1])
        for case in _WRITTEN
        if fnmatchcase(case.id, glob) or not only
    ]


def _new(record: Record, kin: str) -> set[str]:
    """What a record shows that its backend's kin does not, in the words of the page's columns."""
    return (findings(record) - _own(kin).get((record.case_id, record.variant), set())) & {*CATALOGUE, *_ENDS}


@cache
def _own(kin: str) -> Findings:
    """What a backend of this repository shows on the cases written by hand."""
    return {
        (made.case_id, made.variant): findings(made) for made in trial(BackendInfo(ref=kin, name=kin), cases=_WRITTEN)
    }


if __name__ == "__main__":
    main()

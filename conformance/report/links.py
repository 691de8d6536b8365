"""Links of the ids on pages: cases to their files, clauses to the specification, backends to their pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING

from conformance.catalogue.case_cache import CaseCache, user_folder
from conformance.catalogue.sources import PACKAGED
from conformance.catalogue.specification import clauses
from conformance.model.case import Case
from conformance.report.markdown import code, page_name, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from conformance.model.case import Location

__all__ = ["NOWHERE", "Links"]

_CASES = "cases"
_SPECIFICATION = "SPEC.md"


@dataclass(frozen=True)
class Links:
    """Ids as markdown: a link where the target is known, else the id alone.

    Args:
        cases: the location of each case.
        clauses: the location of each clause of the specification.
        backends: those that have a page.
    """

    cases: Mapping[str, Location] = field(default_factory=dict)
    clauses: Mapping[str, Location] = field(default_factory=dict)
    backends: Collection[str] = ()

    @classmethod
    def beside(cls, folder: Path, backends: Collection[str]) -> Links:
        """The links of pages in a folder: to its own pages, and in a checkout to the folder of cases beside it."""
        if not (folder.resolve().parent / _CASES / _SPECIFICATION).is_file():
            return cls(backends=backends)
        found = CaseCache(user_folder()).read(files(PACKAGED), _CASES)
        return cls(
            cases={case.id: case.location for case in found if isinstance(case, Case)},
            clauses=clauses(),
            backends=backends,
        )

    def case(self, case_id: str) -> str:
        """A case as a link to its line."""
        return _linked(code(case_id), self.cases.get(case_id))

    def clause(self, clause: str) -> str:
        """A clause as a link to its line; rendered markdown has no lines, so it links to the source."""
        return _linked(plain(clause), self.clauses.get(clause), "?plain=1")

    def backend(self, name: str) -> str:
        """A backend as a link to its page."""
        return f"[{plain(name)}]({page_name(name)})" if name in self.backends else plain(name)


NOWHERE = Links()


def _linked(text: str, place: Location | None, view: str = "") -> str:
    return f"[{text}](../{place.file}{view}#L{place.line})" if place else text

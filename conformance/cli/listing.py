"""The output of `conformance list` and `conformance show`, as text; nothing here imports torch or pandas."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue.selection import require_matches
from conformance.catalogue.sources import PACKAGED, case_called, collect, homes
from conformance.model.check_catalogue import CATALOGUE, CheckSpec
from conformance.model.errors import SelectionError
from conformance.report import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import yaml

    from conformance.model.case import Case

_OTHER_LISTS = {"backend": "backends", "backends": "backends", "check": "checks", "checks": "checks"}
"""Words that users pass for what else there is to list, with its option."""

__all__ = ["backends", "cases", "checks", "show"]


def cases(globs: Sequence[str] = (), folders: Sequence[Path] = (), tags: Sequence[str] = ()) -> str:
    """One line a case whose id matches one of the globs and that has one of the tags.

    Without either, every case, and one line for all those of a family.
    """
    known = collect(folders)
    for glob in globs:
        if glob in _OTHER_LISTS or glob in discovery.names():
            message = (
                f"no case matches {glob!r}.\n  Did you mean `conformance list --{_OTHER_LISTS.get(glob, 'backends')}`?"
            )
            raise SelectionError(message)
    require_matches(known, globs, tags)
    chosen = [
        case
        for case in known
        if (not globs or any(fnmatchcase(case.id, glob) for glob in globs))
        and (not tags or not case.tags.isdisjoint(tags))
    ]
    rows = map(_row, chosen) if globs or tags else _folded(chosen)
    return terminal.listing(("case", "variants", "tags", "title"), list(rows))


def _folded(cases: Sequence[Case]) -> Iterator[tuple[str, int, str, str]]:
    for family, members in groupby(cases, key=lambda case: case.family):
        together = list(members)
        if family is None:
            yield from map(_row, together)
        else:
            _, _, tags, _ = _row(together[0])
            variants = sum(len(case.variants) for case in together)
            yield f"{family.id}.*", variants, tags, f"{family.title} ({len(together)} cases)"


def _row(case: Case) -> tuple[str, int, str, str]:
    return case.id, len(case.variants), " ".join(sorted(case.tags)), case.title


def backends() -> str:
    """One line an installed backend: its name, where it is defined and the distribution that brings it."""
    points = [point for name in discovery.names() for point in entry_points(group=discovery.GROUP, name=name)]
    rows = [(point.name, point.value, _origin(point)) for point in points]
    return terminal.listing(("backend", "defined in", "distribution"), rows)


def checks() -> str:
    """One line a check: its name, its level and what it detects."""
    rows = [(spec.name, f"{spec.level}{_when(spec)}", spec.sees) for spec in CATALOGUE.values()]
    return terminal.listing(("check", "level", "what it sees"), rows)


def _when(spec: CheckSpec) -> str:
    if spec.is_move:
        return ", where moves are made"
    return ", where a case asks" if spec.asked else ""


def show(case_id: str, folders: Sequence[Path] = ()) -> str:
    """The YAML of one case, then each different function its variants give, under the variants that give it.

    Of a generated case it is the YAML of its family; a law's two functions are one below the other.
    """
    from conformance.program.build import generate

    case = case_called(case_id, folders)
    sources: dict[str, list[str]] = {}
    for variant in case.variants:
        sources.setdefault(generate(case, variant).source, []).append(variant.id)
    parts = [f"# {case.location}\n{_yaml(case, folders)}"]
    parts += [f"# Python for {'; '.join(variants)}\n{source.strip()}" for source, variants in sources.items()]
    if case.twin:
        twin = generate(replace(case, program=case.twin), case.variants[0])
        parts.append(f"# Python that must do the same\n{twin.source.strip()}")
    return "\n\n".join(parts)


def _yaml(case: Case, folders: Sequence[Path]) -> str:
    """The lines of the case, as in its file."""
    from conformance.catalogue.yaml_source import compose

    path = Path(case.location.file)  # of packaged cases it is a name, unless they were collected with others
    text = (path if len(homes(folders)) > 1 else files(PACKAGED) / path.name).read_text(encoding="utf-8")
    document = compose(f"{text}\n", case.location.file)
    node = next(node for node in _nodes(document.root) if node.start_mark.line + 1 == case.location.line)
    return dedent("\n".join(text.splitlines()[node.start_mark.line : node.end_mark.line])).rstrip()


def _nodes(root: yaml.Node | None) -> list[yaml.Node]:
    """The cases and families of a file of cases."""
    sections = {key.value: value.value for key, value in (root.value if root else ())}
    return [*sections.get("cases", ()), *sections.get("families", ())]


def _origin(point: object) -> str:
    distribution = getattr(point, "dist", None)
    return f"{distribution.name} {distribution.version}" if distribution else ""

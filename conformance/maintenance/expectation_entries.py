"""Failures as entries of an expectations file: one entry for all cases that fail alike for the same reason."""

from __future__ import annotations

import re
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from conformance.model.enums import Kind, Outcome
from conformance.model.moves import move_of
from conformance.verdict.expectations import TODO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.case import Variant
    from conformance.model.result import Record

__all__ = ["Failure", "How", "Observed", "Why", "as_entries", "dumped", "how"]

_WIDTH = 118
_MATCHED = 100  # characters of a message that an expected error is matched by


class Why(NamedTuple):
    """The fields of an entry that only a person can fill in."""

    kind: str = Kind.BUG.value
    reason: str = TODO
    issue: str | None = None
    torch: str | None = None
    packages: tuple[tuple[str, str], ...] = ()
    platform: str | None = None


class How(NamedTuple):
    """The outcome of a failure, with its broken checks or its exception."""

    outcome: str
    checks: tuple[str, ...] = ()
    raises: str | None = None


class Observed(NamedTuple):
    """One record of the backend, with its variant."""

    record: Record
    variant: Variant


class Failure(NamedTuple):
    """One record that needs an entry."""

    seen: Observed
    how: How
    why: Why


def how(record: Record) -> How:
    """Return how a record failed."""
    if record.outcome is Outcome.FAIL:
        return How(record.outcome.value, tuple(check.check for check in record.checks if check.breaks))
    if record.outcome is Outcome.ERROR and record.raised:
        text = f"{record.raised.type}: {record.raised.message}".splitlines()[0][:_MATCHED]
        return How(record.outcome.value, raises=re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text))
    return How(record.outcome.value)


def as_entries(failures: Iterable[Failure], seen: Iterable[Observed]) -> list[dict[str, Any]]:
    """Return entries for all failures: one for all cases that fail alike in the same variants for the same reason."""
    variants_of: dict[str, list[Variant]] = {}
    for observed in seen:
        variants_of.setdefault(observed.record.case_id, []).append(observed.variant)
    failing: dict[tuple[How, Why, str], list[Variant]] = {}
    for observed, how, why in failures:
        failing.setdefault((how, why, observed.record.case_id), []).append(observed.variant)
    alike: dict[tuple[How, Why, tuple[tuple[str, str], ...]], list[str]] = {}
    for (how, why, case_id), variants in failing.items():
        for axes in _axes(variants, variants_of[case_id]):
            alike.setdefault((how, why, tuple((axes | _of_moves(how, variants)).items())), []).append(case_id)
    return [_entry(how, why, axes, sorted(case_ids)) for (how, why, axes), case_ids in alike.items()]


def _of_moves(how: How, variants: Iterable[Variant]) -> dict[str, str]:
    """The moves that all of these variants make, where nothing else failed: a variant without any cannot fail so."""
    values = {variant.moves for variant in variants}
    return {"moves": values.pop()} if how.checks and all(map(move_of, how.checks)) and len(values) == 1 else {}


def _axes(chosen: Sequence[Variant], every: Sequence[Variant]) -> Iterator[dict[str, str]]:
    """Select some variants of a case by axes: by none, by one, or by all axes of a variant."""
    left = [variant for variant in every if variant in chosen]
    if len(left) == len(every):
        yield {}
        return
    for axis, value in dict.fromkeys(pair for variant in left for pair in variant.axes.items()):
        matching = [variant for variant in every if variant.axes.get(axis) == value]
        if all(variant in chosen for variant in matching) and any(variant in left for variant in matching):
            yield {axis: value}
            left = [variant for variant in left if variant not in matching]
    yield from (dict(variant.axes) for variant in left)


def _entry(how: How, why: Why, axes: Iterable[tuple[str, str]], case_ids: Sequence[str]) -> dict[str, Any]:
    entry = {
        "cases": case_ids[0] if len(case_ids) == 1 else list(case_ids),
        "variants": dict(axes),
        "outcome": how.outcome,
        "checks": list(how.checks),
        "raises": how.raises,
        **why._asdict(),
        "packages": dict(why.packages),
    }
    return {key: value for key, value in entry.items() if value not in (None, [], {})}


def dumped(entry: Mapping[str, Any]) -> str:
    """Return one entry as an item of a list in YAML."""
    lines = "".join(_line(key, value) for key, value in entry.items())
    return "- " + indent(lines, "  ").lstrip()


def _line(key: str, value: object) -> str:
    """Return one field as YAML; a list or mapping is on one line if it fits."""
    flow = _yaml({key: value}, flow=isinstance(value, list | dict))
    return flow if flow.count("\n") == 1 and len(flow) <= _WIDTH else _yaml({key: value}, flow=False)


def _yaml(data: object, *, flow: bool) -> str:
    style = None if flow else False
    return str(yaml.safe_dump(data, width=_WIDTH, allow_unicode=True, default_flow_style=style))

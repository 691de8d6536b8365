"""Failures told as entries of a file of expectations: one entry for all that fail alike for the same reason."""

from __future__ import annotations

import re
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from conformance.model.enums import Kind, Outcome
from conformance.verdict.expectations import TODO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.case import Variant
    from conformance.model.result import Record

__all__ = ["Failure", "How", "Seen", "Why", "as_entries", "dumped", "how"]

_WIDTH = 118
_SAID = 100  # characters of a message that an expected error is known by


class Why(NamedTuple):
    """What only a person can say of a failure."""

    kind: str = Kind.BUG.value
    reason: str = TODO
    issue: str | None = None
    torch: str | None = None
    packages: tuple[tuple[str, str], ...] = ()
    platform: str | None = None


class How(NamedTuple):
    """In which way something fails."""

    outcome: str
    checks: tuple[str, ...] = ()
    raises: str | None = None


class Seen(NamedTuple):
    """One record of the backend, and the variant it is of."""

    record: Record
    variant: Variant


class Failure(NamedTuple):
    """One record that an entry has to be about."""

    seen: Seen
    how: How
    why: Why


def how(record: Record) -> How:
    """In which way a record failed."""
    if record.outcome is Outcome.FAIL:
        return How(record.outcome.value, tuple(check.check for check in record.checks if check.breaks))
    if record.outcome is Outcome.ERROR and record.raised:
        said = f"{record.raised.type}: {record.raised.message}".splitlines()[0][:_SAID]
        return How(record.outcome.value, raises=re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", said))
    return How(record.outcome.value)


def as_entries(failures: Iterable[Failure], seen: Iterable[Seen]) -> list[dict[str, Any]]:
    """Entries about all failures: one for all cases that fail alike in the same variants for the same reason."""
    every: dict[str, list[Variant]] = {}
    for one in seen:
        every.setdefault(one.record.case_id, []).append(one.variant)
    failing: dict[tuple[How, Why, str], list[Variant]] = {}
    for one, how, why in failures:
        failing.setdefault((how, why, one.record.case_id), []).append(one.variant)
    alike: dict[tuple[How, Why, tuple[tuple[str, str], ...]], list[str]] = {}
    for (how, why, case_id), variants in failing.items():
        for axes in _axes(variants, every[case_id]):
            alike.setdefault((how, why, tuple(axes.items())), []).append(case_id)
    return [_entry(how, why, axes, sorted(case_ids)) for (how, why, axes), case_ids in alike.items()]


def _axes(some: Sequence[Variant], every: Sequence[Variant]) -> Iterator[Mapping[str, str]]:
    """Say with axes which variants of a case are meant: with none, with one, or with all that a variant has."""
    left = [variant for variant in every if variant in some]
    if len(left) == len(every):
        yield {}
        return
    for axis, value in dict.fromkeys(pair for variant in left for pair in variant.axes.items()):
        meant = [variant for variant in every if variant.axes.get(axis) == value]
        if all(variant in some for variant in meant) and any(variant in left for variant in meant):
            yield {axis: value}
            left = [variant for variant in left if variant not in meant]
    yield from (variant.axes for variant in left)


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
    """One entry as an item of a list in YAML."""
    lines = "".join(_line(key, value) for key, value in entry.items())
    return "- " + indent(lines, "  ").lstrip()


def _line(key: str, value: object) -> str:
    """A list or mapping stands on one line if it fits there."""
    flow = _yaml({key: value}, flow=isinstance(value, list | dict))
    return flow if flow.count("\n") == 1 and len(flow) <= _WIDTH else _yaml({key: value}, flow=False)


def _yaml(data: object, *, flow: bool) -> str:
    style = None if flow else False
    return str(yaml.safe_dump(data, width=_WIDTH, allow_unicode=True, default_flow_style=style))

"""What is known before fuzzing: failures that records of the suite show, with the modes that their cases have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conformance import ladder, record
from conformance.findings import levels_of
from conformance.frame import find_kinds
from conformance.homes import collect
from conformance.nests import SAYS
from conformance.program import substitute
from conformance.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from conformance.model import Case, Record, Variant

__all__ = ["Known", "known_failures"]

_AROUND = {"disabled": "no_grad"}


@dataclass(frozen=True)
class Known:
    """Failures by their symptom and first rung: the cases that show them, each with its modes."""

    failures: Mapping[tuple[Symptom, str], Sequence[tuple[str, frozenset[str]]]] = field(default_factory=dict)

    def case_of(self, case: Case, symptom: Symptom, rung: str) -> str:
        """The first case that shows a failure, with every mode that `case` has for it; empty where there is none.

        The same symptom on the same rung is another failure where it takes a mode that no known case has.
        """
        wanted = _modes(case, case.variants[0])
        cases = self.failures.get((symptom, rung), ())
        return next((name for name, modes in cases if wanted <= modes), "")


def known_failures(places: Sequence[Path]) -> Known:
    """What records of earlier runs show, of cases that are still there.

    Args:
        places: record files, or folders of them.

    Raises:
        RecordError: there are none, or they cannot be read.
        CaseError: the cases cannot be read.
    """
    files = find_kinds(*places)[0] if places else []
    records = [one for path in files for one in record.read(path).records]
    return Known(_by_symptom(records, ladder.first_in_records(records)) if records else {})


def _by_symptom(
    records: Iterable[Record], rungs: Mapping[tuple[str, str, str], str]
) -> Mapping[tuple[Symptom, str], Sequence[tuple[str, frozenset[str]]]]:
    places = {(case.id, variant.id): (case, variant) for case in collect() for variant in case.variants}
    found: dict[tuple[Symptom, str], dict[tuple[str, frozenset[str]], None]] = {}
    for one in records:
        if one.key in rungs and (place := places.get((one.case_id, one.variant))):
            known = found.setdefault((Symptom.of_record(one), rungs[one.key]), {})
            known.setdefault((one.case_id, _modes(*place)))
    return {key: tuple(cases) for key, cases in found.items()}


def _modes(case: Case, variant: Variant) -> frozenset[str]:
    """The modes inside a program and around it, in whatever form and order."""
    texts = [substitute(text, variant.params) for text in (case.setup, case.program)]
    inside = {level.mode for text in texts for _, level in levels_of(text)}
    held = [(variant.grad, variant.autocast), *((call.grad, call.autocast) for call in case.calls)]
    around = {_AROUND.get(word, word) for words in held for word in words if word} - {"enabled", "off"}
    return frozenset(SAYS.get(mode, mode) for mode in inside | around)

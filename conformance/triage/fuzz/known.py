"""Failures that are known before fuzzing: those that records of the suite show, with the modes of their cases.

What the published records show comes with the package, in `known_failures.json`.
`python -m conformance.triage.fuzz.known` writes it again from `results/records`, and `python -m nox -s report` does so
too; a test holds the file against them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.catalogue.sources import collect
from conformance.model import codec
from conformance.model.errors import UsageError
from conformance.program.build import substitute
from conformance.program.nest_reader import modes_of
from conformance.program.nests import SAYS
from conformance.records import record_file
from conformance.records.find import find_every_release, find_kinds
from conformance.records.kept import PUBLISHED
from conformance.records.releases import refuse_mixed
from conformance.verdict import ladder
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conformance.model.case import Case, Variant
    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

__all__ = ["PACKAGED", "Known", "digests", "known_failures", "packaged", "packed"]

PACKAGED = "known_failures.json"
"""The file in this package."""

_AROUND = {"disabled": "no_grad"}


@dataclass(frozen=True)
class Known:
    """Failures by their symptom and first rung: the cases that show them, each with its modes."""

    failures: Mapping[tuple[Symptom, str], Sequence[tuple[str, frozenset[str]]]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A digest of these failures, in twelve digits."""
        failures = [(str(symptom), rung, cases) for (symptom, rung), cases in self.failures.items()]
        plain = sorted((*key, [(name, sorted(modes)) for name, modes in cases]) for *key, cases in failures)
        return hashlib.sha256(repr(plain).encode()).hexdigest()[:12]

    def case_of(self, case: Case, symptom: Symptom, rung: str) -> str:
        """The first case that shows a failure, with every mode that `case` has for it; empty where there is none.

        The same symptom on the same rung is another failure where it takes a mode that no known case has.
        """
        needed = _modes(case, case.variants[0])
        cases = self.failures.get((symptom, rung), ())
        return next((name for name, modes in cases if needed <= modes), "")


def known_failures(places: Sequence[Path]) -> Known:
    """Return the failures in records of earlier runs, of cases that still exist.

    Args:
        places: record files, or folders of them, of whose release folders the newest counts.

    Raises:
        UsageError: there are failures, but the first of PyTorch's own backends that shows them is known of none.
        RecordError: there are no records, they cannot be read, or those of a backend are of two releases of torch.
        CaseError: the cases cannot be read.
    """
    read = [(path, record_file.read(path)) for path in (find_kinds(*places)[0] if places else [])]
    refuse_mixed(read)
    runs = [run for _, run in read]
    records = [record for run in runs for record in run.records]
    rungs = ladder.first_in_records(records)
    if not rungs and any(record.outcome.is_failure for record in records):
        message = (
            f"{', '.join(map(str, places))}: nothing can be known from these records.\n"
            f"  They need those of the backends below as well: {', '.join(ladder.below(records[0].backend))}"
        )
        raise UsageError(message)
    return Known(_by_symptom(records, rungs, _cases(runs)) if rungs else {})


def packaged() -> Known:
    """Return the failures in the published records of every release, from the packaged file."""
    held = json.loads(files("conformance.triage.fuzz").joinpath(PACKAGED).read_text(encoding="utf-8"))
    return Known(
        {
            (codec.from_plain(Symptom, symptom), rung): tuple((case, frozenset(modes)) for case, modes in cases)
            for symptom, rung, cases in held["failures"]
        }
    )


def packed(folder: Path) -> str:
    """The text of the packaged file, from a folder of records: all that any release in it shows.

    Raises:
        RecordError: there are no records, or they cannot be read.
        CaseError: the cases cannot be read.
    """
    runs = [record_file.read(path) for path in find_every_release(folder)]
    cases = _cases(runs)
    found: dict[tuple[Symptom, str], dict[tuple[str, frozenset[str]], None]] = {}
    for torch in sorted({run.header.environment.torch for run in runs}):
        records = [record for run in runs if run.header.environment.torch == torch for record in run.records]
        for key, shown in _by_symptom(records, ladder.first_in_records(records), cases).items():
            found.setdefault(key, {}).update(dict.fromkeys(shown))
    failures = sorted(
        codec.encode([codec.to_plain(symptom), rung, sorted([case, sorted(modes)] for case, modes in shown)])
        for (symptom, rung), shown in found.items()
    )
    records_line = codec.encode(digests(folder))
    return f'{{"records":{records_line},\n"failures":[\n' + ",\n".join(failures) + "\n]}\n"


def digests(folder: Path) -> dict[str, str]:
    """Digests of the content of record files in a folder, by path in it."""
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in find_every_release(folder)}
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in sorted(named.items())}


def _cases(runs: Iterable[RunFile]) -> Sequence[Case]:
    """The packaged ones, and those of the folders that the runs had."""
    folders = {Path(folder).resolve() for run in runs for folder in run.header.folders}
    return collect(sorted(folder for folder in folders if folder.is_dir()))


def _by_symptom(
    records: Iterable[Record], rungs: Mapping[tuple[str, str, str], str], cases: Iterable[Case]
) -> Mapping[tuple[Symptom, str], Sequence[tuple[str, frozenset[str]]]]:
    places = {(case.id, variant.id): (case, variant) for case in cases for variant in case.variants}
    found: dict[tuple[Symptom, str], dict[tuple[str, frozenset[str]], None]] = {}
    for record in records:
        if record.key in rungs and (place := places.get((record.case_id, record.variant))):
            known = found.setdefault((Symptom.of_record(record), rungs[record.key]), {})
            known.setdefault((record.case_id, _modes(*place)))
    return {key: tuple(each) for key, each in found.items()}


def _modes(case: Case, variant: Variant) -> frozenset[str]:
    """The modes around a program and inside it, wherever they are, if they are written as the grammar writes them."""
    inside = {mode for text in (case.setup, case.program) for mode in modes_of(substitute(text, variant.params))}
    held = [(variant.grad, variant.autocast), *((call.grad, call.autocast) for call in case.calls)]
    around = {_AROUND.get(word, word) for words in held for word in words if word} - {"enabled", "off"}
    return frozenset(SAYS.get(mode, mode) for mode in inside | around)


if __name__ == "__main__":
    (Path(__file__).parent / PACKAGED).write_text(packed(PUBLISHED), encoding="utf-8")
    sys.stdout.write(f"wrote {PACKAGED}\n")

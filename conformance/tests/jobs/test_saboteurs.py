from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Extent, Level, Outcome
from conformance.model.request import BackendInfo
from conformance.tests.saboteurs import HONEST, SABOTEURS, defects, ref
from conformance.tests.trial import CASES, findings, findings_of, making, requiring, trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.result import Record
    from conformance.tests.saboteurs import Saboteur


def _likeliest_first(cases: Sequence[Case], glob: str) -> Iterator[list[Case]]:
    """The cases that are looked at, those of `--tier quick` before the others: nearly every defect shows in them."""
    matching = [case for case in cases if fnmatchcase(case.id, glob)]
    for is_quick in (True, False):
        if part := [case for case in matching if (Extent.QUICK in case.tags) is is_quick]:
            yield part


def _cases_of(saboteur: Saboteur) -> Sequence[Case]:
    if saboteur.move:
        return making(saboteur.move)
    return requiring(saboteur.meant) if saboteur.is_of_advisory else CASES


@pytest.mark.torch
@pytest.mark.parametrize("name", list(SABOTEURS))
def test_defect_is_caught_by_what_is_meant_to_catch_it(name: str) -> None:
    """One of the cases named for the defect shows it, in the check meant for it, where its kin holds."""
    saboteur, seen = SABOTEURS[name], []
    backend = BackendInfo(ref=ref(saboteur.home, name), name=name)
    for cases in _likeliest_first(_cases_of(saboteur), saboteur.cases):
        # The first that shows it ends; one at a time, or the next is run in vain.
        for record in trial(backend, cases=cases, timeout_s=saboteur.limit_s, batch=1, jobs=1):
            found = findings(record)
            if (
                saboteur.meant in found
                and saboteur.meant not in findings_of(saboteur.kin, [record], cases)[record.case_id, record.variant]
            ):
                return
            seen.append(f"{record.case_id} / {record.variant}: {', '.join(sorted(found)) or 'nothing'}")
    pytest.fail(f"{saboteur.meant} does not show {name}:\n" + "\n".join(seen))


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name, saboteur in SABOTEURS.items() if saboteur.state])
def test_state_that_is_left_changed_is_seen_by_its_field_alone(name: str) -> None:
    """No other field shows it, and no other check: without the field, nobody would notice."""
    backend = BackendInfo(ref=ref("state", name), name=name)
    (record,) = trial(backend, "base.smoke.gradient", variants=["grad=enabled"])
    assert findings(record) == {Outcome.FAIL.value, "ambient"}
    seen = {each.path.rpartition(".")[2] for check in record.checks if check.breaks for each in check.differences}
    assert seen == {SABOTEURS[name].state}


@pytest.mark.torch
def test_each_state_that_a_backend_can_leave_changed_is_left_so_by_a_saboteur() -> None:
    """No field is looked at without a defect that it alone shows; others change with these, or torch resets them."""
    fields = {field.name for field in dataclasses.fields(import_module("conformance.observation.ambient").AmbientState)}
    beside_others = {"inference_mode", "autocast_nesting", "works"}
    reset = {"autocast", "functorch_level"}
    assert fields - {saboteur.state for saboteur in SABOTEURS.values()} == beside_others | reset


@pytest.mark.torch
@pytest.mark.parametrize("name", list(HONEST))
def test_honest_backend_passes_with_no_finding(name: str) -> None:
    """Nothing is found that PyTorch's own backend does not show in that way.

    Each runs its share of the cases written by hand, together they run an eighth of them; the kill matrix runs all on
    each. Where PyTorch's own backend raises or dies, there is nothing to hold the other against.
    """
    honest, share = HONEST[name], list(HONEST).index(name)
    backend = BackendInfo(ref=ref("honest", name), name=name, capabilities=honest.claims)
    cases = [case for case in CASES if "exhaustive" not in case.tags][share :: 8 * len(HONEST)]
    assert not _new(trial(backend, cases=cases), honest.kin, cases)


def _new(records: Iterable[Record], kin: str, cases: Sequence[Case]) -> dict[tuple[str, str, str], set[str]]:
    """What records show that those of PyTorch's own backend do not, by backend, case and variant."""
    suspects = [record for record in records if findings(record)]
    own = findings_of(kin, suspects, cases)
    found = {
        record.key: findings(record) - own[record.case_id, record.variant]
        for record in suspects
        if not own[record.case_id, record.variant] & {Outcome.ERROR.value, Outcome.CRASH.value, Outcome.TIMEOUT.value}
    }
    return {key: more for key, more in found.items() if more}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "case", "move"),
    [
        ("rebuilt", "autograd.custom.input_marked_dirty", ""),
        ("rebuilt", "autograd.custom.callers_input_marked_dirty", ""),
        ("dispatched", "inference_mode.regions.mode_false", "checkpointed"),
    ],
)
def test_honest_backend_is_right_where_it_was_not(name: str, case: str, move: str) -> None:
    """A write in a graph within the graph is kept; a region that an exception leaves open ends within the mode."""
    backend = BackendInfo(ref=ref("honest", name), name=name, capabilities=HONEST[name].claims)
    cases = making(move) if move else CASES
    variants = [f"grad=enabled,moves={move}" if move else "grad=enabled"]
    assert not _new(trial(backend, case, cases=cases, variants=variants), HONEST[name].kin, cases)


def test_every_must_check_is_meant_to_catch_something() -> None:
    """No check decides verdicts without a defect that shows it to work."""
    decisive = {spec.name for spec in CATALOGUE.values() if spec.level is Level.MUST}
    assert decisive <= {saboteur.meant for saboteur in SABOTEURS.values()}


def test_every_saboteur_is_in_the_table() -> None:
    """An unnamed function would be a defect that is never looked for."""
    assert defects().keys() == SABOTEURS.keys() | HONEST.keys()

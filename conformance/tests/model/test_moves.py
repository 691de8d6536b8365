from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.model import moves
from conformance.model.case import Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import SLOW_COMPILE, Level
from conformance.model.moves import ALL, MOVES, NO_MOVES, USUAL, chosen
from conformance.tests.fakes import a_backend, a_case, a_request

if TYPE_CHECKING:
    import pytest

IDS = [f"demo.first.{name}" for name in range(200)]


def test_each_move_has_a_check_that_decides() -> None:
    """What a caller sees who makes a move is compared by a check of its own."""
    checks = {spec.name for spec in CATALOGUE.values() if spec.is_move}
    assert checks == {f"move.{name}" for name in MOVES}
    assert {CATALOGUE[name].level for name in checks} == {Level.MUST}


def test_moves_that_recompile_come_last() -> None:
    """The others are made on the code that the plain call has compiled."""
    flags = [spec.recompiles for spec in MOVES.values()]
    assert flags == sorted(flags)


def test_the_usual_moves_are_all_that_need_no_compilation_and_one_more() -> None:
    """Compilation is what takes time; over the cases each of its moves is made."""
    plain = [name for name, spec in MOVES.items() if not spec.recompiles]
    drawn = [chosen(USUAL, case_id, is_slow=False) for case_id in IDS]
    assert {len(names) for names in drawn} == {len(plain) + 1}
    assert {name for names in drawn for name in names} == set(MOVES)


def test_a_move_that_is_added_takes_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases that do not draw it keep theirs, and with it what is known of them."""
    before = {case_id: chosen(USUAL, case_id, is_slow=False) for case_id in IDS}
    added = replace(MOVES["jacobian"], name="added")
    monkeypatch.setattr(moves, "MOVES", {**MOVES, "added": added})
    after = {case_id: chosen(USUAL, case_id, is_slow=False) for case_id in IDS}
    changed = [case_id for case_id in IDS if before[case_id] != after[case_id]]
    assert all("added" in after[case_id] for case_id in changed)
    assert len(IDS) / 40 < len(changed) < len(IDS) / 10


def test_a_slow_backend_makes_part_of_what_others_make() -> None:
    """The first rung that differs is known only if the rungs before it made the same move."""
    slow, fast = ([set(chosen(USUAL, each, is_slow=is_slow)) for each in IDS] for is_slow in (True, False))
    assert all(few <= many for few, many in zip(slow, fast, strict=True))
    assert 0.2 < sum(any(MOVES[name].recompiles for name in names) for names in slow) / len(IDS) < 0.5


def test_moves_by_name_are_made_in_their_order() -> None:
    """However they are named, and nothing else is made."""
    assert chosen("leaf_hooks+each_result", "demo.first.one", is_slow=True) == ("each_result", "leaf_hooks")
    assert chosen(ALL, "demo.first.one", is_slow=True) == tuple(MOVES)
    assert chosen(NO_MOVES, "demo.first.one", is_slow=False) == ()


def test_a_request_knows_its_moves() -> None:
    """They depend on the variant, the case and whether the backend is slow."""
    variant = Variant(moves=USUAL)
    assert variant.id == "grad=enabled,moves=usual"
    fast = a_request(a_case(), variant=variant)
    slow = a_request(a_case(), backend=a_backend(tags=frozenset({SLOW_COMPILE})), variant=variant)
    assert set(slow.moves) < set(fast.moves)
    assert a_request(a_case()).moves == ()

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.checks import CATALOGUE
from conformance.loader import load_cases
from conformance.model import BackendInfo, Capability, Level, Outcome
from conformance.runner import BATCH, Run
from conformance.selection import select
from conformance.tests import saboteurs
from conformance.tests.fakes import an_environment
from conformance.tests.saboteurs import HONEST, SABOTEURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.model import Record


CASES = load_cases()


def run(backend: BackendInfo, *globs: str, batch: int = BATCH, **selection: Any) -> Iterator[Record]:
    """Run the cases of the suite that match on a backend, at most `batch` of an area in one process."""
    plan = select(CASES, [backend], case_globs=globs, **selection)
    with ThreadPoolExecutor(2) as pool:
        yield from Run(
            plan,
            pool,
            expectations={},
            environment=an_environment(),
            run_id="run-1",
            jobs=2,
            smoke_gate=False,
            batch=batch,
        )


def findings(record: Record) -> set[str]:
    """The outcome of a record that is no pass, and the MUST checks that did not hold."""
    if record.outcome in {Outcome.PASS, Outcome.UNSUPPORTED}:
        return set()
    return {record.outcome.value} | {check.check for check in record.checks if check.breaks}


def findings_of(kin: str, records: Iterable[Record]) -> dict[tuple[str, str], set[str]]:
    """What a backend of this repository shows on the cases and variants of records: PyTorch's own bugs."""
    wanted = {(record.case_id, record.variant) for record in records}
    if not wanted:  # no globs at all would be every case
        return {}
    cases, variants = (sorted(set(names)) for names in zip(*wanted, strict=True))
    own = run(BackendInfo(ref=kin, name=kin), *cases, variants=variants)
    return {(record.case_id, record.variant): findings(record) for record in own}


def public_functions(home: str) -> set[str]:
    """Names of the public functions of a module of saboteurs, which importing would need torch for."""
    tree = ast.parse((Path(saboteurs.__file__).parent / f"{home}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


@pytest.mark.torch
@pytest.mark.parametrize("name", list(SABOTEURS))
def test_defect_is_caught_by_what_is_meant_to_catch_it(name: str) -> None:
    """One of the cases named for the defect shows it, in the check meant for it, where the eager backend holds."""
    saboteur, seen = SABOTEURS[name], []
    backend = BackendInfo(ref=saboteurs.ref(saboteur.home, name), name=name)
    limit = 3 if saboteur.meant == Outcome.TIMEOUT else None
    for record in run(backend, saboteur.cases, timeout_s=limit, batch=1):  # the first that shows it ends the test
        found = findings(record)
        if (
            saboteur.meant in found
            and saboteur.meant not in findings_of("eager", [record])[record.case_id, record.variant]
        ):
            return
        seen.append(f"{record.case_id} / {record.variant}: {', '.join(sorted(found)) or 'nothing'}")
    pytest.fail(f"{saboteur.meant} does not show {name}:\n" + "\n".join(seen))


@pytest.mark.torch
@pytest.mark.parametrize("name", list(HONEST))
def test_honest_backend_passes_with_no_finding(name: str) -> None:
    """On all cases written by hand nothing is found that PyTorch's own backend does not show in that way."""
    honest = HONEST[name]
    claims = Capability.all() - honest.lacks
    backend = BackendInfo(ref=saboteurs.ref("honest", name), name=name, capabilities=claims)
    suspects = [record for record in run(backend, exclude_tags=["exhaustive"]) if findings(record)]
    own = findings_of(honest.kin, suspects)
    found = {record.key: findings(record) - own[record.case_id, record.variant] for record in suspects}
    assert not {key: more for key, more in found.items() if more}


def test_every_must_check_is_meant_to_catch_something() -> None:
    """No check decides verdicts without a defect that shows it to work."""
    decisive = {spec.name for spec in CATALOGUE.values() if spec.level is Level.MUST}
    assert decisive <= {saboteur.meant for saboteur in SABOTEURS.values()}


def test_every_saboteur_is_in_the_table() -> None:
    """A function that nobody names would be a defect that nobody looks for."""
    homes = {saboteur.home for saboteur in SABOTEURS.values()}
    written = {(home, name) for home in homes for name in public_functions(home)}
    assert written == {(saboteur.home, name) for name, saboteur in SABOTEURS.items()}
    assert public_functions("honest") == set(HONEST)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.cli.main import main
from conformance.maintenance.capabilities import Trial
from conformance.model.enums import Capability

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = """
from conformance.backend import Backend, Capability

def compiler(gm, example_inputs):
    if any(value.is_complex() for value in example_inputs if hasattr(value, "is_complex")):
        raise NotImplementedError("complex numbers")
    return lambda *args: gm(*args)

mine = Backend(name="mine", compile={"backend": compiler}, capabilities=Capability.all() - {Capability.FLOAT64})
"""


@pytest.mark.torch
def test_claims_are_held_against_what_is_done(tmp_path: Path) -> None:
    """A claim that never holds is reported, and so is a capability that always holds unclaimed; others are counted."""
    (tmp_path / "mine.py").write_text(BACKEND)
    result = CliRunner().invoke(main, ["capabilities", "--backend", f"{tmp_path / 'mine.py'}:mine", "--most", "2"])
    assert result.exit_code == 1, result.output
    lines = {
        words[1]: " ".join(words[2:]) for line in result.output.splitlines() if (words := line.split())[:1] == ["mine"]
    }
    assert lines.keys() == set(Capability)
    assert lines["complex"] == "yes 0/2 claimed, and nothing that needs it conforms"
    assert lines["float64"] == "no 2/2 not claimed, and all that needs it conforms"
    assert lines["autocast"] == "yes 2/2"
    assert lines["grad_mode"] == "yes 1/2"  # one of the two cases fails: a claim that holds in part is no finding


@pytest.mark.torch
def test_a_backend_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    """Its claims cannot be checked, which is no agreement."""
    (tmp_path / "mine.py").write_text("raise RuntimeError('no licence')\nmine = print")
    result = CliRunner().invoke(main, ["capabilities", "--backend", f"{tmp_path / 'mine.py'}:mine"])
    assert (result.exit_code, "mine cannot be used: RuntimeError: no licence" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("claimed", "conforming", "requests", "is_wrong"),
    [(True, 0, 0, False), (False, 0, 0, False), (True, 1, 3, False), (False, 2, 3, False), (False, 0, 3, False)],
)
def test_a_claim_that_holds_in_part_is_not_wrong(claimed: bool, conforming: int, requests: int, is_wrong: bool) -> None:
    """Known failures are what expectations are for, and what was never tried shows nothing."""
    trial = Trial(backend="mine", capability=Capability.RNG, claimed=claimed, conforming=conforming, requests=requests)
    assert bool(trial.finding) is is_wrong

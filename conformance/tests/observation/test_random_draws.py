from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional

from conformance.catalogue.user_function import as_case
from conformance.execution import observe
from conformance.model.case import InputSpec
from conformance.model.enums import Capability, Outcome
from conformance.model.request import BackendInfo
from conformance.observation import user_code
from conformance.tests.fakes import a_backend, a_case, a_request
from conformance.tests.roles import a_reference, checked
from conformance.tests.trial import trial
from conformance.tests.wrong import after, honest, instead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.result import Attempt
    from conformance.tests.roles import Program, Results

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

WEAK = a_backend("weak", capabilities=Capability.all() - {Capability.RNG})
INPUTS = {"a": InputSpec(shape=(32, 16), requires_grad=True)}
PROGRAMS = {
    "dropout": "return F.dropout(a, 0.5)\n",
    "noise": "return a + torch.randn_like(a), a.sin()\n",
    "a loss": "z = a + 0.1 * torch.randn_like(a)\nreturn (z - z.roll(1, 0)).pow(2).mean() + 3.0\n",
    "integers": "return a[torch.randperm(32)], torch.randint(0, 9, (64,))\n",
    "samples": "return torch.multinomial(a.detach().softmax(-1), 2), a * torch.bernoulli(a.sigmoid().detach())\n",
    "sizes": "return a[torch.rand(32) > 0.5].sum(), a[torch.rand(32) > 0.5]\n",
    "a number": "return a * 2, torch.rand(()).item()\n",
    "rare": "return (torch.rand(64) > 0.99).float(), torch.rand(64) > 0.999\n",
    "long tails": "return a * torch.empty(32, 16).cauchy_(), torch.empty(()).cauchy_(), torch.randn(32).exp().exp()\n",
    "drawn again in backward": "def noisy(x):\n    return F.dropout(x.sin(), 0.5) * x\n"
    "return torch.utils.checkpoint.checkpoint(noisy, a, use_reentrant=False)\n",
}


def drawing(program: str) -> Case:
    """A case that draws random numbers."""
    return a_case(program=program, inputs=INPUTS)


def held(case: Case, wrong: Callable[[Program], Program]) -> Results:
    """What the checks find of a backend that does not claim to draw the same random numbers."""
    return checked(case, wrong, lacking=frozenset({Capability.RNG}), reference=a_reference(case, backend=WEAK))


def other_numbers(right: Program) -> Program:
    """Draw others than uncompiled, from the same generator."""

    def call(*arguments: Any) -> Any:
        torch.rand(7)
        return right(*arguments)

    return call


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
@pytest.mark.parametrize("wrong", [honest, other_numbers])
def test_other_random_numbers_are_right_where_the_same_are_not_claimed(
    program: str, wrong: Callable[[Program], Program]
) -> None:
    """Values, gradients, sizes and Python numbers that depend on the draw may be others."""
    assert not held(drawing(program), wrong).broken


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_they_are_wrong_where_the_same_are_claimed(program: str) -> None:
    """A seeded experiment is to be the same experiment."""
    assert checked(drawing(program), other_numbers).broken & {"values", "ambient"} == {"values", "ambient"}


def test_the_message_speaks_of_random_numbers() -> None:
    """On a pass and on a failure."""
    passed = next(one for one in held(drawing(PROGRAMS["dropout"]), other_numbers).all if one.check == "values")
    assert passed.message.startswith("output depends on random numbers, which are not claimed to be the same (rng)")
    failed = held(drawing(PROGRAMS["dropout"]), after(lambda result: result * 3)).first("values")
    assert failed.kind == "statistic of random numbers"
    assert failed.allowed is not None
    assert failed.allowed.startswith("what uncompiled runs spread over; the backend does not claim to draw the same")


def standing_still(right: Program) -> Program:
    """Draw from a stream of its own."""

    def call(*arguments: Any) -> Any:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(12345)
            return right(*arguments)

    return call


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_generator_that_does_not_move_is_seen(program: str) -> None:
    """Whoever draws twice wants two draws, whatever they are."""
    found = held(drawing(program), standing_still)
    assert "ambient" in found.broken
    assert (found.first("ambient").actual, found.first("ambient").expected) == ("as before the call", "advanced")


def test_a_generator_that_moves_without_need_is_seen() -> None:
    """A program that draws nothing leaves it where it was."""
    assert held(a_case(), other_numbers).broken == {"ambient"}


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        ("dropout", instead(lambda a: functional.dropout(a, 0.25))),
        ("dropout", instead(lambda a: a * (torch.rand_like(a) < 0.5))),
        ("dropout", instead(lambda a: a + 0 * torch.rand_like(a))),
        ("noise", instead(lambda a: (a + 2 * torch.randn_like(a), a.sin()))),
        ("noise", instead(lambda a: (a + torch.rand_like(a), a.sin()))),
        ("noise", instead(lambda a: (a + torch.randn_like(a), a.sin() * 1.01))),
        ("noise", instead(lambda a: ((a + torch.randn_like(a)).double(), a.sin()))),
        ("a loss", after(lambda result: result * 1.2)),
        ("integers", after(lambda result: (result[0], result[1] + 9))),
        ("samples", after(lambda result: (result[0], result[1] * 2))),
        ("drawn again in backward", after(lambda result: result + 1)),
    ],
)
def test_a_draw_from_another_distribution_is_seen(program: str, wrong: Callable[[Program], Program]) -> None:
    """Its statistics are elsewhere; what does not depend on it, dtypes and shapes are compared as usual."""
    assert "values" in held(drawing(PROGRAMS[program]), wrong).broken


BACKEND = """
import torch
from conformance.backend import Backend, Capability

def compiler(graph, _):
    draws_the_same = torch._inductor.config.fallback_random
    def run(*args):
        if not draws_the_same:
            torch.rand(7)
        return tuple({result} for result in graph.forward(*args))
    return run

mine = Backend(
    name="mine",
    compile={{"backend": compiler}},
    capabilities=Capability.all() - {{Capability.RNG}},
    eager_random={{"_inductor.config.fallback_random": True}},
)
"""


def attempt(folder: Path, result: str, case: Case) -> Attempt:
    """Results of a backend with a switch for drawing the same numbers, which it reads when it compiles."""
    torch._dynamo.reset()
    path = folder / "its_backend.py"
    path.write_text(BACKEND.format(result=result))
    info = a_backend("mine", ref=f"{path}:mine", capabilities=WEAK.capabilities)
    return observe.run(a_request(case, info), lambda _: None)


@pytest.mark.parametrize("name", ["dropout", "a loss", "samples"])
def test_a_backend_that_can_draw_the_same_numbers_is_compared_under_its_switch(tmp_path: Path, name: str) -> None:
    """It finds what no statistic shows, and the place names the configuration."""
    case = drawing(PROGRAMS[name])
    assert not [check for check in attempt(tmp_path, "result", case).checks if check.breaks]
    seen = attempt(tmp_path, "result * (1 + 1e-3) if result.is_floating_point() else result", case)
    broken = {check.check: check for check in seen.checks if check.breaks}
    assert {"values", "calls"} <= broken.keys()
    assert broken["values"].differences[0].under == {"_inductor.config.fallback_random": "True"}


INSTALLED = """
import torch

def breaking(x):
    x.sum().item()
    return torch.nn.functional.dropout(x, 0.5)
"""
USERS = """
import torch
import drawing_layers

def noisy(x):
    return drawing_layers.breaking(x)

def noisy_inputs():
    return torch.randn(32, 16)
"""


def test_code_that_every_role_shares_is_compiled_anew_under_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of an installed package is imported once, and compiled by itself where a graph breaks in it."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # as the folder of a user's file is added to it
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "drawing_layers.py").write_text(INSTALLED)
    (folder / "users.py").write_text(USERS)
    case = as_case(user_code.describe(f"{folder}/users.py:noisy", lambda _: None), {})
    checks = {check.check: check for check in attempt(tmp_path, "result", case).checks}
    assert checks["values"].message.startswith("output depends on random numbers")
    assert not [name for name, check in checks.items() if check.breaks]


HOLDING = """
import torch
from weights_beside import beside

own = torch.nn.Linear(16, 16)

def noisy(x):
    return own(beside(x)) + torch.randn_like(x)

def noisy_inputs():
    return torch.randn(32, 16)
"""


def test_each_role_reads_the_modules_of_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the switch too: Dynamo remembers modules by name, and weights of an earlier role have been changed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "weights_beside.py").write_text("import torch\nbeside = torch.nn.Linear(16, 16)\n")
    (tmp_path / "users.py").write_text(HOLDING)
    case = as_case(user_code.describe(f"{tmp_path}/users.py:noisy", lambda _: None))
    assert not [check for check in attempt(tmp_path, "result", case).checks if check.breaks]


def test_a_case_that_requires_random_numbers_is_run_on_who_does_not_claim_them() -> None:
    """A case gets the answer that the same function gets."""
    name = "aot_eager_decomp_partition"
    info = BackendInfo(ref=name, name=name, capabilities=WEAK.capabilities - {Capability.DOUBLE_BACKWARD})
    assert {record.outcome for record in trial(info, "rng.modes.*", variants=["moves=none"])} == {Outcome.PASS}

from __future__ import annotations

from dataclasses import replace
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from conformance.catalogue import writer
from conformance.catalogue.loader import load_cases
from conformance.catalogue.selection import select
from conformance.catalogue.yaml_source import compose
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.model.case import InputSpec
from conformance.model.moves import NO_MOVES
from conformance.tests.checking import cells, checked
from conformance.tests.fakes import a_case, a_request, an_environment
from conformance.tests.saboteurs import ref
from conformance.tests.triage.fuzz.drawing import programs
from conformance.triage import check

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.result import Record

pytestmark = pytest.mark.torch

USERS = """
import torch
from torch import nn
from torch.nn import functional as F


def entropy(logits, targets):
    return F.cross_entropy(logits, targets)


def entropy_inputs():
    return torch.randn(64, 1000) * 0.1, torch.randint(0, 1000, (64,))


def noise(x):
    z = x + 0.1 * torch.randn_like(x)
    return (z - z.roll(1, 0)).pow(2).mean() + 3.0


def noise_inputs():
    return torch.randn(16, 8)


def shift(h):
    h[1:] = h[:-1].clone()
    return h * 2


def shift_inputs():
    return 1 + 0.01 * torch.randn(5, 8)


def variance(x):
    return (x * x).mean(-1) - x.mean(-1) ** 2


def variance_inputs():
    return torch.randn(16, 512) + 30


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))


def convolutions_inputs():
    return torch.randn(4, 3, 8, 8)


def dropout(x):
    return F.dropout(x, 0.5)


def dropout_inputs():
    return torch.randn(64, 32, requires_grad=True)
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions with their inputs."""
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


@pytest.mark.parametrize("name", ["entropy", "noise", "shift", "dropout"])
def test_numbers_that_are_a_little_too_large_are_seen_in_a_users_function(users: Path, name: str) -> None:
    """Its inputs, and the numbers it draws, are the same in float64, and uncompiled is off by its rounding alone."""
    backend = ref("results", "values_off")
    code, output = checked(f"{users}:{name}", "--backend", backend)
    assert (code, "fail: values differ" in output) == (1, True), output


@pytest.mark.parametrize(
    ("name", "gradients"),
    [
        ("entropy", "-"),
        ("noise", "-"),
        ("shift", "-"),
        ("variance", "-"),
        ("convolutions", "yes"),
        ("dropout", "yes"),
    ],
)
def test_an_honest_backend_passes_on_a_users_function(users: Path, name: str, gradients: str) -> None:
    """Other decompositions round otherwise, and draw other numbers; where nothing has a gradient, none is right."""
    code, output = checked(f"{users}:{name}", "--backend", "aot_eager_decomp_partition")
    table = cells(output)
    assert (code, table["verdict"], table["gradients"]) == (0, ["pass"], [gradients]), output


BREAKS = {
    "no": (0, "return x.sin()"),
    "one": (1, "y = x.sin()\ntorch._dynamo.graph_break()\nreturn y.cos()"),
    "two": (2, "y = x.sin()\ntorch._dynamo.graph_break()\ny = y.cos()\ntorch._dynamo.graph_break()\nreturn y * 2"),
    "nested": (
        1,
        "def inner(z):\n    z = z * 2\n    torch._dynamo.graph_break()\n    return z + 1\n\nreturn inner(x.sin())",
    ),
    "loop": (1, "for _ in range(3):\n    x = x.sin()\n    torch._dynamo.graph_break()\nreturn x.cos()"),
}
"""Programs, and how many graph breaks each has."""


@pytest.mark.parametrize("name", BREAKS)
def test_a_graph_break_counts_once_in_a_case_and_in_a_function(tmp_path: Path, name: str) -> None:
    """A function that is checked is called by a program, in which Dynamo encounters each of its breaks once more."""
    breaks, program = BREAKS[name]
    path = tmp_path / "users.py"
    path.write_text(f"import torch\n\n\ndef users(x):\n{indent(program, '    ')}\n")
    _, output = checked(f"{path}:users", "--input", "x=float32[4]", "--backend", "eager")
    case = a_case(inputs={"x": InputSpec(shape=(4,))}, program=program)
    evidence = attempts.run(a_request(case, backend=attempts.describe("eager"))).evidence
    assert (cells(output)["graph"], evidence and evidence.graph_breaks) == (["breaks", str(breaks)], breaks)


BACKENDS = ("aot_eager", ref("modes", "grad_modes_dropped"), ref("derivatives", "gradients_scaled"))

TWIN = """
import conformance
import torch
import torch.nn.functional as F

{setup}

@conformance.case(**{declared})
def program({arguments}):
{body}
"""


@given(programs())
@settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_a_case_and_its_python_twin_get_the_same_answer(tmp_path_factory: pytest.TempPathFactory, drawn: Case) -> None:
    """Verdict, checks and numbers of any program are the same from a case file and from a file of Python."""
    folder = tmp_path_factory.mktemp("twins")
    case = as_a_user_has_it(drawn)
    (folder / writer.filename(case)).write_text(writer.dump(case))
    (folder / "twin.py").write_text(twin(case))
    plan = select(load_cases([folder]), [attempts.describe(backend) for backend in BACKENDS])
    of_case = {record.backend: answer(record) for record in records(plan, an_environment())}
    checked = check.run(check.CheckOptions(ref=f"{folder / 'twin.py'}:program", backends=BACKENDS), lambda *_: None)
    assert {record.backend: answer(record) for record in checked.records} == of_case, (folder / "twin.py").read_text()


def as_a_user_has_it(case: Case) -> Case:
    """A case with what both doors have words for: normal inputs, and torch.compile's own default of dynamic shapes."""
    plain = {name: replace(spec, distribution="normal", low=None, high=None) for name, spec in case.inputs.items()}
    variants = tuple(replace(variant, dynamic=None, moves=NO_MOVES) for variant in case.variants)
    return replace(case, inputs=plain, variants=variants)


def twin(case: Case) -> str:
    """The file of a user who wrote the same program."""
    written: Any = compose(writer.dump(case), "case.yaml").data
    keys = written["cases"][0]
    declared = {name: keys[name] for name in ("calls", "requires", "graph_breaks") if name in keys}
    declared |= {**keys["axes"], "moves": "none"}
    declared["inputs"] = {
        name: f"{spec.dtype or ''}{list(spec.shape)}{',requires_grad' * spec.requires_grad}"
        for name, spec in case.inputs.items()
    }
    body = indent(case.program, "    ")
    return TWIN.format(setup=case.setup, declared=declared, arguments=", ".join(case.inputs), body=body)


def answer(record: Record) -> tuple[object, ...]:
    """The observations of a record."""
    return record.verdict, record.message, record.checks, record.evidence, record.raised

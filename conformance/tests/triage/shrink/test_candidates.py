from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conformance.catalogue import sources, writer
from conformance.catalogue.loader import load_cases
from conformance.model.case import Call, ExpectedRaise, InputSpec, Variant
from conformance.model.enums import Level, Tier
from conformance.program.build import problems
from conformance.tests.fakes import a_case
from conformance.triage.shrink import candidates

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.case import Case

WRITTEN = [case for case in sources.collect() if not case.family]
VEC = InputSpec(shape=(4,), requires_grad=True)


def steps(case: Case) -> list[Case]:
    """Every candidate of a case in its last variant."""
    return [one for one, _ in candidates.candidates(case, case.variants[-1])]


def programs(program: str, setup: str = "", **changes: Any) -> set[tuple[str, str]]:
    """Setup and program of every candidate, without blank lines."""
    found = steps(a_case(**{"inputs": {"a": VEC, "b": VEC}} | changes, program=program, setup=setup))
    return {(one.setup.strip().replace("\n\n", "\n"), one.program.strip()) for one in found}


@pytest.mark.parametrize("case", WRITTEN[::29], ids=lambda case: case.id)
def test_candidates_are_smaller_cases_that_load(case: Case, tmp_path: Path) -> None:
    """Each is smaller by the measure, has the one variant it is to be run in, and breaks no rule of the loader."""
    limit = candidates.size(case)
    for number, (one, variant) in enumerate(candidates.candidates(case, case.variants[-1])):
        assert candidates.size(one) < limit
        assert one.variants == (variant,)
        named = replace(one, id=f"{one.id}_{number}")
        (tmp_path / f"{case.area}_{number}.yaml").write_text(writer.dump(named), encoding="utf-8")
    assert load_cases([tmp_path])


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # not shrinking, which takes minutes: programs are small
)
@given(st.data())
def test_any_way_down_ends(data: st.DataObject) -> None:
    """Whichever candidates are taken, the sizes fall, and at the end is a program that returns next to nothing.

    That is one line, or a function with nothing in it, or a change of a name that nothing defines any longer.
    """
    case = data.draw(st.sampled_from([one for one in WRITTEN if len(one.program) < 150]))
    variant = case.variants[0]
    while some := list(islice(candidates.candidates(case, variant), 12)):
        before = candidates.size(case)
        case, variant = data.draw(st.sampled_from(some))
        assert candidates.size(case) < before
    assert len(case.program.splitlines()) == 1 or re.fullmatch(
        r"(?:(?:def|class|for) (\w+).*:\n    pass\nreturn \1|(\w+) \S{1,2}= \w+\nreturn \2)\n?", case.program
    ), case.program


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("with torch.no_grad():\n    c = a.sin()\nreturn c", "c = a.sin()\nreturn c"),
        (
            "with torch.no_grad(), torch.autocast('cpu'):\n    c = a\nreturn c",
            "with torch.autocast('cpu'):\n    c = a\nreturn c",
        ),
        ("if torch.is_grad_enabled():\n    c = a\nelse:\n    c = b\nreturn c", "c = b\nreturn c"),
        ("for _ in range(3):\n    a = a * 2\nreturn a", "a = a * 2\nreturn a"),
        ("try:\n    c = a\nexcept ValueError:\n    c = b\nreturn c", "c = a\nreturn c"),
        ("c = a.sin()\nd = c * 2\ne = b + 1\nreturn e", "e = b + 1\nreturn e"),
        ("c = a.sin()\nd = b.add_(1)\nc.mul_(2)\nreturn b", "d = b.add_(1)\nreturn b"),
        ("c = a.sin()\nreturn c * c", "return a * a"),
        ("with torch.no_grad():\n    c = a.sin()\nreturn c", "with torch.no_grad():\n    return a.sin()"),
        ("c = a.sin()\nreturn c * b", "return a.sin() * b"),
        ("return a, b", "return b"),
        ("return a, b, a", "return (a, b)"),
        ("return torch.mm(a, b)", "return a * b"),
        ("return a @ b", "return a * b"),
        ("return torch.sigmoid(a)", "return a.sin()"),
        ("return a.exp()", "return a.clone()"),
        ("return a.sum(dim=0)", "return a.sum()"),
        ("return F.relu(a + b)", "return a + b"),
        ("return a * b", "return b * b"),
        (
            "@torch.no_grad()\ndef f(x):\n    return x * 2\nc = f(a)\nreturn c",
            "with torch.no_grad():\n    x = a\n    c = x * 2\nreturn c",
        ),
        ("@torch.no_grad()\ndef f():\n    return a * 2\nreturn f()", "def f():\n    return a * 2\nreturn f()"),
    ],
)
def test_programs_become_simpler_in_one_step(program: str, expected: str) -> None:
    """Each way to simplify a program is among its candidates."""
    assert ("", expected) in programs(program)


@pytest.mark.parametrize(
    ("setup", "program", "expected"),
    [
        ("w = torch.ones(4)\nv = w * 2\nk = 3", "return a * k", ("k = 3", "return a * k")),
        (
            "net = torch.nn.Linear(4, 4)",
            "return net(a) * net.weight",
            ("net = torch.nn.Parameter(torch.ones(()))", "return a * net * net"),
        ),
        (
            "class Net(torch.nn.Module):\n    def forward(self, x):\n        return x\nnet = Net()",
            "return net(net(a))",
            ("net = torch.nn.Parameter(torch.ones(()))", "return a * net * net"),
        ),
        (
            "net = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU())",
            "return net(a)",
            ("net = torch.nn.Tanh()", "return net(a)"),
        ),
        ("w = torch.ones(4)", "return a * w", ("w = torch.ones(1)", "return a * w")),
    ],
)
def test_setups_become_simpler_in_one_step(setup: str, program: str, expected: tuple[str, str]) -> None:
    """Unused definitions go at once, modules become parameters, sizes shrink together with those of inputs."""
    assert expected in programs(program, setup)


def test_a_setup_is_not_moved_into_the_program() -> None:
    """A value made once would be made in each call: a different program."""
    found = programs("return net(a)", "net = torch.nn.Linear(4, 4)")
    assert not any("Linear" in program for _, program in found)


def test_the_first_candidate_is_the_one_variant() -> None:
    """Params are put into texts and shapes, and the axes have one value each."""
    variant = Variant(grad="disabled", params={"op": "cos", "rows": 3}, tier=Tier.FAST)
    case = a_case(
        title="does ${op}",
        program="return a.${op}()",
        inputs={"a": InputSpec(shape=("rows", 4))},
        variants=(Variant(params={"op": "sin", "rows": 2}), variant),
    )
    first, chosen = next(candidates.candidates(case, variant))
    assert (first.title, first.program, first.inputs["a"].shape) == ("does cos", "return a.cos()", (3, 4))
    assert (first.variants, chosen) == ((Variant(grad="disabled"),), Variant(grad="disabled"))


def _changed(case: Case, key: str) -> list[Any]:
    return [getattr(one, key) for one in steps(case) if getattr(one, key) != getattr(case, key)]


def test_calls_become_fewer_and_plainer() -> None:
    """One call may be left, alone or of several, and each key goes."""
    one, other = Call(grad="disabled", backward=False), Call(perturb=True)
    found = _changed(a_case(calls=(one, other)), "calls")
    assert found[:3] == [(Call(),), (one,), (other,)]
    assert (Call(backward=False), other) in found
    assert (one, Call()) in found


def test_inputs_become_fewer_and_plainer() -> None:
    """Unused ones are dropped with their fields in calls, and shapes, flags, strides and numbers become plain."""
    spec = InputSpec(shape=(2, 3), stride=(1, 2), dtype="float64", requires_grad=True, distribution="uniform", low=-1)
    case = a_case(inputs={"a": spec, "b": VEC}, calls=(Call(shapes={"b": (5,), "a": (2, 4)}),))
    found = steps(case)
    assert any(one.inputs == {"a": spec} and one.calls[0].shapes == {"a": (2, 4)} for one in found)
    kinds = [one.inputs["a"] for one in found if "a" in one.inputs]
    assert {(), (3,), (2,), (1, 3), (2, 1)} <= {kind.shape for kind in kinds}
    for changes in (
        {"stride": None},
        {"dtype": None, "distribution": "normal", "low": None},
        {"requires_grad": False},
        {"distribution": "normal", "low": None},
    ):
        assert replace(spec, **changes) in kinds


def test_inputs_that_share_memory_come_apart() -> None:
    """A view and an alias become inputs of their own, also where what they share is dropped."""
    leaf = replace(VEC, leaf=False)
    made = {"a": leaf, "b": InputSpec(alias_of="a"), "c": InputSpec(view_of="a", shape=(2,), offset=1)}
    found = _changed(a_case(inputs=made, program="return a + b + c\n"), "inputs")
    assert made | {"b": leaf} in found
    assert made | {"c": replace(leaf, shape=(2,))} in found
    assert made | {"a": VEC} not in found
    dropped = _changed(a_case(inputs=made, program="return b + c\n"), "inputs")
    assert {"b": leaf, "c": replace(leaf, shape=(2,))} in dropped


def test_a_scalar_input_becomes_its_value() -> None:
    """A constant in the program replaces the input."""
    found = steps(a_case(program="return a * k\n", inputs={"a": VEC, "k": InputSpec(scalar=3)}))
    assert any(one.program == "return a * 3\n" and "k" not in one.inputs for one in found)


def test_values_of_a_smaller_shape_are_the_first_ones() -> None:
    """Literal numbers shrink with the shape."""
    found = _changed(a_case(inputs={"a": InputSpec(shape=(2, 2), values=(1, 2, 3, 4))}), "inputs")
    assert InputSpec(shape=(2,), values=(1, 2)) in [inputs["a"] for inputs in found]


def test_moves_become_one_and_then_none() -> None:
    """What a move shows is shown by a case that makes it; what does not need it, without."""
    found = steps(a_case(variants=(Variant(moves="each_result+leaf_hooks"),)))
    assert {one.variants[0].moves for one in found} == {"each_result+leaf_hooks", "each_result", "leaf_hooks", "none"}


def test_axes_and_declarations_go_back_to_defaults() -> None:
    """Each axis on its own, and every other field of a case."""
    case = a_case(
        variants=(Variant(grad="disabled", dtype="float64", dynamic=None),),
        checks={"double_backward": Level.MUST},
        graph_breaks=1,
        recompiles=2,
        tags=frozenset({"smoke"}),
        raises=ExpectedRaise(),
        twin="return a + a\n",
    )
    assert (Variant(dtype="float64", dynamic=None),) in _changed(case, "variants")
    assert (Variant(grad="disabled", dtype="float64"),) in _changed(case, "variants")
    for key, plain in {"checks": {}, "graph_breaks": 0, "recompiles": None, "raises": None, "twin": ""}.items():
        assert plain in _changed(case, key)


def test_texts_outside_the_subset_stay_as_they_are() -> None:
    """A user's function is not taken apart, while its inputs and calls shrink."""
    case = a_case(
        setup="from conformance.observation.user_code import load\nfunction = load('m:f')\n",
        program="return function(a)\n",
    )
    assert problems(case)
    found = steps(case)
    assert {(one.setup, one.program) for one in found} == {(case.setup, case.program)}
    assert any(one.inputs["a"].shape == () for one in found)
    assert any(one.calls == (Call(),) for one in found)

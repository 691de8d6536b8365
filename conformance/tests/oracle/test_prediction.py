from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.catalogue.loader import load_cases
from conformance.execution import observe
from conformance.model.case import Call, InputSpec, Variant
from conformance.observation import ambient
from conformance.oracle import agreement
from conformance.oracle.modes import Autocast, Grad, Inference, Modes
from conformance.oracle.prediction import NotModelledError, predict
from conformance.oracle.values import ELEMENTWISE, FLOAT32, LOWER
from conformance.program.nests import AMBIENT, LEVELS, program
from conformance.tests.fakes import a_backend, a_case, a_request
from conformance.tests.roles import observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.program.nests import NestLevel

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

NEST = next(case for case in load_cases() if case.id == "nest.modes.no_grad_with")
GRAD = InputSpec(shape=(4, 4), requires_grad=True)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    torch.compiler.reset()
    left = ambient.capture()
    assert (left.grad_mode, left.inference_mode, left.autocast) == (True, False, False)


@given(levels=st.lists(st.sampled_from(LEVELS), max_size=4), around=st.sampled_from(sorted(AMBIENT)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_eager_agrees_on_every_nest(levels: list[NestLevel], around: str) -> None:
    """However contexts are nested, the oracle predicts the uncompiled modes, in each probe and after."""
    case = replace(NEST, program=program(levels, "probe(a, w, h, k)"), calls=(Call(backward=False),))
    request = a_request(case, variant=AMBIENT[around])
    leaves, disagreement = agreement.compare(request, observed(case, AMBIENT[around]))
    assert (disagreement, leaves >= 5) == (None, True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", sorted(LOWER | FLOAT32 | ELEMENTWISE))
def test_eager_has_the_operation_on_that_list(name: str, dtype: str) -> None:
    """Each operation of the tables gives the dtype of its list, inside autocast and outside."""
    operands = {"addmm": "a, b, c", "baddbmm": "d, d, d", "bmm": "d, d", "linear": "a, b", "mse_loss": "a, b"}
    binary = "a, b" if name in {"add", "div", "matmul", "mm", "mul", "sub"} else "a"
    home = "F" if name in {"linear", "mse_loss"} else "torch"
    text = f"return {home}.{name}({operands.get(name, binary)})\n"
    inputs = dict.fromkeys("abc", GRAD) | {"d": InputSpec(shape=(2, 3, 3), requires_grad=True)}
    case = a_case(program=text, inputs=inputs, calls=(Call(), Call(autocast=dtype), Call(autocast=dtype, dtype=dtype)))
    leaves, disagreement = agreement.compare(a_request(case), observed(case))
    assert (disagreement, leaves) == (None, 3)


@pytest.mark.parametrize(
    ("context", "inside", "after"),
    [
        (Grad(enabled=False), Modes(grad=False), Modes()),
        (Inference(mode=True), Modes(grad=False, inference=True), Modes()),
        (Inference(mode=False), Modes(), Modes()),
        (Autocast(dtype="float16"), Modes(autocast=True, dtype="float16"), Modes()),
        (Autocast(enabled=False), Modes(), Modes()),
    ],
)
def test_a_context_is_entered_and_left(context: Grad | Inference | Autocast, inside: Modes, after: Modes) -> None:
    """It applies inside and no longer."""
    assert context.enter(Modes()) == inside
    assert context.leave(Modes(), inside) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pause = torch.no_grad()\nwith pause:\n    return a\n", "a call of torch.no_grad"),
        ("return [value for value in (a,)]\n", "listcomp"),
        ("if a.sum() > 0:\n    return a\nreturn a\n", "a branch or loop on an unknown value"),
        ("return a.add_(1)\n", "a call of the method add_"),
        ("return torch.func.grad(torch.sin)(a)\n", "a call of"),
        ("a[0] = 1\nreturn a\n", "assignment to a part of something"),
        ("with torch.no_grad() as it:\n    return a\n", "with ... as"),
        ("with torch.autocast('cpu', torch.float16):\n    return a\n", "the context torch.autocast"),
        ("try:\n    return a\nfinally:\n    a.sin()\n", "try"),
        ("def f(x, *y):\n    return x\nreturn f(a)\n", "an unusual signature"),
        ("def f(x):\n    yield x\nreturn f(a)\n", "a generator or nonlocal name"),
        ("def f(x):\n    return x\nreturn list(map(f, [a]))\n", "a function passed to another"),
        ("return {a: 1}\n", "keys that are not constants"),
        ("x = (lambda y: y)(a)\nreturn x\n", "lambda"),
        ("pause = 1\nwith pause:\n    return a\n", "a context object made before it is entered"),
        ("b = a\nreturn b(a)\n", "a call of something unknown"),
    ],
)
def test_what_is_not_modelled_is_named(text: str, reason: str) -> None:
    """The oracle does not guess."""
    with pytest.raises(NotModelledError, match=reason):
        predict(a_case(program=text, inputs={"a": GRAD}), Variant())


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("with torch.inference_mode():\n    b = a.sin()\nreturn a * b, b\n", 1),
        ("return a + 1j, a * i, a.cumsum(0) * a, torch.cat([a, a]), 2 * 3\n", 0),
        ("layer = torch.nn.Identity()\nreturn layer(a), a.sum(), a.sin() * n\n", 1),
        ("return a.sin() * h, a // 1.5, i > 2, a[:2]\n", 0),
        ("for _ in (1, 2):\n    return a.cos()\n", 1),
    ],
)
def test_only_what_is_certain_is_predicted(text: str, leaves: int) -> None:
    """Mixed dtypes, inference tensors that are recorded, views and unknown operations are left out."""
    inputs = {
        "a": GRAD,
        "i": InputSpec(shape=(4,), dtype="int64"),
        "h": InputSpec(shape=(4, 4), dtype="float16"),
        "n": InputSpec(scalar=2.0),
    }
    (prediction,) = predict(a_case(program=text, inputs=inputs, calls=(Call(scalars={"n": 3.0}),)), Variant())
    assert len(prediction.facts) + len(prediction.values) == leaves


def test_a_call_that_raises_and_a_program_not_followed_are_not_compared() -> None:
    """There is nothing to compare with the oracle."""
    raising = a_case(program="return a.sin() @ torch.ones(3)\n", inputs={"a": GRAD}, calls=(Call(),))
    lost = a_case(program="return [value for value in (a,)]\n", inputs={"a": GRAD}, calls=(Call(),))
    assert agreement.compare(a_request(raising), observed(raising)) == (0, None)
    assert agreement.compare(a_request(lost), observed(lost)) == (0, None)


def test_values_that_are_not_followed_are_not_compared() -> None:
    """What is known beside them is."""
    text = """\
for flag in (True, False):
    with torch.set_grad_enabled(flag):
        b = a.sin()
c, (d, e) = a.cumsum(0), (a.cos(), None)
if not flag:
    pass
return {'b': b, 'c': c, 'd': [d, a[0], 1 + 1], 'flag': d.requires_grad}
"""
    case = a_case(program=text, inputs={"a": GRAD}, calls=(Call(),))
    (prediction,) = predict(case, Variant())
    assert set(prediction.facts) == {"output['b']", "output['d'][0]"}
    assert prediction.values == {"output['flag']": True}
    assert agreement.compare(a_request(case), observed(case)) == (3, None)


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ('return torch.get_autocast_dtype("cpu") == torch.float16, torch.is_autocast_enabled("cpu")\n', 2),
        ('if torch.get_autocast_dtype("cpu") == torch.bfloat16:\n    return a @ a\nreturn (a @ a).sin()\n', 1),
        ('with torch.autocast("cpu", dtype=torch.get_autocast_dtype("cpu")):\n    return a @ a\n', 1),
        ('return torch.get_autocast_dtype("cuda") == torch.float16, torch.is_autocast_enabled(), 1 == 1.0\n', 0),
    ],
)
@pytest.mark.parametrize("autocast", [None, "bfloat16", "float16"])
def test_autocast_is_asked_for(text: str, leaves: int, autocast: str | None) -> None:
    """The state of the CPU is known, and code may choose by it; that of another device is not."""
    case = a_case(program=text, inputs={"a": GRAD}, calls=(Call(autocast=autocast, backward=False),))
    assert agreement.compare(a_request(case), observed(case)) == (leaves, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("return a.sin()\n", "call[0].output: requires_grad is False, the oracle predicts True"),
        ("return torch.is_grad_enabled()\n", "call[0].output: it is False, the oracle predicts True"),
        ("return None\n", "call[0].after_call: grad, inference, autocast and its dtype are"),
    ],
)
def test_a_disagreement_makes_the_case_invalid(text: str, words: str) -> None:
    """An uncompiled program that does something else than documented is not used as the reference."""
    case = a_case(program=text, inputs={"a": GRAD})
    broken = observed(replace(case, program=f"torch.set_grad_enabled(False)\n{text}"))
    assert words in str(agreement.compare(a_request(case), broken)[1])


def test_a_wrong_table_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case on which the two disagree is invalid, and counted as agreed otherwise."""
    case = a_case(program="return a @ a\n", inputs={"a": GRAD}, calls=(Call(autocast="bfloat16"), Call()))
    request = a_request(case, backend=a_backend("eager"))
    assert observe.run(request, lambda _: None).metrics["modelled_leaves"] == 2
    monkeypatch.setattr("conformance.oracle.values._CASTABLE", frozenset())
    seen = observe.run(request, lambda _: None)
    assert seen.invalid is not None
    assert seen.invalid.startswith(
        "the uncompiled program and the oracle disagree in call[0].output: dtype is torch.bfloat16"
    )

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.model.case import Call, InputSpec, Variant
from conformance.tests.fakes import a_case
from conformance.tests.roles import a_reference, checked, observed
from conformance.tests.wrong import after, honest

if TYPE_CHECKING:
    from conformance.model.case import Case

pytestmark = pytest.mark.torch

INPUTS = {"a": InputSpec(shape=(6, 8), requires_grad=True)}
CHECKPOINT = (
    "def noisy(x):\n    return F.dropout(x.sin(), 0.5) * x\n"
    "return torch.utils.checkpoint.checkpoint(noisy, a, use_reentrant=False)\n"
)
DRAWING = {
    "randn_like": "z = a + 0.1 * torch.randn_like(a)\nreturn (z - z.roll(1, 0)).pow(2).mean() + 3.0\n",
    "a factory": "return a * torch.rand(6, 8) + torch.randn(8)\n",
    "dropout": "return F.dropout(a, 0.5)\n",
    "dropout in two places": "return F.dropout(F.dropout(a, 0.5).exp(), 0.25)\n",
    "alpha dropout": "return F.alpha_dropout(a, 0.5, True)\n",
    "channels dropped": "return F.dropout2d(a.reshape(2, 3, 2, 4), 0.5)\n",
    "bernoulli": "return a * torch.bernoulli(a.sigmoid().detach())\n",
    "multinomial": "return a.gather(1, torch.multinomial(a.softmax(-1), 2))\n",
    "normal": "return a * torch.normal(a.detach(), 1.0)\n",
    "written in place": "return a * torch.empty(8).uniform_() + torch.empty(8).exponential_()\n",
    "rrelu": "return F.rrelu(a, training=True)\n",
    "gumbel": "return F.gumbel_softmax(a)\n",
    "poisson": "return a * torch.poisson(a.detach().exp())\n",
    "integers": "return a[torch.randperm(6)] * torch.randint(1, 9, (8,))\n",
    "a generator of its own": "return a * torch.rand(8, generator=torch.Generator().manual_seed(3))\n",
    "drawn in half": "return a * torch.randn(8, dtype=torch.float16)\n",
    "drawn in double": "return a * torch.randn(8, dtype=torch.float64)\n",
    "attention": "q = a[None, None]\nreturn F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)\n",
    "drawn again in backward": CHECKPOINT,
    "drawn where the state was put back": "with torch.random.fork_rng():\n    b = torch.rand(8)\n"
    "return a * b * torch.rand(8)\n",
    "mapped": "return torch.vmap(lambda x: x * torch.rand(8), randomness='different')(a)\n",
}


def errors(case: Case, variant: Variant | None = None) -> list[float]:
    """How far uncompiled is from fp64 in the results and gradients of every call, relative to the largest number."""
    reference, found = a_reference(case, variant), []
    for index, call in enumerate(observed(case, variant).calls):
        for name in ("outputs", "gradients"):
            for path, leaf in getattr(call, name).items():
                ideal = reference.leaf(f"call[{index}].{name}", path)
                if leaf.data is not None:
                    assert ideal is not None, f"{path} has no reference"
                    found.append(float((leaf.data.to(ideal.dtype) - ideal).abs().max() / ideal.abs().max()))
    return found


@pytest.mark.parametrize("program", DRAWING.values(), ids=DRAWING.keys())
def test_the_reference_draws_the_numbers_of_eager(program: str) -> None:
    """They are the same ones, widened, in every call and in backward: uncompiled is off by its rounding alone."""
    assert max(errors(a_case(program=program, inputs=INPUTS))) < 1e-5


@pytest.mark.parametrize("name", ["randn_like", "dropout", "bernoulli", "drawn again in backward"])
def test_it_does_so_under_autocast(name: str) -> None:
    """What is drawn in bfloat16 uncompiled is not drawn in float64."""
    program = (
        DRAWING[name].replace("a.sin", "(a @ a.t() @ a).sin").replace("randn_like(a)", "randn_like(a @ a.t() @ a)")
    )
    found = errors(a_case(program=program, inputs=INPUTS), Variant(autocast="bfloat16"))
    assert max(found) < 5e-2


@pytest.mark.parametrize(
    "layer", ["Dropout(0.5)", "AlphaDropout(0.5)", "TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)"]
)
def test_modules_draw_the_numbers_of_eager(layer: str) -> None:
    """A layer in training mode draws inside, and its weights were drawn in setup."""
    case = a_case(setup=f"net = torch.nn.{layer}\n", program="return net(a)\n", inputs=INPUTS)
    reference, seen = a_reference(case), observed(case)
    for index, call in enumerate(seen.calls):
        ideal, eager = reference.leaf(f"call[{index}].outputs", "output"), call.outputs["output"].data
        assert ideal is not None
        assert eager is not None
        assert float((eager - ideal).abs().max()) < 1e-5


@pytest.mark.parametrize(
    "program",
    [
        "return a * (torch.rand(8) if a.dtype == torch.float64 else torch.randn(8))\n",
        "return a * torch.rand(8) if a.dtype == torch.float64 else a * 0.5\n",
        "return a * 0.5 if a.dtype == torch.float64 else a * torch.rand(8)\n",
        "return a * torch.empty(8 if a.dtype == torch.float64 else 1).uniform_()\n",
    ],
)
def test_a_program_that_draws_otherwise_in_float64_has_no_reference(program: str) -> None:
    """Other operators, more or fewer of them, or other shapes: there is nothing to replay."""
    assert a_reference(a_case(program=program, inputs=INPUTS)).leaf("call[0].outputs", "output") is None


@pytest.mark.parametrize("program", DRAWING.values(), ids=DRAWING.keys())
def test_one_percent_too_much_is_seen_in_a_program_that_draws(program: str) -> None:
    """Results that are a little too large are wrong, whatever was drawn."""
    case = a_case(program=program, inputs=INPUTS, calls=(Call(backward=False),))
    assert "values" in checked(case, after(lambda result: result * 1.01)).broken


@pytest.mark.parametrize("program", DRAWING.values(), ids=DRAWING.keys())
def test_rounding_is_forgiven_in_a_program_that_draws(program: str) -> None:
    """What differs in the last places is right."""
    case = a_case(program=program, inputs=INPUTS)

    def in_another_order(result: Any) -> Any:
        return (result * 3) * torch.tensor(1 / 3)

    assert not checked(case, honest).broken
    assert not checked(case, after(in_another_order)).broken & {"values", "gradients", "calls"}


MODE_SENSITIVE = {
    "pseudo-inverse": "return (torch.linalg.pinv(a) @ b).abs()\n",
    "pseudo-inverse twice": "return torch.view_as_real(torch.linalg.pinv(torch.linalg.pinv(a)) @ b)\n",
    "gradient of it": "return (torch.linalg.pinv(a) @ b).abs().square().sum()\n",
}
COMPLEX = {name: InputSpec(shape=(4, 4), dtype="complex64", requires_grad=True) for name in "ab"}


@pytest.mark.parametrize("program", MODE_SENSITIVE.values(), ids=MODE_SENSITIVE.keys())
def test_what_a_dispatch_mode_changes_is_computed_without_one(program: str) -> None:
    """Under a mode the pseudo-inverse of complex numbers differs; uncompiled is right, as the fp64 reference shows."""
    assert max(errors(a_case(program=program, inputs=COMPLEX))) < 1e-4


@pytest.mark.parametrize("program", MODE_SENSITIVE.values(), ids=MODE_SENSITIVE.keys())
def test_a_reference_that_needs_the_mode_that_changes_it_is_not_used(program: str) -> None:
    """A program that also draws needs the mode; it is then compared with uncompiled alone, which still finds errors."""
    case = a_case(program=f"b = b * torch.rand(4)\n{program}", inputs=COMPLEX)
    assert a_reference(case).leaf("call[0].outputs", "output") is None
    assert not checked(case, honest).broken
    assert "values" in checked(case, after(lambda result: result * 1.01)).broken


SHARED = {
    "two views of one memory": ("a.add_(1)\nreturn b * 2\n", lambda base: {"a": base[:5], "b": base[3:]}),
    "one tensor twice": ("a.mul_(3)\nreturn a + b\n", lambda base: {"a": base, "b": base}),
    "strides": ("return a.as_strided((4,), (1,)) * b\n", lambda base: {"a": base[::2], "b": base[1]}),
}


@pytest.mark.parametrize(("program", "make"), SHARED.values(), ids=SHARED.keys())
def test_inputs_have_the_layout_that_they_have_uncompiled(
    program: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shares memory does so in float64, and strides are the same: a write reaches what it reaches."""
    monkeypatch.setattr("conformance.observation.inputs.make", lambda *_: make(torch.linspace(0.1, 0.9, 8)))
    case = a_case(program=program, inputs={"a": InputSpec(shape=(4,)), "b": InputSpec(shape=(4,))})
    assert max(errors(case)) < 1e-6

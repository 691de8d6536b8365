from __future__ import annotations

import importlib
import itertools
import math
import random
from operator import attrgetter
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.execution import observe
from conformance.model.case import Call, Case, ExpectedRaise, InputSpec, Variant
from conformance.model.enums import Fault, Grade, Level, Stage
from conformance.observation import ambient
from conformance.tests.fakes import a_backend, a_case, a_request
from conformance.tests.roles import changed_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.model.result import Attempt

# A child does not turn warnings into errors; one while Dynamo traces would change what is compiled.
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

REQUIRES = InputSpec(shape=(4,), requires_grad=True)
LINEAR = "net = torch.nn.Linear(4, 2)\n"
OPTIMIZED = LINEAR + "optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)\n"
REFUSING = """\
class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        raise ValueError('no backward')
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Let Dynamo forget what a test compiled, and see that no test leaves a mode open."""
    torch._dynamo.reset()
    before, rng, python_rng = ambient.capture(), torch.get_rng_state(), random.getstate()
    yield
    torch.set_rng_state(rng)
    random.setstate(python_rng)
    torch._dynamo.reset()
    assert changed_since(before) == set()


@pytest.fixture
def backend_file(tmp_path: Path) -> Callable[[str], str]:
    """Write a module with a backend called `mine`; the reference to it comes back."""

    def write(source: str) -> str:
        path = tmp_path / "its_backend.py"
        path.write_text("import torch\nfrom conformance.backend import Backend\n" + dedent(source))
        return f"{path}:mine"

    return write


def attempt(case: Case, ref: str = "eager", variant: Variant | None = None) -> Attempt:
    """What comes of running a case on a backend in this process."""
    request = a_request(case, a_backend("mine", ref=ref), variant=variant or case.variants[0])
    return observe.run(request, lambda _: None)


def broken(seen: Attempt) -> set[str]:
    """Names of the checks that break."""
    return {check.check for check in seen.checks if check.breaks}


def passed(seen: Attempt) -> bool:
    """Whether nothing was raised or found, and something was compiled."""
    return not broken(seen) and seen.raised is None and seen.invalid is None and bool(seen.checks)


ORDINARY = {
    "doubling": a_case(),
    "linear": a_case(setup=LINEAR, program="return net(a)\n"),
    "batch_norm": a_case(
        setup="net = torch.nn.BatchNorm1d(4)\n", program="return net(torch.stack([a, a * 2, a * a]))\n"
    ),
    "optimizer": a_case(
        setup=OPTIMIZED,
        program="optimizer.zero_grad()\nloss = net(a.detach()).square().sum()\n"
        "loss.backward()\noptimizer.step()\nreturn loss.detach(), net(a)\n",
        graph_breaks=4,
    ),
    "containers": a_case(program="return {'x': (a * 2, None, 3), 'max': torch.max(torch.stack([a, a * 2]), dim=0)}\n"),
    "input": a_case(program="b = a * 2\nreturn a, b, a.view(2, 2)\n"),
    "mutation": a_case(program="b.mul_(2)\nreturn a * b\n", inputs={"a": REQUIRES, "b": InputSpec(shape=(4,))}),
    "integers": a_case(program="return a * 2, a > 0\n", inputs={"a": InputSpec(shape=(4,), dtype="int64")}),
    "empty": a_case(inputs={"a": InputSpec(shape=(0, 3), requires_grad=True)}),
    "number": a_case(inputs={"a": InputSpec(shape=(), requires_grad=True)}),
    "complex": a_case(
        program="return a * a.conj() * 1j\n", inputs={"a": InputSpec(shape=(4,), dtype="complex64", requires_grad=True)}
    ),
    "special": a_case(inputs={"a": InputSpec(shape=(4,), values=(math.nan, math.inf, -0.0, 1.0), requires_grad=True)}),
    "random": a_case(program="return F.dropout(a, 0.5) * torch.rand(4)\n"),
    "result written": a_case(calls=(Call(inplace=True), Call(inplace=True))),
    "sequence": a_case(
        calls=(
            Call(),
            Call(grad="disabled"),
            Call(grad="inference"),
            Call(autocast="bfloat16"),
            Call(shapes={"a": (6,)}),
            Call(dtype="float64"),
            Call(requires_grad={"a": False}),
            Call(),
        ),
    ),
}


@pytest.mark.parametrize("case", ORDINARY.values(), ids=ORDINARY.keys())
@pytest.mark.parametrize("ref", ["eager", "torch:aot_eager"])
def test_a_backend_that_is_right_passes(case: Case, ref: str) -> None:
    """PyTorch's own debug backends do what the uncompiled program does, to the last bit."""
    seen = attempt(case, ref)
    assert passed(seen), seen
    assert seen.stage is Stage.COMPARE
    assert {check.grade for check in seen.checks} <= {None, Grade.NOTHING, Grade.BITWISE, Grade.CLOSE}


@pytest.mark.parametrize("grad", ["enabled", "disabled", "inference"])
@pytest.mark.parametrize("autocast", ["off", "bfloat16"])
def test_every_ambient_mode_is_run(grad: str, autocast: str) -> None:
    """The driver's modes are the variant's, uncompiled and for the compiled function."""
    case = a_case(setup=LINEAR, program="return net(a), a * 2\n")
    assert passed(attempt(case, "torch:aot_eager", Variant(grad=grad, autocast=autocast)))


@pytest.mark.parametrize(("dynamic", "recompiles"), [(False, 2), (None, 1), (True, 0)])
def test_dynamic_shapes_are_handed_on(dynamic: bool | None, recompiles: int) -> None:
    """Static shapes recompile for each, automatic ones once, dynamic ones never."""
    calls = tuple(Call(shapes={"a": (size,)}) for size in (4, 6, 8))
    seen = attempt(a_case(calls=calls), "eager", Variant(dynamic=dynamic))
    assert passed(seen)
    assert seen.evidence is not None
    assert seen.evidence.recompiles == recompiles


def test_stages_are_reported_in_their_order() -> None:
    """A crash can be placed where it happened."""
    stages: list[Stage] = []
    observe.run(a_request(a_case(), a_backend("mine", ref="eager")), stages.append)
    calls = [Stage.COMPILE, Stage.COMPILE, Stage.BACKWARD, Stage.FORWARD, Stage.BACKWARD]
    assert stages == [Stage.BUILD, Stage.REFERENCE, Stage.LOAD, *calls, Stage.COMPARE]


def test_what_was_measured_are_numbers() -> None:
    """Seconds and bytes, of the backend and uncompiled."""
    seen = attempt(a_case(program="return a.sin().cos()\n"), "torch:aot_eager")
    names = {"first_call_s", "later_call_s", "saved_bytes", "eager_saved_bytes", "modelled_leaves"}
    assert set(seen.metrics) == names
    # The compiled backward computes sin again rather than keep it.
    assert (seen.metrics["saved_bytes"], seen.metrics["eager_saved_bytes"]) == (16, 32)
    assert seen.metrics["first_call_s"] > seen.metrics["later_call_s"] > 0


def test_a_single_call_has_no_later_ones() -> None:
    """What was not measured is left out."""
    assert "later_call_s" not in attempt(a_case(calls=(Call(),))).metrics


@pytest.mark.parametrize(("ref", "is_compiled"), [("eager", False), ("torch:aot_eager", True)])
def test_evidence_shows_whether_the_backward_was_compiled(ref: str, is_compiled: bool) -> None:
    """A graph alone is no compiled backward."""
    seen = attempt(a_case(), ref).evidence
    assert seen is not None
    assert (seen.graphs, seen.backend_calls, seen.compiled_backward) == (1, 2, is_compiled)


def test_a_program_without_operations_compiles_nothing() -> None:
    """Every check held, but nothing was compiled."""
    seen = attempt(a_case(program="return a\n"))
    assert broken(seen) == {"compiled"}
    assert seen.raised is None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (a_case(program="return (\n"), "the case does not build: SyntaxError"),
        (a_case(setup="net = missing\n"), "the case does not build: NameError"),
        (
            a_case(program="raise ValueError('no')\n"),
            "the uncompiled program raised ValueError at stage forward: no, which the case",
        ),
        (
            a_case(raises=ExpectedRaise(type="ValueError")),
            "the case declares ValueError at stage forward, and the uncompiled program raised nothing",
        ),
        (
            a_case(program="raise ValueError('no')\n", raises=ExpectedRaise(type="TypeError")),
            "the uncompiled program raised ValueError",
        ),
        (
            a_case(program="raise ValueError('no')\n", raises=ExpectedRaise(stage=Stage.BACKWARD, type="ValueError")),
            "the uncompiled program raised ValueError at stage forward",
        ),
        (
            a_case(inputs={"a": InputSpec(shape=(3,), values=(1, 2))}),
            "the uncompiled program cannot be observed: RuntimeError",
        ),
        (
            a_case(inputs={"a": InputSpec(shape=(3,), dtype="int64", requires_grad=True)}),
            "the uncompiled program cannot be observed: RuntimeError",
        ),
        (
            a_case(program="return a.detach().to('meta')\n"),
            "call[0].output is a Tensor (layout torch.strided, device meta), whose numbers cannot be read",
        ),
    ],
)
def test_a_case_that_is_wrong_itself_is_invalid(case: Case, words: str) -> None:
    """A fault of the suite is never blamed on a backend, which is not even loaded."""
    seen = attempt(case, "no.such.module:backend")
    assert (seen.invalid or "").startswith(words)
    assert seen.stage in {Stage.BUILD, Stage.REFERENCE}
    assert (seen.checks, seen.raised) == ((), None)


def test_a_program_that_differs_from_itself_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The uncompiled program runs twice, and a result that depends on more than the seed compares with nothing."""
    monkeypatch.setattr(math, "tick", itertools.count().__next__, raising=False)
    seen = attempt(a_case(program="return a * 0 + math.tick()\n"))
    assert seen.invalid == "the uncompiled program differs from itself in output: values 0.0, then 3.0"
    assert seen.fault is Fault.UNSTABLE


def test_a_program_whose_moves_differ_from_themselves_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked at a second time where the backend seems to be wrong about them."""
    monkeypatch.setattr(math, "tick", itertools.count().__next__, raising=False)
    program = "return a * (math.tick() if torch.is_anomaly_enabled() else 1)\n"
    seen = attempt(a_case(program=program, variants=(Variant(moves="anomaly_mode"),)))
    assert "the uncompiled program differs from itself in move.anomaly_mode" in (seen.invalid or "")
    assert (seen.fault, seen.stage) == (Fault.UNSTABLE, Stage.COMPARE)


@pytest.mark.parametrize(
    ("program", "invalid"),
    [
        ("return a.sin()\n", None),
        ("return a * (math.tick() if torch.is_anomaly_enabled() else 1)\n", "differs from itself in move.anomaly_mode"),
        ("return a * missing\n", "the uncompiled program raised NameError"),
        (
            "if torch.is_anomaly_enabled() and math.tick() > 0:\n    raise SystemError\nreturn a.sin()\n",
            "differs from itself in move.anomaly_mode",
        ),
    ],
)
def test_the_uncompiled_program_alone(program: str, invalid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is invalid about it, or nothing; moves are looked at several times."""
    monkeypatch.setattr(math, "tick", itertools.count().__next__, raising=False)
    case = a_case(program=program, setup="import math\n", variants=(Variant(moves="anomaly_mode"),))
    seen = observe.run_uncompiled(a_request(case), lambda _: None)
    assert (invalid or "") in (seen.invalid or "")
    assert bool(seen.invalid) == bool(invalid)


def test_an_uncompiled_program_that_cannot_be_run_again_is_unstable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is not what it was; whose doing that is, is decided elsewhere."""
    looks = itertools.count()
    original = vars(observe)["observe"]

    def failing(*given: Any) -> Any:
        if next(looks):
            message = "no inputs can be made"
            raise RuntimeError(message)
        return original(*given)

    monkeypatch.setattr(observe, "observe", failing)
    case = a_case(variants=(Variant(moves="anomaly_mode"),))
    seen = observe.run_uncompiled(a_request(case), lambda _: None)
    assert seen.invalid == "the uncompiled program cannot be run again: RuntimeError: no inputs can be made"


@pytest.mark.parametrize(
    ("source", "stage", "kind", "words"),
    [
        ("raise LookupError('at import')\n", Stage.LOAD, "LookupError", "at import"),
        ("mine = 3\n", Stage.LOAD, "TypeError", "neither a Backend nor a callable"),
        ("mine = Backend(name='no_such_backend')\n", Stage.COMPILE, "InvalidBackend", "no_such_backend"),
        (
            "mine = Backend(name='mine', patches={'_no.such.config': 1})\n",
            Stage.LOAD,
            "AttributeError",
            "_no.such.config",
        ),
        (
            "def mine(gm, example_inputs):\n    raise LookupError('while compiling')\n",
            Stage.COMPILE,
            "BackendCompilerFailed",
            "while compiling",
        ),
        (
            """
            def mine(gm, example_inputs):
                def run(*args):
                    raise LookupError('when called')
                return run
            """,
            Stage.FORWARD,
            "LookupError",
            "when called",
        ),
        (
            """
            class Bad(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    return x.clone()
                @staticmethod
                def backward(ctx, g):
                    raise LookupError('in backward')

            def mine(gm, example_inputs):
                return lambda *args: tuple(map(Bad.apply, gm(*args)))
            """,
            Stage.BACKWARD,
            "LookupError",
            "in backward",
        ),
    ],
)
def test_a_backend_that_raises_is_a_result(
    backend_file: Callable[[str], str], source: str, stage: Stage, kind: str, words: str
) -> None:
    """In import, in resolving, in compiling, at the call, in backward: the stage is reported, and nothing escapes."""
    seen = attempt(a_case(), backend_file(source))
    assert seen.raised is not None
    assert (seen.raised.stage, seen.raised.type, seen.stage) == (stage, kind, stage)
    assert words in seen.raised.message
    assert seen.invalid is None


def test_an_unknown_backend_is_a_result() -> None:
    """A name that the child cannot resolve is reported at the stage of loading."""
    seen = attempt(a_case(), "no_such_backend")
    assert seen.raised is not None
    assert (seen.raised.stage, seen.raised.type) == (Stage.LOAD, "BackendError")


@pytest.mark.parametrize(
    ("wrong", "checks"),
    [
        ("x + 1", {"values", "calls"}),
        ("x.detach()", {"autograd_flags", "gradients", "calls"}),
        ("x.double()", {"values", "calls"}),
        ("x.as_subclass(Broken)", {"values", "exceptions"}),
        ("FAKE", {"values", "calls"}),
        ("x.to_sparse()", {"values", "calls"}),
        ("x.to('meta')", {"values", "exceptions"}),
        ("None", {"values", "calls"}),
        ("(torch.rand(1), x)[1]", {"ambient"}),
        ("(torch.set_grad_enabled(False), x)[1]", {"ambient"}),
    ],
)
def test_a_backend_that_is_wrong_fails_its_checks(
    backend_file: Callable[[str], str], wrong: str, checks: set[str]
) -> None:
    """Whatever a compiled function returns is compared; tensors that cannot be read do not stop it."""
    source = f"""
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Broken(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            raise LookupError("no")

    with FakeTensorMode():
        FAKE = torch.ones(4)

    def mine(gm, example_inputs):
        return torch._dynamo.disable(lambda *args: tuple({wrong} for x in gm(*args)))
    """
    seen = attempt(a_case(), backend_file(source))
    assert seen.raised is None or seen.raised.stage is Stage.BACKWARD
    assert checks <= broken(seen)
    assert seen.invalid is None


def test_a_mode_that_refuses_everything_is_reported_and_taken_off(backend_file: Callable[[str], str]) -> None:
    """A dispatch mode that a backend leaves open does not bring the observation down."""
    source = """
    from torch.utils._python_dispatch import TorchDispatchMode

    def mine(gm, example_inputs):
        def run(*args):
            result = gm(*args)
            TorchDispatchMode().__enter__()
            return result
        return run
    """
    seen = attempt(a_case(), backend_file(source))
    assert "ambient" in broken(seen)
    paths = {one.path for check in seen.checks if check.check == "ambient" for one in check.differences}
    assert {"call[0].after_call.dispatch_modes", "call[0].after_call.works"} <= paths


DECLARED = a_case(program="b = a * 2\nraise ValueError('no')\n", raises=ExpectedRaise(type="ValueError"))


def test_an_exception_that_eager_raises_too_is_no_error() -> None:
    """The case declares it, the backend raises the same, and all calls are made."""
    seen = attempt(DECLARED)
    assert seen.raised is None
    assert "exceptions" not in broken(seen)


@pytest.mark.parametrize(
    ("raised", "declared", "is_meant"),
    [("NotImplementedError", "RuntimeError", True), ("RuntimeError", "NotImplementedError", False)]
    + [("torch.cuda.OutOfMemoryError", each, each != "RuntimeError") for each in ("OutOfMemoryError", "RuntimeError")],
)
def test_an_exception_that_derives_from_the_declared_one_is_meant(raised: str, declared: str, is_meant: bool) -> None:
    """Of Python's own: releases of PyTorch refuse by one and by the other. Others are told apart by their names."""
    case = a_case(program=f"b = a * 2\nraise {raised}('no')\n", raises=ExpectedRaise(type=declared))
    assert (attempt(case).invalid is None) is is_meant


def test_a_compiled_caller_finds_what_the_program_names() -> None:
    """Dynamo looks up the setup of the program when it traces the program as part of another function."""
    case = a_case(program="return net(a) * 2\n", setup=LINEAR, inputs={"a": REQUIRES})
    seen = attempt(case, "eager", Variant(moves="compiled_within"))
    assert (seen.invalid, seen.raised, broken(seen)) == (None, None, set())


@pytest.mark.parametrize("ref", ["eager", "torch:aot_eager"])
def test_an_exception_in_backward_is_declared_with_its_stage(ref: str) -> None:
    """A backward that raises does so behind a compiled function too."""
    case = a_case(
        setup=REFUSING,
        program="return Refusing.apply(a) * 2\n",
        raises=ExpectedRaise(stage=Stage.BACKWARD, type="ValueError"),
    )
    seen = attempt(case, ref)
    assert seen.invalid is None
    assert passed(seen)


def test_a_call_that_raises_in_the_middle_does_not_end_the_sequence() -> None:
    """The uncompiled program raises at the second call alone, and the third is compared."""
    case = a_case(
        program="if n:\n    raise ValueError('asked')\nreturn a * 2\n",
        inputs={"a": REQUIRES, "n": InputSpec(scalar=0)},
        calls=(Call(), Call(scalars={"n": 1}), Call()),
        raises=ExpectedRaise(type="ValueError"),
    )
    assert passed(attempt(case))


@pytest.mark.parametrize("ref", ["eager", "torch:aot_eager"])
def test_second_gradients_are_asked_of_the_backend(ref: str) -> None:
    """A backend that supports them passes, one that does not raises in backward."""
    case = a_case(program="return a.sin() * a\n", checks={"double_backward": Level.MUST})
    seen = attempt(case, ref)
    if ref == "eager":
        assert passed(seen)
        assert "double_backward" in {check.check for check in seen.checks}
    else:
        assert seen.raised is not None
        assert (seen.raised.stage, "double backward" in seen.raised.message) == (Stage.BACKWARD, True)


ENGAGED = "mine = Backend(name='mine', compile={{'backend': 'eager'}}, engaged={engaged})\n"


@pytest.mark.parametrize(
    ("engaged", "words"),
    [
        ("lambda: None", None),
        ("lambda: 'eager did the work'", "eager did the work"),
        ("None", "every graph was returned as it came, for PyTorch to run it"),
        ("lambda: missing", "engaged() raised NameError: name 'missing' is not defined"),
    ],
)
def test_a_fallback_that_a_backend_reports_counts(
    backend_file: Callable[[str], str], engaged: str, words: str | None
) -> None:
    """A backend that reports a fallback, fails to report, or only returns graphs unchanged, has compiled nothing."""
    seen = attempt(a_case(), backend_file(ENGAGED.format(engaged=engaged)))
    (check,) = (check for check in seen.checks if check.check == "compiled")
    assert [one.actual for one in check.differences] == ([words] if words else [])


@pytest.mark.parametrize("name", ["_dynamo.config.recompile_limit", "_inductor.config.cpp.threads"])
def test_patches_hold_while_compiling_and_no_longer(backend_file: Callable[[str], str], name: str) -> None:
    """Configuration that a backend declares, nested or not, is in force while it compiles, and put back afterwards."""
    setting = attrgetter(name)
    importlib.import_module("torch._inductor.config")
    before = setting(torch)
    source = (
        "def compiler(graph, inputs):\n"
        "    import torch\n"
        f"    assert torch.{name} == 77\n"
        "    return lambda *args: graph.forward(*args)\n"
        f"mine = Backend(name='mine', compile={{'backend': compiler}}, patches={{'{name}': 77}})\n"
    )
    assert passed(attempt(a_case(), backend_file(source)))
    assert setting(torch) == before != 77

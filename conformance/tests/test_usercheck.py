from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import conformance
from conformance import isolate, usercode
from conformance.cli import main
from conformance.errors import UsageError
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

USERS = '''
import torch
import conformance
from beside import factor

scale = torch.nn.Parameter(torch.full((4,), 2.0))


def loss(x, y, *, power=2):
    """Chases a target."""
    with torch.no_grad():
        wanted = (y["a"] * scale).tanh()
    return (x * scale * factor - wanted).abs() ** power


def loss_inputs():
    return {"x": torch.randn(3, 4, requires_grad=True), "y": {"a": torch.randn(4)}, "power": 3}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.out(x)


def make() -> torch.nn.Module:
    return Net()


def inputs():
    return torch.randn(3, 4)


@conformance.case(inputs={"a": "[4],requires_grad"}, grad=["enabled", "disabled"])
def declared(a):
    with torch.no_grad():
        return a.sin()


def declared_inputs():
    return (torch.randn(2),)


def wrong(a, b):
    return a


def several(*many):
    return sum(many)


def computed(x):
    return x.sin()


def computed_inputs():
    return torch.randn(4, requires_grad=True) * 2


def helped(x):
    return helper(x)


def helper(x):
    return x * scale


def helped_inputs():
    return torch.randn(4)


kept = torch.randn(4, requires_grad=True)
count = torch.zeros(())


def counting(x):
    count.add_(1)
    return x * count


def counting_inputs():
    return kept


def skipping(x, a=1.0, b=2.0):
    assert a == 1.0
    return x * b


def skipping_inputs():
    return {"x": torch.randn(4), "b": 5.0}


def function(x, /, function=2.0, *rest, **more):
    return x * function


def nothing_inputs():
    pass


nothing = computed


def asking(x):
    return x


def asking_inputs(size):
    return size


def several_inputs():
    return torch.ones(2), torch.ones(2)
'''


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions, with a module beside it that they import."""
    (tmp_path / "beside.py").write_text("factor = 0.5\n")
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


def checked(*words: str) -> tuple[int, str]:
    """Exit code and output of `conformance check`."""
    result = CliRunner().invoke(main, ["check", *words])
    return result.exit_code, result.output


def cells(output: str) -> dict[str, list[str]]:
    """The rows of the table."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line[:1].isalpha()}


@pytest.mark.parametrize(
    "name", ["loss", "Net", "make", "several", "computed", "helped", "counting", "skipping", "beside_it"]
)
def test_functions_and_modules_conform_where_the_backend_is_right(users: Path, name: str) -> None:
    """Inputs come from the function beside it, nested ones and keywords too; state is each role's own."""
    users.with_name("beside_it.py").write_text(USERS)
    users = users.with_name("beside_it.py") if name == "beside_it" else users
    name = "counting" if name == "beside_it" else name
    code, output = checked(f"{users}:{name}", "--backend", "aot_eager")
    assert (code, cells(output)["verdict"]) == (0, ["pass"]), output


def test_a_broken_backend_is_caught_and_its_cells_are_named(users: Path) -> None:
    """The table says which check, below stands what differs and how to see it again."""
    backend = ref("modes", "grad_modes_dropped")
    code, output = checked(f"{users}:loss", "--backend", "eager", "--backend", backend)
    assert code == 1
    table = cells(output)
    assert table["verdict"] == ["pass", "fail"]
    assert table["gradients"] == ["yes", "NO"]
    assert f"Reproduce: conformance check {users}:loss --backend " in output


def test_given_inputs_go_before_those_beside_the_function(users: Path) -> None:
    """A case can be tried with another shape without touching the file."""
    code, output = checked(f"{users}:Net", "--backend", "eager", "--input", "x=float32[5,4]")
    assert code == 0, output
    code, output = checked(f"{users}:Net", "--backend", "eager", "--input", "x=float32[5,3]")
    assert (code, "eager raises RuntimeError at the call: mat1 and mat2" in output) == (1, True), output


def test_axes_that_are_declared_are_tables_of_their_own(users: Path) -> None:
    """Each variant is a table."""
    code, output = checked(f"{users}:declared", "--backend", "eager")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines() if line.endswith(" eager")] == [
        "grad=enabled,dynamic=auto",
        "grad=disabled,dynamic=auto",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{}:nowhere"], "no 'nowhere' in"),
        (["{}:scale"], "which cannot be called"),
        (["{}"], "is not of the form path/to/file.py:function"),
        (["/no/such/file.py:f"], "no file /no/such/file.py"),
        (["{}:wrong"], "does not fit"),
        (["{}:nothing"], "returns None"),
        (["{}:asking"], "is to be a function without arguments"),
        (["{}:Net", "--input", "z=3"], "takes no 'z'; it takes x"),
        (["torch:sin"], "what torch:sin takes cannot be told"),
        (["{}:loss", "--input", "x"], "is not of the form name="),
        (["no_such_module_:f"], "no module 'no_such_module_'"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(users: Path, words: list[str], said: str) -> None:
    """It says what was seen."""
    code, output = checked(*(word.format(users) for word in words))
    assert (code, said in output) == (2, True), output


def test_a_file_that_raises_says_so(tmp_path: Path) -> None:
    """The traceback is the user's own."""
    path = tmp_path / "raises.py"
    path.write_text("raise ValueError('not today')\n")
    code, output = checked(f"{path}:f")
    assert code == 2
    assert "ValueError: not today" in output


def test_from_python_a_closure_is_checked_and_a_frame_comes_back() -> None:
    """What a notebook defines has no file."""
    factor = torch.tensor(3.0)

    def function(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * factor
        return x * y

    frame = conformance.check(
        function, {"x": torch.ones(4, requires_grad=True)}, backends=["aot_eager", ref("modes", "grad_modes_dropped")]
    )
    assert dict(zip(frame["backend"], frame["verdict"], strict=True)) == {
        "aot_eager": "pass",
        "grad_modes_dropped": "fail",
    }


def test_from_python_a_module_is_checked_with_inputs_in_order() -> None:
    """A tuple is the arguments, a tensor the only one."""
    frame = conformance.check(torch.nn.Linear(4, 2), torch.ones(3, 4), backends=["eager"])
    assert list(frame["verdict"]) == ["pass"]


def test_what_cannot_be_pickled_is_refused() -> None:
    """It says what cannot be handed over."""
    lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match="cannot be handed to another process"):
        conformance.check(lambda x: (lock, x), torch.ones(1), backends=["eager"])


@pytest.mark.parametrize("name", ["computed", "helped"])
def test_gradients_of_computed_inputs_and_of_weights_behind_a_helper_are_compared(users: Path, name: str) -> None:
    """What eager differentiates is what the backend has to."""
    code, output = checked(f"{users}:{name}", "--backend", ref("derivatives", "gradients_scaled"))
    assert code == 1, output
    table = cells(output)
    assert table["gradients"] == ["NO"]


@pytest.mark.parametrize("name", ["computed", "helped", "loss"])
def test_a_backward_that_spoils_what_it_is_given_is_caught(users: Path, name: str) -> None:
    """`(x + h(x)).backward()` would be wrong, though each gradient of `h` by itself is right."""
    code, output = checked(f"{users}:{name}", "--backend", ref("derivatives", "cotangents_zeroed"))
    assert code == 1, output
    table = cells(output)
    assert (table["gradients"], table["mutation"]) == (["yes"], ["NO"])


def test_a_function_of_a_module_is_checked_with_its_own_state(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is imported anew for each role."""
    monkeypatch.syspath_prepend(users.parent)
    monkeypatch.setenv("PYTHONPATH", str(users.parent))
    isolate.shutdown()
    code, output = checked("users:counting", "--backend", "eager")
    assert code == 0, output


def test_arguments_are_given_as_the_signature_wants_them(users: Path) -> None:
    """One may be called `function`, be positional only, and stand before *args and **kwargs."""
    code, output = checked(f"{users}:function", "--backend", "eager", "--input", "x=[3]", "--input", "function=3.0")
    assert code == 0, output


def test_the_command_to_see_it_again_has_the_inputs(users: Path) -> None:
    """Without them it would be another call."""
    words = ["--backend", ref("modes", "grad_modes_dropped"), "--input", "a=[3],requires_grad"]
    _, output = checked(f"{users}:declared", *words)
    assert "--input 'a=[3],requires_grad'" in output


def test_from_python_a_script_finds_its_globals(tmp_path: Path) -> None:
    """Functions and modules of a script or notebook are handed over with what they name."""
    path = tmp_path / "script.py"
    path.write_text(
        "import torch, conformance\n"
        "net = torch.nn.Linear(4, 4)\n"
        "factor = torch.tensor(2.0)\n"
        "def helper(x):\n    return net(x) * factor\n"
        "def loss(x):\n    return helper(x).sin()\n"
        "if __name__ == '__main__':\n"
        "    frame = conformance.check(loss, torch.ones(3, 4, requires_grad=True), backends=['aot_eager'])\n"
        "    print(frame['verdict'].iloc[0], frame['message'].iloc[0])\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pass"


RAISING = """
import torch

total = torch.zeros(4)


def raises_after_an_operation(x):
    y = x.sin()
    total.add_(1)
    raise ValueError(f"no {y.shape}")


def raises_in_an_operation(x):
    return x.sin()[torch.tensor([9])]


def raises_in_backward(x):
    y = x.exp()
    z = y * 2
    y.add_(1)
    return z


def raises_at_the_second_call(x):
    total.add_(1)
    y = x.sin()
    if total[0] > 1:
        raise KeyError("again")
    return y * 2


def inputs():
    return torch.randn(4, requires_grad=True)


def off(graph, examples):
    return lambda *args: tuple(each + 1 if each.is_floating_point() else each for each in graph.forward(*args))


def swallowing(graph, examples):
    def run(*args):
        try:
            return graph.forward(*args)
        except Exception:
            return (args[0].detach() * 0,)
    return run


def detaching(graph, examples):
    return lambda *args: tuple(each.detach() for each in graph.forward(*args))
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises_after_an_operation", "eager raises ValueError at the call: no torch.Size([4])"),
        ("raises_in_an_operation", "eager raises IndexError at the call: index 9"),
        ("raises_in_backward", "eager raises RuntimeError in backward: one of the variables"),
        ("raises_at_the_second_call", "eager raises KeyError at the call: 'again'"),
    ],
)
def test_a_function_that_raises_is_compared_like_any_other(tmp_path: Path, name: str, said: str) -> None:
    """Stage and type are those of eager, and it is told that eager raises: it may not have been meant to."""
    path = tmp_path / "raising.py"
    path.write_text(RAISING)
    code, output = checked(f"{path}:{name}", "--backend", "eager")
    table = cells(output)
    # Of a function that does nothing but raise, Dynamo compiles nothing.
    assert (code, *table["verdict"]) in {(0, "pass"), (1, "vacuous")}, output
    assert table["exceptions"] == ["yes"]
    assert said in output


@pytest.mark.parametrize(
    ("name", "backend", "check"),
    [
        ("raises_in_an_operation", "swallowing", "exceptions"),
        ("raises_in_backward", "detaching", "exceptions"),
        ("raises_at_the_second_call", "off", "values"),
    ],
)
def test_a_backend_that_goes_wrong_before_an_exception_or_swallows_it_is_caught(
    tmp_path: Path, name: str, backend: str, check: str
) -> None:
    """An error that vanishes is a wrong result."""
    path = tmp_path / "raising.py"
    path.write_text(RAISING)
    code, output = checked(f"{path}:{name}", "--backend", f"{path}:{backend}")
    table = cells(output)
    assert (code, table["verdict"], table[check]) == (1, ["fail"], ["NO"]), output


HOLDING = """
from dataclasses import dataclass

import torch
from torch import nn

models = {"net": nn.Linear(4, 2)}


class Trainer:
    def __init__(self):
        self.layers = [nn.Linear(4, 2)]
        self.average = torch.zeros(2)

    def loss(self, x):
        y = self.layers[0](x)
        self.average = 0.9 * self.average + 0.1 * y.detach().mean(0)
        return y.pow(2).mean()


trainer = Trainer()
loss = trainer.loss


def in_a_dictionary(x):
    return models["net"](x).pow(2).mean()


def in_an_object(x):
    return trainer.loss(x)


def in_a_default(x, *, head=nn.Linear(4, 2)):
    return head(x).mean()


def as_an_argument(x, net):
    return net(x).mean()


def as_an_argument_inputs():
    return torch.randn(3, 4), nn.Linear(4, 2)


def nowhere(x):
    return x.sin()


def inputs():
    return torch.randn(3, 4)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def doubling(graph, examples):
    return lambda *args: tuple(Doubled.apply(each) if each.requires_grad else each for each in graph.forward(*args))


def forgetful(graph, examples):
    return lambda *args: tuple(each * 0.5 if not each.requires_grad else each for each in graph.forward(*args))
"""


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """A file of functions whose parameters are where names do not lead directly."""
    path = tmp_path / "holding.py"
    path.write_text(HOLDING)
    return path


@pytest.mark.parametrize("name", ["in_a_dictionary", "in_an_object", "loss", "in_a_default", "as_an_argument"])
def test_parameters_are_found_wherever_the_function_reaches_them(holding: Path, name: str) -> None:
    """A backend that doubles every gradient is not said to have the right ones."""
    words = ["--backend", "eager", "--backend", f"{holding}:doubling"]
    code, output = checked(f"{holding}:{name}", *words)
    assert (code, cells(output)["gradients"]) == (1, ["yes", "NO"]), output


def test_a_value_that_an_object_keeps_is_compared(holding: Path) -> None:
    """It is replaced by a new tensor in each call, and a backend computes it wrong."""
    code, output = checked(f"{holding}:loss", "--backend", f"{holding}:forgetful")
    assert (code, cells(output)["mutation"]) == (1, ["NO"]), output
    assert "self.average" in output


def test_where_no_gradient_is_compared_none_is_said_to_be_right(holding: Path) -> None:
    """The cell says so, and a line below why."""
    code, output = checked(f"{holding}:nowhere", "--backend", f"{holding}:doubling")
    assert (code, cells(output)["gradients"], cells(output)["values"]) == (0, ["-"], ["yes"]), output
    assert "no gradient was compared" in output


GIVEN = """
from dataclasses import dataclass, field

import torch


@dataclass
class Batch:
    x: torch.Tensor
    more: dict = field(default_factory=dict)


kept = torch.randn(8, requires_grad=True)


def f(**given):
    return given


def anew():
    base, leaf = torch.randn(8), torch.randn(3, requires_grad=True)
    return dict(
        strided=torch.randn(4, 4)[:, ::2], expanded=torch.randn(4, 1).expand(4, 6), one=base[:5], other=base[3:],
        computed=leaf * 2, again=leaf, batch=Batch(x=leaf, more={"base": base}),
    )


def from_what_is_kept():
    return dict(one=kept[:5], other=kept[3:], again=kept, batch=Batch(x=kept), computed=kept * 2)


def overlapping(a, b):
    a.add_(1)
    return b * 2


def overlapping_inputs():
    base = torch.randn(8)
    return base[:5], base[3:]


def written(h):
    h[1:] = h[:-1].clone()
    return h * 2


def written_inputs():
    return torch.randn(5, requires_grad=True) * 2


def batched(batch):
    return Batch(x=batch.x * 2, more={"sparse": torch.eye(2).to_sparse() * batch.x.detach().sum(), "n": 3})


def batched_inputs():
    return (Batch(x=torch.randn(3, requires_grad=True)),)


def sparse(s, x):
    return torch.sparse.mm(s, x)


def sparse_inputs():
    return torch.eye(3).to_sparse(), torch.randn(3, 3, requires_grad=True)


def embedded(weight, index):
    return torch.nn.functional.embedding(index, weight, sparse=True).sin()


def embedded_inputs():
    return torch.randn(5, 3, requires_grad=True), torch.tensor([1, 1, 3])


class Tagged(torch.Tensor):
    pass


def tagged(t):
    return t.sin()


def tagged_inputs():
    return torch.randn(3).as_subclass(Tagged)


class Sealed(torch.Tensor):
    @staticmethod
    def __new__(cls, x):
        return torch.Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError("sealed")


def sealed(x):
    return Sealed(x)


def sealed_inputs():
    return torch.randn(3)


def off(graph, examples):
    return lambda *args: tuple(each * 1.5 for each in graph.forward(*args))
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A file of functions that are given tensors of every kind."""
    path = tmp_path / "given.py"
    path.write_text(GIVEN)
    return path


def test_inputs_arrive_as_they_are_made(given: Path) -> None:
    """Strides, offsets, shared memory, the same object twice, and what was computed from a leaf."""
    made: Any = _arguments(given, "anew")
    assert made["strided"].stride() == (4, 2)
    assert made["expanded"].stride() == (1, 0)
    assert (made["one"]._base is made["other"]._base, made["other"].storage_offset()) == (True, 3)
    assert made["batch"].x is made["again"]
    assert made["batch"].more["base"] is made["one"]._base
    assert (made["computed"].requires_grad, made["computed"].is_leaf) == (True, False)


def test_inputs_that_a_function_keeps_are_copies_that_hang_together(given: Path) -> None:
    """Each call has its own, as if they had been made for it."""
    first, second = (_arguments(given, "from_what_is_kept") for _ in range(2))
    for made in (first, second):
        assert made["one"]._base is made["other"]._base is made["again"] is made["batch"].x
        assert (made["computed"].requires_grad, made["computed"].is_leaf) == (True, False)
    assert first["again"] is not second["again"]
    assert first["again"].data_ptr() != second["again"].data_ptr()
    assert torch.equal(first["again"], second["again"])


def _arguments(path: Path, maker: str) -> Any:
    return usercode.arguments(f"{path}:{maker}", f"{path}:f", 0)


@pytest.mark.parametrize(
    ("name", "check"), [("overlapping", "values"), ("written", "values"), ("batched", "values"), ("tagged", "values")]
)
def test_inputs_and_results_of_every_kind_are_compared(given: Path, name: str, check: str) -> None:
    """A backend that is right passes, one that is not is seen through views, dataclasses and subclasses."""
    code, output = checked(f"{given}:{name}", "--backend", "eager", "--backend", f"{given}:off")
    assert (code, cells(output)[check]) == (1, ["yes", "NO"]), output
    assert cells(output)["verdict"] == ["pass", "fail"]
    assert "eager raises" not in output


@pytest.mark.parametrize("name", ["sparse", "embedded"])
def test_sparse_inputs_and_gradients_are_compared(given: Path, name: str) -> None:
    """By their indices and values; that eager agrees with itself is seen."""
    _, output = checked(f"{given}:{name}", "--backend", "eager")
    assert (cells(output)["gradients"], cells(output)["values"]) == (["yes"], ["yes"]), output
    # Dynamo compiles nothing of a function that is given a sparse tensor.
    assert cells(output)["verdict"] == ["vacuous" if name == "sparse" else "pass"]


def test_what_cannot_be_compared_is_refused_by_its_class(given: Path) -> None:
    """It is not said of eager that it differs from itself."""
    code, output = checked(f"{given}:sealed", "--backend", "eager")
    assert (code, cells(output)["verdict"]) == (1, ["invalid"]), output
    assert "is a Sealed" in output
    assert "differs from itself" not in output

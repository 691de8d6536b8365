from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

import conformance
from conformance.model.errors import UsageError
from conformance.tests.checking import cells, checked
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        scaled = (y["a"] * scale).tanh()
    return (x * scale * factor - scaled).abs() ** power


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


_OPERATORS = """
import torch


@torch.library.custom_op("mine::halved", mutates_args=())
def halved(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5


@halved.register_fake
def _(x):
    return torch.empty_like(x)


halved.register_autograd(lambda ctx, grad: grad * 3)


def step(x):
    return halved(x.sin()) + x
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A file of functions, with a module beside it that they import."""
    (tmp_path / "beside.py").write_text("factor = 0.5\n")
    path = tmp_path / "users.py"
    path.write_text(USERS)
    return path


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
    """The table has the checks, below are the differences and how to reproduce them."""
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
    assert code == 2, output
    assert re.search(r"RuntimeError: .*mat1 and mat2 shapes cannot be multiplied \(5x3 and 4x2\)", output), output


def test_axes_that_are_declared_are_tables_of_their_own(users: Path) -> None:
    """Each variant is a table."""
    code, output = checked(f"{users}:declared", "--backend", "eager")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines() if line.endswith(" eager")] == [
        "grad=enabled,dynamic=auto",
        "grad=disabled,dynamic=auto",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{}:nowhere"], "no 'nowhere' in"),
        (["{}:scale"], "which cannot be called"),
        (["{}"], "is a file; name one of its functions:\n  conformance check "),
        (["/no/such/file.py:f"], "no file /no/such/file.py"),
        (["{}:wrong"], "does not fit"),
        (["{}:nothing"], "returns None"),
        (["{}:asking"], "is to be a function without arguments"),
        (["{}:Net", "--input", "z=3"], "takes no 'z'; it takes x"),
        (["torch:sin"], "the signature of torch:sin cannot be read"),
        (["{}:loss", "--input", "x"], "is not of the form name="),
        (["no_such_module_:f"], "no module 'no_such_module_'"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(users: Path, words: list[str], message: str) -> None:
    """The message has what was found."""
    code, output = checked(*(word.format(users) for word in words))
    assert (code, message in output) == (2, True), output


RAISING = """\
import sys

import torch


def refused():
    raise ValueError("not today")


def f(x): return x * torch.ones(3)
def f_inputs(): return refused()
def g(x): return x * torch.ones(3)
def make() -> torch.nn.Module: return refused()
"""


@pytest.mark.parametrize(
    ("more", "words", "expected"),
    [
        ("refused()", [":g"], ["raises.py raises ValueError while it is imported", "line 14, in <module>"]),
        ("sys.exit(3)", [":g"], ["raises.py raises SystemExit while it is imported", "line 14, in <module>"]),
        ("", [":f"], ["raises.py:f_inputs() raises ValueError", "line 11, in f_inputs"]),
        ("", [":make"], ["raises.py:make raises ValueError while it is made", "line 13, in make"]),
        ("", [":g", "--input", "x=float32[2]"], ["g raises RuntimeError uncompiled, called with", "line 12, in g"]),
    ],
)
def test_code_of_the_user_that_raises_is_answered_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, words: Sequence[str], expected: Sequence[str]
) -> None:
    """Once, whatever the number of backends, from the first line of the user's own on, without other paths."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raises.py").write_text(RAISING + more)
    name, *options = words
    code, output = checked(f"raises.py{name}", "--backend", "eager", "--backend", "aot_eager", *options)
    assert code == 2
    assert all(output.count(each) == 1 for each in expected), output
    assert output.count("Traceback (most recent call last)") == 1
    assert "/conformance/" not in output
    assert str(tmp_path) not in output


def test_what_eager_raises_by_itself_is_compared(tmp_path: Path) -> None:
    """Where inputs come from the file, or are declared to raise, an exception is the function's behaviour."""
    path = tmp_path / "raises.py"
    path.write_text(f"{RAISING}\ndef g_inputs(): return torch.ones(2)\n")
    code, output = checked(f"{path}:g", "--backend", "eager")
    assert (code, "that a backend does too is what was compared" in output) == (1, True), output
    assert cells(output)["verdict"] == ["vacuous"]
    options = ("--input", "x=float32[2]", "--raises", "RuntimeError")
    assert cells(checked(f"{path}:g", "--backend", "eager", *options)[1])["verdict"] == ["vacuous"]


def test_from_python_a_closure_is_checked_and_a_frame_comes_back() -> None:
    """A function of a notebook has no file."""
    factor = torch.tensor(3.0)

    def function(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * factor
        return x * y

    frame = conformance.check(
        function,
        {"x": torch.ones(4, requires_grad=True)},
        backends=["aot_eager", ref("modes", "grad_modes_dropped")],
        moves="none",
    )
    assert dict(zip(frame["backend"], frame["verdict"], strict=True)) == {
        "aot_eager": "pass",
        "grad_modes_dropped": "fail",
    }


def test_from_python_a_module_is_checked_with_inputs_in_order() -> None:
    """A tuple is the arguments, a tensor the only one."""
    frame = conformance.check(torch.nn.Linear(4, 2), torch.ones(3, 4), backends=["eager"], moves="none")
    assert list(frame["verdict"]) == ["pass"]


def test_what_cannot_be_pickled_is_refused() -> None:
    """The message names what cannot be handed over."""
    lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match="cannot be handed to another process"):
        conformance.check(lambda x: (lock, x), torch.ones(1), backends=["eager"])


@pytest.mark.parametrize("name", ["computed", "helped"])
def test_gradients_of_computed_inputs_and_of_weights_behind_a_helper_are_compared(users: Path, name: str) -> None:
    """What is differentiated uncompiled must be on the backend too."""
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
    code, output = checked("users:counting", "--backend", "eager")
    assert code == 0, output


def test_an_operator_of_the_users_own_is_compiled(tmp_path: Path) -> None:
    """It is registered by importing the file, once for each process, and differentiated by its own rule."""
    path = tmp_path / "operators.py"
    path.write_text(_OPERATORS, encoding="utf-8")
    code, output = checked(f"{path}:step", "--backend", "aot_eager", "--input", "x=float32[4],requires_grad")
    assert code == 0, output
    assert (cells(output)["gradients"], cells(output)["graphs"]) == (["yes"], ["1"])


def test_arguments_are_given_as_the_signature_wants_them(users: Path) -> None:
    """One may be called `function`, be positional only, and precede *args and **kwargs."""
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
        "    given = torch.ones(3, 4, requires_grad=True)\n"
        "    frame = conformance.check(loss, given, backends=['aot_eager'], moves='none')\n"
        "    print(frame['verdict'].iloc[0], frame['message'].iloc[0])\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pass"


def test_moves_are_a_table_of_their_own(users: Path) -> None:
    """The caller makes the usual ones unasked; of those that hold, only the number is shown."""
    moves = ("--moves", "leaf_hooks", "--moves", "create_graph")
    code, output = checked(f"{users}:loss", "--backend", "aot_eager", *moves)
    assert "moves=leaf_hooks+create_graph  aot_eager" in output
    assert cells(output)["move.create_graph"] == ["note"]
    assert "move.leaf_hooks" not in cells(output)
    assert code == 0


def test_what_the_judge_imports_anew_is_not_met_by_moves(tmp_path: Path) -> None:
    """A program that draws is judged by further roles, each with modules of its own; its moves are made with the first.

    Within another grad mode the program is compiled again, and what it calls looked up by name.
    """
    path = tmp_path / "users.py"
    path.write_text(
        "import torch\n\n\ndef noisy(x):\n    return torch.nn.functional.dropout(x * 2, 0.5)\n\n\n"
        "def noisy_inputs():\n    return torch.randn(4, 4, requires_grad=True)\n"
    )
    code, output = checked(f"{path}:noisy", "--backend", "aot_eager_decomp_partition", "--moves", "other_dtype")
    assert (code, cells(output)["verdict"]) == (0, ["pass"]), output

from __future__ import annotations

import doctest
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import conformance
from conformance.isolation import handover, torch_release
from conformance.model.errors import UsageError
from conformance.records import frame
from conformance.tests.fakes import a_record
from conformance.tests.runs import checked, red
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from conformance.model.result import Record
    from conformance.triage.check import Checked, CheckOptions

WITH_TORCH = ("assert_conforms", "check")


def dropping(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
    """A backend that loses the graph of autograd behind its results."""
    return lambda *args: tuple(result.detach() for result in graph.forward(*args))


def identity(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
    """A backend that is right."""
    return lambda *args: tuple(graph.forward(*args))


def loss(x: torch.Tensor) -> torch.Tensor:
    """A function of a user."""
    return x.sin()


def test_the_public_names_are_all_that_is_listed() -> None:
    """`dir` has them and the version, whatever has been imported, and each has a docstring."""
    public = ["Backend", "Capability", "assert_conforms", "case", "check", "load", "load_timing"]
    assert dir(conformance) == sorted([*public, "__version__"])
    assert conformance.__all__ == public
    assert all(len(getattr(conformance, name).__doc__) > 30 for name in public)
    assert all(f"`{name}`" in str(conformance.__doc__) for name in dir(conformance))


def test_help_shows_the_public_names() -> None:
    """Signatures and docstrings, as `help(conformance)` prints them."""
    text = pydoc.plain(pydoc.render_doc(conformance))
    for name in conformance.__all__:
        assert f"\n    class {name}(" in text or f"\n    {name}(" in text
    assert "`check`             runs a function of your own on backends" in text
    assert f"VERSION\n    {conformance.__version__}\n" in text


def test_nothing_is_imported_before_a_name_is_used() -> None:
    """Neither torch nor pandas is imported by the package, by `dir`, or by declaring a backend."""
    code = (
        "import sys, conformance; dir(conformance); conformance.__version__; conformance.Backend(name='mine');"
        "print([name for name in ('torch', 'pandas', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_other_names_are_no_attributes() -> None:
    """The error names the package and the attribute."""
    with pytest.raises(AttributeError, match="module 'conformance' has no attribute 'cheque'"):
        conformance.cheque  # noqa: B018


@pytest.mark.parametrize(
    "name",
    ["", *(pytest.param(name, marks=[pytest.mark.torch] * (name in WITH_TORCH)) for name in conformance.__all__)],
)
def test_examples_of_docstrings_are_right(name: str, monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    """Those of the package and of each public name, in the checkout."""
    monkeypatch.chdir(checkout)
    value = getattr(conformance, name) if name else conformance
    examples = doctest.DocTestFinder(recurse=False).find(
        value, name or "conformance", module=False, globs={"conformance": conformance}
    )
    failures = [doctest.DocTestRunner().run(example) for example in examples]
    assert examples
    assert all(result.failed == 0 for result in failures)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[CheckOptions]:
    """The options of `conformance check`; all of them pass."""
    options: list[CheckOptions] = []

    def run(given: CheckOptions, _: object) -> Checked:
        options.append(given)
        return checked(*(a_record(backend=each) for each in given.backends))

    monkeypatch.setattr("conformance.triage.check.run", run)
    return options


@pytest.mark.parametrize(
    "backends",
    ["aot_eager", ["aot_eager"], ("aot_eager",), {"aot_eager"}, (name for name in ["aot_eager"])],
    ids=["one", "list", "tuple", "set", "generator"],
)
def test_one_backend_and_several_are_given_alike(asked: list[CheckOptions], backends: Any) -> None:
    """The name of one is no sequence of letters."""
    conformance.check(loss, 1.0, backends=backends, moves="none")
    assert asked[0].backends == ("aot_eager",)


@pytest.mark.parametrize("backends", [identity, conformance.Backend(name="identity", compile={"backend": identity})])
def test_an_object_is_handed_over_under_its_name(
    monkeypatch: pytest.MonkeyPatch, backends: conformance.Backend | Callable[..., object]
) -> None:
    """A callable becomes a backend that is called as it is."""

    def run(given: CheckOptions, _: object) -> Checked:
        (path, _colon, name) = given.backends[0].rpartition(":")
        held = handover.read(Path(path))
        assert (name, held[name].compile["backend"]) == ("identity", identity)
        return checked(a_record(backend=name))

    monkeypatch.setattr("conformance.triage.check.run", run)
    assert list(conformance.check(loss, 1.0, backends=backends, moves="none")["backend"]) == ["identity"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"function": "step.py:loss"}, "function is 'step.py:loss' (str); it must be a function or an nn.Module"),
    ({"backends": 3}, "backends has 3 (int); backends are names, references such as 'mine.py:mine', conformance."),
    ({"backends": None}, "backends has None (NoneType); backends are names"),
    ({"backends": ["eager", 3.5]}, "backends has 3.5 (float); backends are names"),
    ({"seed": "1"}, "seed is '1' (str); it must be a whole number"),
    ({"timeout_s": "1"}, "timeout_s is '1' (str); it must be seconds, or None"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[next(iter(given)) for given, _ in WRONG])
def test_another_type_is_refused_in_one_sentence(arguments: dict[str, Any], message: str) -> None:
    """Before any process is started the message has the value and the accepted types."""
    with pytest.raises(TypeError) as caught:
        conformance.check(**{"function": loss, "inputs": 1.0, **arguments})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backends", [[identity, identity], ["identity", identity]])
def test_two_backends_of_one_name_are_refused(backends: Sequence[Any]) -> None:
    """The message explains how to rename one, without the path of a temporary file."""
    with pytest.raises(UsageError, match=r"several backends are called 'identity'") as caught:
        conformance.check(loss, 1.0, backends=backends, moves="none")
    assert "conformance-check-" not in str(caught.value)


def test_a_backend_that_cannot_be_pickled_is_refused() -> None:
    """It is named."""
    lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match="backend 'function' cannot be handed to another process"):
        conformance.check(loss, 1.0, backends=lambda *_: lock)


def of(monkeypatch: pytest.MonkeyPatch, *records: Record) -> None:
    """Let a check come to these records."""
    monkeypatch.setattr("conformance.triage.check.run", lambda *_: checked(*records))


def test_the_frame_is_that_of_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns and dtypes, the release of torch, and a line of Python that runs it again."""
    of(monkeypatch, a_record(backend="eager", metrics={}), red(backend="inductor", metrics={}))
    found = conformance.check(loss, inputs, backends=["eager", "inductor"], moves="none", seed=3)
    assert list(found.columns) == list(frame.TYPES)
    assert set(found["torch"]) == {torch_release.installed().version}
    assert found["reproduce"][1] == "conformance.check(loss, inputs, backends='inductor', moves='none', seed=3)"


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [(lambda x: x, lambda: 1.0, "function, inputs"), (str.upper, ("a",), "function, inputs")],
    ids=["lambdas", "objects"],
)
def test_what_has_no_name_is_called_as_the_parameter_is(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., object], given: object, words: str
) -> None:
    """In the line that runs it again."""
    of(monkeypatch, a_record())
    found = conformance.check(function, given, backends="fake", moves="none", timeout_s=5)
    assert found["reproduce"][0] == f"conformance.check({words}, backends='fake', moves='none', timeout_s=5)"


def inputs() -> float:
    """The inputs of `loss`."""
    return 1.0


def test_a_notebook_shows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the result itself, after pickling too; what is taken out of it is a plain frame and shown as one."""
    of(monkeypatch, red(message="a < b"))
    found = conformance.check(loss, 1.0, backends="fake", moves="none")
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own
    for each in (found, again):
        assert "<pre>grad=enabled" in str(each._repr_html_())
        assert "a &lt; b" in str(each._repr_html_())
        assert isinstance(each, pd.DataFrame)
    assert type(found.head()) is type(found[found["green"]]) is pd.DataFrame
    assert "<table" in found.head()._repr_html_()  # type: ignore[operator]
    assert "<table" in str(type(found)({"a": [1]})._repr_html_())
    pd.testing.assert_frame_equal(found.copy(), pd.DataFrame(found))


def test_an_assertion_has_the_table_and_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each red backend with its message and its line to reproduce; the table is that of `conformance check`."""
    of(monkeypatch, a_record(backend="eager"), red(backend="inductor"))
    with pytest.raises(AssertionError) as caught:
        conformance.assert_conforms(loss, 1.0, backends=["eager", "inductor"], moves="none")
    text = str(caught.value)
    assert text.startswith("loss does not conform: 1 fail\n\ngrad=enabled")
    assert "inductor / demo.first.two / grad=enabled: fail: values differ in output[0]" in text
    assert "  Reproduce: conformance.check(loss, inputs, backends='inductor', moves='none')" in text
    assert "Records in" not in text


def test_what_conforms_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame of `check`."""
    of(monkeypatch, a_record())
    assert list(conformance.assert_conforms(loss, 1.0, backends="fake", moves="none")["verdict"]) == ["pass"]


@pytest.mark.torch
def test_names_callables_and_objects_are_run_together() -> None:
    """Each is a row; one that is wrong is caught, and shown as a program names it."""
    import torch  # noqa: PLC0415 - all else here does without

    mine = conformance.Backend(name="mine", compile={"backend": identity})
    given: list[Any] = ["aot_eager", "torch:aot_eager", ref("modes", "grad_modes_dropped"), dropping, mine]
    found = conformance.check(loss, torch.ones(3, requires_grad=True), backends=given, moves="none").set_index(
        "backend"
    )
    assert dict(found["verdict"].astype(str)) == {
        "aot_eager": "pass",
        "torch:aot_eager": "pass",
        "grad_modes_dropped": "pass",
        "dropping": "fail",
        "mine": "pass",
    }
    assert found.loc["dropping", "reproduce"] == "conformance.check(loss, inputs, backends=dropping, moves='none')"
    again = "conformance.check(loss, inputs, backends='torch:aot_eager', moves='none')"
    assert found.loc["torch:aot_eager", "reproduce"] == again


@pytest.mark.torch
def test_inputs_that_do_not_fit_are_named_without_a_file() -> None:
    """The file that the function was handed over in is temporary."""
    import torch  # noqa: PLC0415 - as above

    with pytest.raises(UsageError, match=r"^what inputs returns does not fit loss: too many positional arguments"):
        conformance.check(loss, (torch.ones(2), torch.ones(2)), backends="eager")

"""The four ways of naming a backend, and what becomes of a broken one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from conformance.backend import Backend, resolution
from conformance.execution import attempts
from conformance.isolation import handover
from conformance.model.enums import Capability
from conformance.model.errors import BackendError
from conformance.model.request import BackendInfo
from conformance.observation import backend_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str], str]

_BACKEND = """
from conformance.backend import Backend, Capability

def compiler(gm, example_inputs):
    return gm.forward

backend = Backend(name="mine", compile={{"backend": compiler}}, {more})
"""


def describe(ref: str) -> BackendInfo:
    """Describe a backend in this process."""
    return backend_info.describe_backend(ref, lambda _stage: None)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module `declaring` whose Backend has more arguments; return its path and attribute."""

    def write(more: str) -> str:
        path = tmp_path / "declaring.py"
        path.write_text(_BACKEND.format(more=more))
        return f"{path}:backend"

    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, write: Write) -> Iterator[Callable[..., None]]:
    """Install a distribution that declares the module `declaring` as a backend of some name."""

    def install(name: str, distribution: str = "declaring") -> None:
        write("")
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[conformance.backends]\n{name} = declaring:backend\n")
        resolution._declared.cache_clear()

    yield install
    resolution._declared.cache_clear()


def test_entry_point_is_found(install: Callable[[str], None]) -> None:
    """A name is looked up among the entry points."""
    install("mine")
    assert resolution.resolve("mine").name == "mine"


def test_entry_point_with_another_name_is_broken(install: Callable[[str], None]) -> None:
    """A backend must have the name of its entry point, or its name would not find it again."""
    install("other")
    assert describe("other").broken == "ValueError: the entry point 'other' declares a backend named 'mine'"


def test_two_distributions_with_one_name_are_reported(install: Callable[..., None]) -> None:
    """Neither is preferred: the row contains their distributions, and how to name the intended one."""
    install("mine")
    install("mine", "another")
    assert describe("mine").broken == (
        "ValueError: several distributions declare a backend 'mine': another (declaring:backend), declaring"
        " (declaring:backend); name the intended one as module:attribute"
    )


def test_a_name_of_an_in_tree_backend_cannot_be_taken(install: Callable[..., None]) -> None:
    """A plug-in named eager is not taken for PyTorch's."""
    install("eager")
    broken = describe("eager").broken
    assert broken is not None
    assert "torch-compile-conformance (conformance.backends.eager:backend)" in broken
    assert "declaring (declaring:backend)" in broken


def test_module_and_attribute(write: Write) -> None:
    """A module and an attribute name a Backend."""
    write("")
    assert resolution.resolve("declaring:backend").name == "mine"


def test_plain_callable_is_a_backend(write: Write) -> None:
    """A callable is a backend that has the attribute's name and claims everything."""
    write("")
    backend = resolution.resolve("declaring:compiler")
    assert (backend.name, backend.capabilities) == ("compiler", Capability.all())
    assert callable(backend.compile["backend"])


def test_path_and_attribute(write: Write) -> None:
    """A path and an attribute name a Backend in a file."""
    assert resolution.resolve(write("")).name == "mine"


def test_declared_imports_are_imported(write: Write, tmp_path: Path) -> None:
    """The declared imports of a backend are imported with it."""
    (tmp_path / "registers.py").write_text("")
    resolution.resolve(write("imports=('registers',)"))
    assert "registers" in sys.modules


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("declaring:bakend", r"unknown attribute 'bakend' in .*\n  Did you mean 'backend' or 'Backend'\?"),
        ("declaring:zzz", r"unknown attribute 'zzz' in .*\n  It has Backend, Capability, compiler, backend\."),
        ("no_such_module:backend", r"no module 'no_such_module'"),
        ("declaring.deeper:backend", r"no module 'declaring.deeper'"),
        ("/no/such/file.py:backend", r"no file /no/such/file\.py"),
    ],
)
def test_unknown_names_are_refused(write: Write, ref: str, message: str) -> None:
    """What does not exist is the caller's mistake, with what was probably meant."""
    write("")
    with pytest.raises(BackendError, match=message):
        describe(ref)


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('leaving')", "SystemExit: leaving"),
        ("backend = 3", "TypeError: backend is 3: neither a Backend nor a callable (gm, example_inputs) -> callable"),
    ],
)
def test_module_that_fails_is_broken(tmp_path: Path, source: str, broken: str) -> None:
    """A module that exists but fails is a broken backend, not an exception."""
    path = tmp_path / "failing.py"
    path.write_text(source)
    ref = f"{path}:backend"
    assert describe(ref) == BackendInfo(ref=ref, name="backend", broken=broken)


def test_description_has_what_the_backend_declares(write: Write) -> None:
    """Capabilities, tolerance, environment, tags, limit and description are passed on, versions looked up."""
    more = (
        "capabilities=frozenset({Capability.TRAINING}), env={'A': 'b'}, tags=frozenset({'fast'}), "
        "tolerance={'float32': 1e-4}, "
        "compile_timeout_s=7.0, description='what it is', packages=('pytest', 'no-such-distribution')"
    )
    ref = write(more)
    assert describe(ref) == BackendInfo(
        ref=ref,
        name="mine",
        capabilities=frozenset({Capability.TRAINING}),
        tolerance={"float32": 1e-4},
        packages={"pytest": pytest.__version__, "no-such-distribution": "not installed"},
        env={"A": "b"},
        tags=frozenset({"fast"}),
        compile_timeout_s=7.0,
        description="what it is",
    )


def test_unavailable_backend_says_why(write: Write) -> None:
    """A backend that cannot run here has the reason, and torch does not look up its name."""
    assert describe(write("available=lambda: 'no such device'")).unavailable == "no such device"


def test_available_that_raises_is_broken(write: Write) -> None:
    """A backend whose `available` raises is broken."""
    assert describe(write("available=lambda: 1 / 0")).broken == "ZeroDivisionError: division by zero"


def test_a_factory_makes_the_compiler(tmp_path: Path, write: Write) -> None:
    """It is called when the backend is used, and what it declares for torch.compile is kept."""
    write("")
    made = "Backend(name='made', compile={'options': {'level': 2}}, factory=lambda: compiler)"
    (tmp_path / "making.py").write_text(f"from declaring import Backend, compiler\nmade = {made}\n")
    backend = resolution.resolve(f"{tmp_path}/making.py:made")
    assert backend.compile == {"options": {"level": 2}, "backend": sys.modules["declaring"].compiler}


def test_a_factory_beside_a_named_backend_is_broken(write: Write) -> None:
    """It would not be clear which of them is tested."""
    message = "ValueError: mine has a factory and names a backend in compile: it can have one compiler"
    assert describe(write("factory=lambda: compiler")).broken == message


def test_a_tolerance_for_an_unknown_dtype_is_broken(write: Write) -> None:
    """A misspelt claim would have no effect."""
    broken = describe(write('tolerance={"float23": 1e-4}')).broken
    assert broken is not None
    assert broken.startswith("ValueError: a tolerance for float23; tolerances are by dtype: complex128, float64")


@pytest.mark.parametrize(
    ("packages", "broken"),
    [
        ("'packaging', 'pytest>=1'", None),
        ("'pytest<1',", "ValueError: needs pytest<1; installed: "),
        ("'no-such-thing>=2',", "ValueError: needs no-such-thing>=2; installed: not installed"),
        ("'not a requirement',", "InvalidRequirement: "),
    ],
)
def test_pinned_distributions_have_to_be_there(write: Write, packages: str, broken: str | None) -> None:
    """Results of another version would be attributed to the pinned one."""
    info = describe(write(f"packages=({packages})"))
    assert (info.broken or "").startswith(broken or "")
    assert (info.broken is None) is (broken is None)


def test_expectations_beside_the_module_are_found(write: Write, tmp_path: Path) -> None:
    """Without a path, expectations are looked for beside the defining module."""
    path = tmp_path / "mine.expected.yaml"
    path.write_text("[]")
    assert describe(write("")).expectations == path


def test_declared_expectations_are_kept(write: Write, tmp_path: Path) -> None:
    """A declared path of expectations starts at the folder of the defining module."""
    assert describe(write("expectations='elsewhere.yaml'")).expectations == tmp_path / "elsewhere.yaml"


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a path in a reference depends on the working directory."""
    monkeypatch.chdir(tmp_path)
    assert resolution.absolute("some/file.py:x") == f"{tmp_path}/some/file.py:x"
    assert [resolution.absolute(ref) for ref in ("name", "torch:name", "a.b:c")] == ["name", "torch:name", "a.b:c"]


def test_names_of_what_cannot_be_loaded() -> None:
    """A broken backend is called after the last part of its reference, but for torch's."""
    refs = ("name", "torch:name", "a.b:c", "a.b:c.d", "/x/y.py:z")
    assert [resolution.name_of(ref) for ref in refs] == ["name", "torch:name", "c", "d", "z"]


@pytest.mark.torch
class TestInIsolation:
    """Describing a backend in a child, where torch is."""

    def test_in_tree_backend(self) -> None:
        """A backend of this distribution is described by its entry point."""
        info = attempts.describe("aot_eager")
        assert (info.name, info.broken, info.unavailable) == ("aot_eager", None, None)

    @pytest.mark.parametrize("name", ["eager", "aot_eager_default_partitioner"])
    def test_any_name_of_torch(self, name: str) -> None:
        """Any name that torch knows, debug backends included, is a backend."""
        info = attempts.describe(f"torch:{name}")
        assert (info.name, info.broken, info.capabilities) == (f"torch:{name}", None, Capability.all())

    @pytest.mark.parametrize(
        ("ref", "message"),
        [
            ("inductr", "unknown backend 'inductr'.\n  Did you mean 'inductor'"),
            ("aot_eager_default_partitioner", "Did you mean 'torch:aot_eager_default_partitioner'"),
            ("zzzzzz", "unknown backend 'zzzzzz'.\n  Declared backends: eager, "),
            ("torch:inductr", "unknown backend 'torch:inductr'.\n  Did you mean 'inductor'"),
        ],
    )
    def test_unknown_name_gets_close_matches(self, ref: str, message: str) -> None:
        """A name that nobody declares is refused, with what was probably meant."""
        with pytest.raises(BackendError) as caught:
            attempts.describe(ref)
        assert message in str(caught.value)

    def test_name_unknown_to_torch_is_broken(self, tmp_path: Path) -> None:
        """A Backend whose name torch does not know cannot work."""
        path = tmp_path / "mine.py"
        path.write_text("from conformance import Backend\nbackend = Backend(name='not_registered')")
        assert (attempts.describe(f"{path}:backend").broken or "").startswith("InvalidBackend: ")

    def test_relative_path_is_the_callers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path is taken from where the caller is, not from where the server was started."""
        (tmp_path / "mine.py").write_text("def compiler(gm, example_inputs): return gm")
        monkeypatch.chdir(tmp_path)
        assert attempts.describe("mine.py:compiler").ref == f"{tmp_path}/mine.py:compiler"

    def test_crash_in_import_is_broken(self, tmp_path: Path) -> None:
        """A backend whose import kills the process is broken, and no other backend is affected."""
        path = tmp_path / "mine.py"
        path.write_text("import os; os.abort()")
        assert attempts.describe(f"{path}:x").broken == "while it was loaded: killed by SIGABRT"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("torch.set_default_dtype(torch.float64)", "default_dtype from torch.float32 to torch.float64"),
            ("torch.set_grad_enabled(False)", "grad_mode from True to False"),
            ("torch.autocast('cpu').__enter__()", "autocast from False to True"),
        ],
    )
    def test_a_module_that_changes_what_programs_mean_is_broken(
        self, tmp_path: Path, change: str, message: str
    ) -> None:
        """Code that never uses it would give other results."""
        path = tmp_path / "mine.py"
        path.write_text(f"import torch\n{change}\ndef compiler(gm, example_inputs): return gm")
        info = attempts.describe(f"{path}:compiler")
        assert info.name == "compiler"
        assert (info.broken or "").startswith(f"loading it changes what every program means: {message}")

    @pytest.mark.parametrize(
        "change",
        [
            "import os; os.environ['MADE_UP_LIBRARY_HOME'] = '/'",
            "import warnings; warnings.filterwarnings('ignore', module='made_up')",
            "import logging; logging.getLogger().addHandler(logging.NullHandler())",
            "import sys; sys.excepthook = lambda *_: None",
            "import torch._inductor.config as config; config.max_autotune = True",
        ],
    )
    def test_a_module_may_do_what_libraries_do_when_they_are_imported(self, tmp_path: Path, change: str) -> None:
        """It is the user who asks for it, and programs mean the same."""
        path = tmp_path / "mine.py"
        path.write_text(f"import torch\n{change}\ndef compiler(gm, example_inputs): return gm")
        assert attempts.describe(f"{path}:compiler").broken is None

    def test_hang_in_import_is_broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A backend whose import never ends is broken."""
        path = tmp_path / "mine.py"
        path.write_text("import time; time.sleep(600)")
        monkeypatch.setattr(attempts, "IMPORT_LIMIT_S", 1.0)
        broken = attempts.describe(f"{path}:x").broken
        assert broken == "while it was loaded: timed out sleeping, over its limit of 1 s; its process group was killed"


def test_a_backend_that_was_handed_over_is_found_under_its_own_name(tmp_path: Path) -> None:
    """Whatever characters are in it; its factory is called where it is used."""
    path = tmp_path / "backend0.pickle"
    handover.write(path, "it", {"a:b.c": Backend(name="a:b.c", factory=lambda: print)})
    found = resolution.resolve(f"{path}:a:b.c")
    assert (found.name, found.compile["backend"]) == ("a:b.c", print)

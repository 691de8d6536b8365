"""Kernels that wait for a compiler at the same time are compiled together, each into the library that it asks for."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from conformance.backend.discovery import find
from conformance.execution import attempts
from conformance.execution.kernel_units import KernelUnits, translation_unit
from conformance.tests.fakes import a_case, a_request
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = """
#include <cmath>
extern "C"  void  kernel(double* number)
{{
    *number *= {factor};
}}
// Python bindings to call kernel():
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static PyObject* kernel_py(PyObject* self, PyObject* args) {{
    double number = PyFloat_AsDouble(PyTuple_GET_ITEM(args, 0));
    kernel(&number);
    return PyFloat_FromDouble(number);
}}
static PyMethodDef py_methods[] = {{{{"kernel", kernel_py, METH_VARARGS, ""}}, {{NULL, NULL, 0, NULL}}}};
static struct PyModuleDef py_module = {{PyModuleDef_HEAD_INIT, "kernel", NULL, -1, py_methods}};
PyMODINIT_FUNC PyInit_kernel(void) {{
    PyObject* module = PyModule_Create(&py_module);
    #ifdef Py_GIL_DISABLED
        PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
    #endif
    return module;
}}
"""
compiled = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


class Compiler:
    """Runs commands, and writes down which; `waits` holds the first one up."""

    def __init__(self, waits: threading.Event | None = None, run: Callable[[str, str], object] | None = None) -> None:
        self.commands: list[str] = []
        self.started = threading.Event()
        self._waits, self._run = waits, run or self._write

    def __call__(self, cmd_line: str, cwd: str) -> None:
        """Run a command in a folder."""
        self.commands.append(cmd_line)
        self.started.set()
        if self._waits and len(self.commands) == 1:
            self._waits.wait(60)
        self._run(cmd_line, cwd)

    def _write(self, cmd_line: str, _: str) -> None:
        words = shlex.split(cmd_line)
        with open(words[words.index("-o") + 1], "w") as file:  # noqa: PTH123 - as a compiler does
            file.write(cmd_line)


def kernel(folder: Path, name: str, text: str = SOURCE.format(factor=2), flags: str = "-O3") -> str:
    """Write the source of a kernel, and return the command that compiles it."""
    (folder / f"{name}.main.cpp").write_text(text)
    include = sysconfig.get_paths()["include"]
    return f"g++ {folder}/{name}.main.cpp {flags} -shared -fPIC -std=c++20 -I{include} -o {folder}/{name}.main.so"


def together(folder: Path, compiler: Compiler, waits: threading.Event, first: str, *others: str) -> None:
    """Have a first command run while the others come; they are then run."""
    units = folder / "units"
    units.mkdir()
    calls = [threading.Thread(target=KernelUnits(units, compiler), args=(one, str(folder))) for one in (first, *others)]
    calls[0].start()
    compiler.started.wait(60)
    for call in calls[1:]:
        call.start()
    while len(list(units.glob("*.json"))) < len(calls):
        pass
    waits.set()
    for call in calls:
        call.join()
    assert not list(units.glob("*.json"))


def loaded(path: Path) -> Any:
    """The module of a library, as Inductor loads it."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}.kernel", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@compiled
def test_kernels_that_wait_are_one_unit(tmp_path: Path) -> None:
    """Of three that come while one is compiled there is one command; each library computes what its source says."""
    waits = threading.Event()
    compiler = Compiler(waits, lambda command, folder: subprocess.run(shlex.split(command), cwd=folder, check=True))
    commands = [kernel(tmp_path, f"k{factor}", SOURCE.format(factor=factor)) for factor in (2, 3, 5, 7)]
    together(tmp_path, compiler, waits, *commands)
    assert len(compiler.commands) == 2
    for factor in (2, 3, 5, 7):
        assert loaded(tmp_path / f"k{factor}.main.so").kernel(1.5) == 1.5 * factor


def test_flags_that_differ_are_not_mixed(tmp_path: Path) -> None:
    """Each command of a kernel has the flags that were given with it."""
    waits = threading.Event()
    compiler = Compiler(waits)
    commands = [kernel(tmp_path, "a"), kernel(tmp_path, "b", flags="-O1"), kernel(tmp_path, "c", flags="-O2")]
    together(tmp_path, compiler, waits, *commands)
    assert sorted(compiler.commands) == sorted(commands)


def test_a_unit_that_does_not_compile_is_taken_apart(tmp_path: Path) -> None:
    """Each kernel of it is then compiled by its own command, and the error is that of the one that is wrong."""
    waits = threading.Event()

    def run(command: str, folder: str) -> None:
        if "unit.cpp" in command:
            message = "it does not compile"
            raise RuntimeError(message)
        Compiler()(command, folder)

    compiler = Compiler(waits, run)
    commands = [kernel(tmp_path, name) for name in "abc"]
    together(tmp_path, compiler, waits, *commands)
    assert sorted(one for one in compiler.commands if "unit.cpp" not in one) == sorted(commands)
    assert all((tmp_path / f"{name}.main.so").exists() for name in "abc")


def test_a_kernel_that_does_not_compile_raises_as_ever(tmp_path: Path) -> None:
    """The exception of its own command is what the caller gets."""

    def run(_: str, __: str) -> None:
        message = "it does not compile"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="it does not compile"):
        KernelUnits(tmp_path, run)(kernel(tmp_path, "a"), str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        SOURCE.format(factor=2) + "#define SOMETHING 1\n",
        SOURCE.format(factor=2) + 'extern "C" void other();\n',
        "int main() {}\n",
    ],
)
def test_what_may_not_share_a_unit_is_compiled_alone(tmp_path: Path, text: str) -> None:
    """A macro or a second name of C would reach into other kernels."""
    waits = threading.Event()
    waits.set()
    compiler = Compiler()
    command = kernel(tmp_path, "a", text)
    KernelUnits(tmp_path / "nowhere", compiler)(command, str(tmp_path))
    assert compiler.commands == [command]


@pytest.mark.parametrize("command", ["g++ a.cpp -o a.so", "g++ -E a.main.cpp", "g++ a.main.cpp -c -o a.main.o"])
def test_other_commands_are_run_as_they_are(tmp_path: Path, command: str) -> None:
    """A preprocessor, an object or a header is no kernel."""
    ran: list[tuple[str, str]] = []
    KernelUnits(tmp_path / "nowhere", lambda *given: ran.append(given))(command, str(tmp_path))
    assert ran == [(command, str(tmp_path))]


def test_what_a_killed_process_left_is_compiled_by_the_next(tmp_path: Path) -> None:
    """Its lock ended with it, and what waited for it does not wait any longer."""
    first, second = kernel(tmp_path, "a"), kernel(tmp_path, "b")
    units = tmp_path / "units"
    units.mkdir()
    if (pid := os.fork()) == 0:
        KernelUnits(units, lambda *_: os._exit(1))(first, str(tmp_path))
    os.waitpid(pid, 0)
    compiler = Compiler()
    KernelUnits(units, compiler)(second, str(tmp_path))
    assert ["unit.cpp" in one for one in compiler.commands] == [True]
    assert (tmp_path / "b.main.so").exists()


def test_a_unit_has_each_include_once_and_first() -> None:
    """What a kernel calls itself is another name in each."""
    text = translation_unit({"a.so": SOURCE.format(factor=2), "b.so": SOURCE.format(factor=3)})
    assert text.count("#include <cmath>") == text.count("#include <Python.h>") == 1
    assert text.index("#include <Python.h>") < text.index("namespace unit_0 {") < text.index("namespace unit_1 {")


@compiled
@pytest.mark.torch
def test_requests_pass_whose_kernels_are_compiled_together(tmp_path: Path) -> None:
    """Those of two calls that name the same folder; each child has its own cache of Inductor, which is gone then."""
    (inductor,) = find(["inductor"], attempts.describe)
    cases = [a_case(f"demo.first.p{factor}", program=f"return (a * {factor}).sin()\n") for factor in (3, 5)]
    with ThreadPoolExecutor(2) as executor:
        runs = [executor.submit(attempts.sweep, [a_request(case, inductor)], kernels=tmp_path) for case in cases]
        made = [attempt for run in runs for attempt in run.result()]
    assert [(str(outcome(one)), one.invalid, one.ended) for one in made] == [("pass", None, None)] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["units"]
    assert any(name.startswith("graph mul > sin") for name in made[0].reached)

"""Compile the kernels of several processes as one unit of translation, which takes hardly longer than one of them.

Of the second that g++ takes for a kernel of Inductor, nine tenths go into its start, the templates of Inductor's header
and the linker: for 24 kernels it takes 1.5 times what it takes for one. Whoever needs a kernel leaves its command in a
folder and waits for a lock; whoever gets the lock compiles all that was left there meanwhile. The flags are those of
the kernels, each is in a namespace of its own, and its library is where Inductor looks for it. What is no such kernel,
or does not compile together with others, is compiled by its own command.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.execution.whole_files import Compile

__all__ = ["KernelUnits", "translation_unit"]

_SOURCE, _TARGET = "<source>", "<library>"
_ENTRY = "kernel"  # the name of the function of each kernel
_SUFFIX, _LIBRARY = ".main.cpp", ".main.so"  # of a kernel whose function and binding are compiled in one
_DIRECTIVE = re.compile(r"^\s*#\s*(\w+)(.*)$", re.MULTILINE)
_HARMLESS = {"include", "pragma", "ifdef", "endif"}
_SIZES = "#define PY_SSIZE_T_CLEAN"
_EXTERN = 'extern "C"'
_PART = """
#define {entry} {entry}_{number}
#define PyInit_{entry} PyInit_{entry}_{number}
namespace unit_{number} {{
{text}
}}
#undef PyInit_{entry}
#undef {entry}
"""
# A copy of the library is loaded under the name of each kernel, and starts the one of that name.
_START = """
#include <dlfcn.h>
#include <string_view>
PyMODINIT_FUNC PyInit_{entry}(void) {{
    static char here;
    Dl_info library;
    dladdr(&here, &library);
    const std::string_view path(library.dli_fname);
    const auto name = path.substr(path.rfind('/') + 1);
{cases}
    PyErr_SetString(PyExc_ImportError, "no kernel of this unit has the name of its library");
    return nullptr;
}}
"""
_CASE = '    if (name == "{library}") return unit_{number}::PyInit_{entry}_{number}();'


@dataclass(frozen=True, kw_only=True)
class _Kernel:
    """A kernel to be compiled: its source, its library, and the words of its command, with marks in their place."""

    source: str
    library: str
    words: tuple[str, ...]

    @property
    def command(self) -> str:
        places = {_SOURCE: self.source, _TARGET: self.library}
        return shlex.join(places.get(word, word) for word in self.words)


class KernelUnits:
    """Compiles as `compile_` does, kernels together with those of other processes that use the same folder.

    Args:
        folder: where processes leave what is to be compiled; it exists.
        compile_: runs the command of a compiler, given as a string, in a folder.
    """

    def __init__(self, folder: Path, compile_: Compile) -> None:
        self._folder, self._compile = folder, compile_

    def __call__(self, cmd_line: str, cwd: str) -> None:
        """Run the command of a compiler in a folder; parameters are named as in Inductor."""
        kernel = _kernel(cmd_line, cwd)
        if kernel is not None:
            self._together(kernel)
        if kernel is None or not Path(kernel.library).exists():
            self._compile(cmd_line, cwd)

    def _together(self, kernel: _Kernel) -> None:
        """Compile a kernel in a unit; its library is missing afterwards if that unit cannot be compiled."""
        ticket = self._folder / f"{uuid.uuid4().hex}.json"
        part = ticket.with_suffix(".part")
        part.write_text(json.dumps(asdict(kernel)), encoding="utf-8")
        part.rename(ticket)
        with _locked(self._folder / "lock"):
            if ticket.exists():  # nobody else has done it meanwhile
                self._compile_all(kernel.words)

    def _compile_all(self, words: Sequence[str]) -> None:
        """Compile the kernels that wait, of those with the same flags."""
        waiting = {path: _read(path) for path in sorted(self._folder.glob("*.json"))}
        tickets = {path: kernel for path, kernel in waiting.items() if kernel.words == tuple(words)}
        try:
            self._compile_unit(list(tickets.values()))
        except Exception:  # noqa: BLE001 - of whatever kind: each is then compiled by its own command, where it counts
            return
        finally:
            for path in tickets:
                path.unlink()

    def _compile_unit(self, kernels: Sequence[_Kernel]) -> None:
        if len(kernels) == 1:  # while it is compiled, others queue
            self._compile(kernels[0].command, str(self._folder))
            return
        unit = self._folder / "unit.cpp"
        sources = {Path(kernel.library).name: Path(kernel.source).read_text(encoding="utf-8") for kernel in kernels}
        unit.write_text(translation_unit(sources), encoding="utf-8")
        whole = replace(kernels[0], source=str(unit), library=str(unit.with_suffix(".so")))
        self._compile(whole.command, str(self._folder))
        for kernel in kernels:
            part = Path(
                f"{kernel.library}.{os.getpid()}.part"
            )  # a copy: a link would be the same library to the loader
            shutil.copyfile(whole.library, part)
            part.rename(kernel.library)


def translation_unit(sources: dict[str, str]) -> str:
    """The text of a unit that holds kernels, by the names of their libraries."""
    includes = dict.fromkeys(line for text in sources.values() for line in text.splitlines() if _is_include(line))
    parts, cases = [_SIZES, *includes], []
    for number, (library, text) in enumerate(sources.items()):
        own = "\n".join(line for line in text.splitlines() if not _is_include(line) and line.strip() != _SIZES)
        parts.append(_PART.format(entry=_ENTRY, number=number, text=own))
        cases.append(_CASE.format(entry=_ENTRY, number=number, library=library))
    return "\n".join([*parts, _START.format(entry=_ENTRY, cases="\n".join(cases))])


def _kernel(command: str, folder: str) -> _Kernel | None:
    """The kernel that a command compiles, if it may be part of a unit."""
    words = shlex.split(command)
    sources = [place for place, word in enumerate(words) if word.endswith(_SUFFIX)]
    targets = [place for place, word in enumerate(words) if place and words[place - 1] == "-o"]
    if len(sources) != 1 or len(targets) != 1 or not words[targets[0]].endswith(_LIBRARY):
        return None
    source, library = (Path(folder, words[place]) for (place,) in (sources, targets))
    if not _is_separable(source.read_text(encoding="utf-8")):
        return None
    words[sources[0]], words[targets[0]] = _SOURCE, _TARGET
    return _Kernel(source=str(source), library=str(library), words=tuple(words))


def _is_separable(text: str) -> bool:
    """Whether a source is one function for Python, and defines nothing for what comes after it."""
    directives = [found for found in _DIRECTIVE.finditer(text) if found[0].strip() != _SIZES]
    return (
        all(found[1] in _HARMLESS for found in directives)
        and text.count(_EXTERN) == 1
        and re.search(rf"\bPyInit_{_ENTRY}\b", text) is not None
    )


def _is_include(line: str) -> bool:
    return line.lstrip().startswith("#include")


def _read(ticket: Path) -> _Kernel:
    plain = json.loads(ticket.read_text(encoding="utf-8"))
    return _Kernel(**{**plain, "words": tuple(plain["words"])})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which ends with the process at the latest."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

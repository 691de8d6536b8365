"""What a compiler that Inductor runs writes appears whole or not at all: of a killed one nothing is read.

Inductor writes all other files of its cache so itself, and the lock that a killed process held ends with it. The cache
is thus shared by all children, and warm.
"""

from __future__ import annotations

import functools
import os
import shlex
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Compile = Callable[[str, str], None]

__all__ = ["have_inductor_write_whole", "writing_whole"]


def have_inductor_write_whole() -> None:
    """Have every compiler that Inductor runs here, and in forks of this process, write to a file of its own first."""
    builder = import_module("torch._inductor.cpp_builder")
    vars(builder)["run_compile_cmd"] = writing_whole(builder.run_compile_cmd)


def writing_whole(compile_: Compile) -> Compile:
    """A function that runs a command in a folder, and puts what follows `-o` in its place once it is written.

    Args:
        compile_: runs a command, given as one text and the folder.
    """

    @functools.wraps(compile_)
    def compile_whole(cmd_line: str, cwd: str) -> None:  # Inductor names them so
        words = shlex.split(cmd_line)
        if "-o" not in words[:-1]:
            compile_(cmd_line, cwd)
            return
        place = words.index("-o") + 1
        whole = Path(cwd, words[place])
        part = whole.with_name(f".{os.getpid()}.{threading.get_ident()}.{whole.name}")
        words[place] = str(part)
        try:
            compile_(shlex.join(words), cwd)
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)

    return compile_whole

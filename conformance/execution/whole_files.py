"""Make the output of compilers that Inductor runs appear atomically: no partial file of a killed one is read.

Inductor writes all other files of its cache atomically, and the lock of a killed process ends with it. All children can
thus share a warm cache.
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
    """Let every compiler that Inductor runs in this process and its forks write to a temporary file first."""
    builder = import_module("torch._inductor.cpp_builder")
    vars(builder)["run_compile_cmd"] = writing_whole(builder.run_compile_cmd)


def writing_whole(compile_: Compile) -> Compile:
    """Return a function that runs a command in a folder, and moves the output of `-o` into place once it is written.

    Args:
        compile_: runs a command, given as a string, in a folder.
    """

    @functools.wraps(compile_)
    def compile_whole(cmd_line: str, cwd: str) -> None:  # parameter names of Inductor
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

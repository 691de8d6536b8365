"""The README and the guides typed from top to bottom, as a stranger would: `nox -s readme`.

`python -m conformance.tests.jobs.typed_readme README.md [PAGE ...] [--only WORD]` writes the files that the pages show
into an empty folder and types their commands there in their order, 80 columns wide: once without a terminal, when what
is printed has to hold what the pages show, and once on one. For each command the table has the exit code, and after
how many seconds the first and the last line came. It exits with 1 where a command ends as wrong usage or as a fault,
prints something else, or is silent for long.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Command", "Typed", "commands", "files", "missing", "problems"]

_COLUMNS, _ROWS = 80, 40
_SILENCE_S = 10.0  # at the start, longer than which a stranger thinks that it hangs
_FINDINGS = 1
_SKIPPED = ("python -m pip", "python -m nox", "conformance expectations update --records 2.13")
"""Commands typed before or in a job of their own, and those that need runs on two releases of torch."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# (\S+\.(?:py|yaml))\n")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A line of a shell block.

    Args:
        page: the name of the file that it is in.
        line: its number there.
        words: what is typed.
        shown: what the page shows of its output, in parts; between them something may be left out.
    """

    page: str = "README.md"
    line: int
    words: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The result of a command; both times are in seconds from its start."""

    command: Command
    status: int
    first_s: float
    last_s: float
    output: str


def files(readme: str) -> dict[str, str]:
    """The files that are shown: blocks that begin with a comment that is a path."""
    found = ((_PATH.match(block[2]), block[2]) for block in _BLOCK.finditer(readme))
    return {path[1]: text for path, text in found if path}


def commands(readme: str, page: str = "README.md") -> list[Command]:
    """The lines of the shell blocks, each with the output that is shown behind its block."""
    found: list[Command] = []
    for block in _BLOCK.finditer(readme):
        if block[1] == "sh":
            start = readme.count("\n", 0, block.start()) + 2
            lines = enumerate(block[2].splitlines(), start)
            typed = [(line, words) for line, words in lines if not words.startswith(_SKIPPED)]
            found += [Command(page=page, line=line, words=words) for line, words in typed]
        elif block[1] == "text" and found:
            parts = tuple(part.strip() for part in re.split(r"^\.\.\.\n", block[2], flags=re.MULTILINE) if part.strip())
            of = _of(found, parts)
            found[of] = replace(found[of], shown=parts)
    return found


def _of(found: Sequence[Command], parts: Sequence[str]) -> int:
    """Which of the commands before it an output is of: the last, or the one that its `Reproduce:` line begins with."""
    again = re.search(r"Reproduce: (.+)", "\n".join(parts))
    of = [place for place, each in enumerate(found) if again and again[1].startswith(each.words)]
    return of[-1] if of else len(found) - 1


def missing(typed: Typed) -> str:
    """The first line that is shown and was not printed, in its place; empty where all was."""
    place = 0
    for line in (line for part in typed.command.shown for line in part.splitlines()):
        if (at := typed.output.find(line.rstrip(), place)) < 0:
            return line
        place = at + len(line.rstrip())
    return ""


def problems(every: Sequence[Typed]) -> Iterator[str]:
    """The problems that a new user would have, as text."""
    for typed in every:
        where = f"{typed.command.page}:{typed.command.line}: {typed.command.words}"
        if typed.status not in {0, _FINDINGS}:
            yield f"{where}: ends with {typed.status}:\n{typed.output[-2000:]}"
        if line := missing(typed):
            yield f"{where}: does not print {line!r}:\n{typed.output[-6000:]}"
        if typed.first_s > _SILENCE_S:
            yield f"{where}: is silent for {typed.first_s:.1f} s"


@click.command()
@click.argument("pages", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--only", default="", metavar="WORD", help="Commands that hold it.")
def main(pages: Sequence[Path], only: str) -> None:
    """Type it all, without a terminal and on one, and print the problems that a new user would have."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    found: list[str] = []
    for name, kind in (("without a terminal", _piped), ("on a terminal", _on_a_terminal)):
        with tempfile.TemporaryDirectory(prefix="conformance-readme-") as folder:
            if (published := pages[0].parent / "results").is_dir():  # cells of its tables are among what is typed
                Path(folder, published.name).symlink_to(published.absolute())
            for path, content in files("\n".join(texts.values())).items():
                Path(folder, path).parent.mkdir(exist_ok=True)
                Path(folder, path).write_text(content, encoding="utf-8")
            every = [
                kind(each, Path(folder))
                for page, text in texts.items()
                for each in commands(text, page.name)
                if only in each.words
            ]
        click.echo(f"\n{name}\n{_told(every)}")
        # What is shown is what is printed without a terminal: on one there are bars and colours.
        shown = every if kind is _piped else [_unshown(typed) for typed in every]
        found += [f"{name}: {problem}" for problem in problems(shown)]
    sys.exit("\n".join(found) or 0)


def _told(every: Sequence[Typed]) -> str:
    """The table of what was typed."""
    rows = [
        (f"{t.command.page}:{t.command.line}", t.command.words, t.status, f"{t.first_s:.1f}", f"{t.last_s:.1f}")
        for t in every
    ]
    return tabulate(rows, ("line", "command", "exit", "first s", "last s"), disable_numparse=True)


def _unshown(typed: Typed) -> Typed:
    return replace(typed, command=replace(typed.command, shown=()))


def _piped(command: Command, folder: Path) -> Typed:
    ours, theirs = os.pipe()
    return _typed(command, folder, ours, theirs)


def _on_a_terminal(command: Command, folder: Path) -> Typed:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    return _typed(command, folder, ours, theirs)


def _typed(command: Command, folder: Path, ours: int, theirs: int) -> Typed:
    """Type a command with the commands of this environment; `theirs` is its output, read from `ours`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "COLUMNS": str(_COLUMNS), "LINES": str(_ROWS), "TERM": "xterm-256color"}
    click.echo(command.words, err=True)
    start = time.monotonic()
    process = subprocess.Popen(["/bin/sh", "-c", command.words], cwd=folder, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output, first = b"", None
    while part := _read(ours):
        first = first or time.monotonic()
        output += part
    status, end = process.wait(), time.monotonic()
    os.close(ours)
    return Typed(
        command=command,
        status=status,
        first_s=(first or end) - start,
        last_s=end - start,
        output=output.decode(errors="replace"),
    )


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # of a terminal that nobody writes to any longer
        return b""


if __name__ == "__main__":
    main()

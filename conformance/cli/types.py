"""Kinds of arguments, checked while a command line is parsed, so before torch starts."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from conformance.backend import discovery, import_path

__all__ = ["BACKEND", "CASES", "DURATION", "FUNCTION", "RECORD", "RUN", "SHARD"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Backend(click.ParamType[str]):
    """A backend spec; a name that is not declared, or a file that is not there, is refused."""

    name = "backend"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the spec as it was typed."""
        discovery.refuse_unknown(str(value))
        return str(value)


class _Function(click.ParamType[str]):
    """A function of a user; a file that is not there, or that has no such name, is refused."""

    name = "function"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the name as it was typed."""
        import_path.refuse_function(str(value))
        return str(value)


class _CaseFolder(click.ParamType[Path]):
    """A folder of case files; `cases/...` that is not here is what is installed with the suite."""

    name = "directory"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder."""
        folder = Path(str(value))
        if not folder.exists() and folder.parts[:1] == ("cases",):
            folder = Path(str(files("conformance.cases"))).parent / folder
        if not folder.is_dir():
            self.fail(f"there is no folder {str(value)!r}", param, ctx)
        return folder


class _Record(click.ParamType[str]):
    """`BACKEND/CASE` or `BACKEND/CASE/VARIANT`, as summaries print them."""

    name = "record"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it was typed."""
        words = [word.strip() for word in str(value).split("/")]
        if len(words) < 2 or not all(words):  # noqa: PLR2004 - backend and case
            self.fail(f"{value!r} is not of the form BACKEND/CASE or BACKEND/CASE/VARIANT", param, ctx)
        return str(value)


class _Run(click.ParamType[str]):
    """A file or folder of records or timings, or `PATH@BACKEND`."""

    name = "run"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path as it was typed."""
        text = str(value)
        if not (Path(text).exists() or Path(text.rpartition("@")[0] or text).exists()):
            self.fail(f"no record file at {text}", param, ctx)
        return text


class _Shard(click.ParamType[tuple[int, int]]):
    """`i/n`: the i-th of n parts, counting from 1."""

    name = "i/n"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two whole numbers."""
        index, slash, count = str(value).partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            self.fail(f"{value!r} is not of the form i/n, such as 1/4", param, ctx)
        if not 1 <= int(index) <= int(count):
            self.fail(f"shard {value} does not exist: the first is 1/{count}, the last {count}/{count}", param, ctx)
        return int(index), int(count)


class _Duration(click.ParamType[float]):
    """`600`, `90s`, `10m` or `1h`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no duration such as 90s, 10m or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


BACKEND, FUNCTION, CASES, RECORD = _Backend(), _Function(), _CaseFolder(), _Record()
RUN, SHARD, DURATION = _Run(), _Shard(), _Duration()

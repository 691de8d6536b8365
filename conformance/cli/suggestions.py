"""Unknown words of a command line, refused with what was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from conformance.backend import discovery
from conformance.catalogue.sources import collect

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["Command", "Group"]

_PROGRAM = "conformance"

_MEANT: Mapping[str, str] = {
    "analyze": "explain",
    "area": "list",
    "areas": "list",
    "backend": "list --backends",
    "backends": "list --backends",
    "benchmark": "bench",
    "bug": "repro --issue",
    "case": "show",
    "cases": "list",
    "check-cases": "validate",
    "checks": "list --checks",
    "debug": "explain",
    "diff": "compare",
    "help": "--help",
    "info": "--version",
    "issue": "repro --issue",
    "lint": "validate",
    "ls": "list",
    "minify": "shrink",
    "minimize": "shrink",
    "pages": "report",
    "perf": "bench",
    "reduce": "shrink",
    "reproduce": "repro",
    "resume": "run --resume",
    "script": "repro",
    "summary": "report",
    "tags": "list",
    "test": "run",
    "tests": "run",
    "time": "bench",
    "timing": "bench",
    "update": "expectations update",
    "verify": "validate",
    "version": "--version",
    "versions": "--version",
    "why": "explain",
}
"""Words that users of other programs may type, with the command here."""


class Group(click.Group):
    """A group whose unknown commands are refused with what was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or refuse it with those that were probably meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            _refuse(ctx, f"No such command {name!r}.", _commands(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


class Command(click.Command):
    """A command without arguments: a word that belongs to no option is refused with the option it may belong to."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what belongs to no option, with the option that was probably meant, then parse the options."""
        _, rest, _ = self.make_parser(ctx).parse_args(list(args))
        if rest and not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
            known = {name for option in self.params for name in option.opts}
            options = [_option(word, known) for word in rest]
            path = " ".join(ctx.command_path.split()[1:])
            meant = [f"{path} {' '.join(options)}"] if all(options) else []
            _refuse(ctx, f"Got an unexpected argument {rest[0]!r}.", meant)
        return super().parse_args(ctx, args)


def _commands(name: str, known: Sequence[str]) -> list[str]:
    """The command lines that a word may mean."""
    if name in _MEANT:
        return [_MEANT[name]]
    if ":" in name or name.endswith(".py"):
        return [f"check {name}"]
    if name in discovery.names():
        return [f"run --backend {name}"]
    close = get_close_matches(name, [*known, *_MEANT], n=3)
    return list(dict.fromkeys(_MEANT.get(word, word) for word in close))


def _option(word: str, known: Collection[str]) -> str:
    """The option among the known ones that a bare word belongs to, with the word; empty where none is likely."""
    # What takes a seed runs something, and would replace the records.
    if Path(word).exists() and "--records" in known and "--seed" not in known:
        return f"--records {word}"
    return next((f"{option} {text}" for option, text in _options(word) if option in known), "")


def _options(word: str) -> Iterator[tuple[str, str]]:
    """Options that a bare word may belong to, with the word as it is probably spelt; the likeliest first."""
    if Path(word).is_dir():
        yield "--cases", word
    backends = discovery.names()
    if ":" in word or word in backends:
        yield "--backend", word
    if "=" in word:
        yield "--variant", word
    if "." in word or "*" in word:
        yield "--case", f"'{word}'" if "*" in word else word
    cases = collect()
    tags = {tag for case in cases for tag in case.tags}
    areas = {case.area for case in cases}
    for near in get_close_matches(word, [*backends, *tags, *areas], n=1):
        if near in backends:
            yield "--backend", near
        if near in tags:
            yield "--tag", near
        if near in areas:
            yield "--case", f"'{near}.*'"


def _refuse(ctx: click.Context, message: str, meant: Sequence[str]) -> NoReturn:
    help_line = " ".join([_PROGRAM, *ctx.command_path.split()[1:], "--help"])
    lines = " or ".join(f"`{_PROGRAM} {words}`" for words in meant)
    ctx.fail(f"{message} Did you mean {lines}?" if lines else f"{message} `{help_line}` lists what there is.")

"""The documentation as a site: `nox -s docs`.

The sources are readable on GitHub as they are. Here two kinds of blocks in them are replaced: `{include}` by a file of
the repository, and `{generated}` by what follows from the package. Links that leave the sources lead to the page that
includes the file, or to the repository.
"""

from __future__ import annotations

import json
import os
import re
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

# All that is taken from the package, in one place.
import conformance
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Grade
from conformance.verdict.legend import MEANING, counting, gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import click
    from sphinx.application import Sphinx

project = "torch-compile-conformance"
author = "the contributors"
version = release = metadata.version(project)
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinxcontrib.mermaid"]
html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
exclude_patterns = ["_build"]
default_role = "code"  # docstrings write `name`
highlight_language = "none"  # of blocks that name none
myst_enable_extensions = ["deflist"]
myst_fence_as_directive = ["mermaid"]  # which GitHub renders as well
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signatures would hold names that only type checkers import; docstrings say the types

_SOURCES = Path(__file__).parent
_ROOT = _SOURCES.parents[1]
_SCHEMAS = _SOURCES.parent / "schemas"
_REPOSITORY = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}".format_map(os.environ) if "GITHUB_ACTIONS" in os.environ else ""
"""Where the repository is, which only a workflow knows; elsewhere, files of it are added to the site."""
_BLOCK = re.compile(r"^```\{(include|generated)\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s]+)\)")
_LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Replace the blocks as pages are read, and show examples of commands as they are."""
    app.connect("source-read", _expand)
    app.connect("sphinx-click-process-epilog", _epilog)
    for part in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", _escape)


def _expand(app: Sphinx, docname: str, source: list[str]) -> None:
    page = _SOURCES / f"{docname}.md"
    source[0] = _BLOCK.sub(lambda block: _replacement(app, page, block), _relinked(source[0], page, page))


def _replacement(app: Sphinx, page: Path, block: re.Match[str]) -> str:
    kind, name, options = block.groups()
    if kind == "generated":
        app.env.note_reread()
        return "\n".join(_GENERATORS[name]())
    file = (page.parent / name).resolve()
    app.env.note_dependency(str(file))
    text = file.read_text(encoding="utf-8")
    marks = {key: json.loads(value) for key, value in re.findall(r"^:([\w-]+): (.+)$", options, re.MULTILINE)}
    for mark in marks.values():
        if text.count(mark) != 1:
            _LOGGER.warning("%s holds %r %d times", file, mark, text.count(mark), location=page)
    if "start-after" in marks:
        text = text.partition(marks["start-after"])[2]
    if "end-before" in marks:
        text = text.partition(marks["end-before"])[0]
    return _relinked(text, file, page)


def _relinked(text: str, origin: Path, page: Path) -> str:
    """The text of a file with its relative links as they are from a page; code stays as it is."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(lambda link: _relink(link, origin, page), text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(lambda link: _relink(link, origin, page), text[end:])])


def _relink(link: re.Match[str], origin: Path, page: Path) -> str:
    label, target = link.groups()
    path, sharp, anchor = target.partition("#")
    if re.match(r"\w+:", target) or not path:
        return link[0]
    file = (origin.parent / path).resolve()
    if not file.exists():
        _LOGGER.warning("%s: there is no %s", origin.relative_to(_ROOT), target, location=page)
    document = _including().get(file, file)
    if document.is_relative_to(_SOURCES) and document.suffix == ".md":
        return f"[{label}]({os.path.relpath(document, page.parent)}{sharp}{anchor})"
    if _REPOSITORY:
        kind = "tree" if file.is_dir() else "blob"
        return f"[{label}]({_REPOSITORY}/{kind}/main/{file.relative_to(_ROOT)}{sharp}{anchor})"
    if file.is_file():
        return f"{{download}}`{label.replace('`', '')} <{os.path.relpath(file, page.parent)}>`"
    return label


def _including() -> Mapping[Path, Path]:
    """The pages that consist of a file of the repository, by that file."""
    blocks = ((page, _BLOCK.match(page.read_text(encoding="utf-8"))) for page in _SOURCES.rglob("*.md"))
    return {(page.parent / block[2]).resolve(): page for page, block in blocks if block}


def _epilog(_app: Sphinx, ctx: click.Context, lines: list[str]) -> None:
    """Examples, verdicts and exit codes are laid out by hand."""
    text = str(ctx.command.epilog or "").replace("\b\n", "")
    lines[:] = [".. code-block:: text", "", *(f"   {line}".rstrip() for line in text.splitlines()), ""]


def _escape(_app: Sphinx, _ctx: click.Context, lines: list[str]) -> None:
    """The help of a command is no markup: an asterisk is a glob."""
    lines[:] = [line.replace("*", "\\*") for line in lines]


def _table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    every = [list(headers), *map(list, rows)]
    every.insert(1, ["---"] * len(every[0]))
    for row in every:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _verdicts() -> Iterator[str]:
    yield from _table(
        ("verdict", "mark", "meaning", "conforms", "gate"),
        ((verdict, f"`{verdict.mark}`", text, counting(verdict), gate(verdict)) for verdict, text in MEANING.items()),
    )


def _checks() -> Iterator[str]:
    reasons = (_SOURCES / "explanation" / "checks.md").read_text(encoding="utf-8")
    for name, spec in CATALOGUE.items():
        if not spec.is_move and f"\n## {name}\n" not in reasons:
            _LOGGER.warning("explanation/checks.md does not say why the check %s is there", name)
    yield from _table(
        ("check", "level", "must be asked for", "what it compares"),
        (
            (
                f"[{spec.name}](../explanation/checks.md#{'moves' if spec.is_move else spec.name})",
                spec.level.upper(),
                "yes" * spec.asked,
                spec.sees,
            )
            for spec in CATALOGUE.values()
        ),
    )


def _grades() -> Iterator[str]:
    yield ", ".join(f"`{grade}`" for grade in sorted(Grade, key=lambda grade: grade.rank))


def _api() -> Iterator[str]:
    for name in dir(conformance):
        if name.startswith("_"):
            continue
        value = getattr(conformance, name)
        kind = "class" if isinstance(value, type) else "function"
        yield from (f"## {name}", "", "```{eval-rst}", f".. auto{kind}:: conformance.{name}")
        if kind == "class":
            yield "   :members:"
        if kind == "class" and issubclass(value, Enum):
            yield "   :undoc-members:"
        yield from ("```", "")


def _case_keys() -> Iterator[str]:
    schema = json.loads((_SCHEMAS / "case.schema.json").read_text(encoding="utf-8"))
    items = {key: schema["properties"][key]["items"] for key in ("cases", "families")}
    yield from ("## A file", "", *_keys(schema), "")
    for title, part in [("A case", items["cases"]), ("A family", items["families"])]:
        yield from (f"## {title}", "", part["description"], "", *_keys(part), "")
    for name, part in schema["$defs"].items():
        yield from (f"## {_title(name)}", "", part["description"], "", *_keys(part), "")


def _expectation_keys() -> Iterator[str]:
    schema = json.loads((_SCHEMAS / "expectation.schema.json").read_text(encoding="utf-8"))
    yield from _keys(schema["$defs"]["ExpectationDocument"])


def _title(name: str) -> str:
    """`Input` of `InputDocument`."""
    return name.removesuffix("Document")


def _keys(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    yield from _table(
        ("key", "value", "default", "meaning"),
        (
            (f"`{key}`", _value(part), "required" if key in required else _default(part), _prose(part))
            for key, part in schema["properties"].items()
        ),
    )


def _prose(part: Mapping[str, Any]) -> str:
    """The description of a key, in which `<name>` is no HTML, unless it is code."""
    pieces = str(part.get("description", "")).split("`")
    return "`".join(piece if place % 2 else piece.replace("<", "\\<") for place, piece in enumerate(pieces))


def _default(part: Mapping[str, Any]) -> str:
    return f"`{json.dumps(part['default'])}`" if part.get("default") not in (None, "") else ""


def _value(part: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in part:
        name = _title(part["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower()})"
    if choices := [each for key in ("anyOf", "oneOf") for each in part.get(key, ())]:
        return " or ".join(dict.fromkeys(_value(each) for each in choices if each.get("type") != "null"))
    if words := part.get("enum", [part["const"]] if "const" in part else []):
        return ", ".join(f"`{word if isinstance(word, str) else json.dumps(word)}`" for word in words)
    if part.get("type") == "array":
        return "list" if "properties" in part["items"] else f"list of {_value(part['items'])}"
    if part.get("type") == "object":
        values = [part.get("additionalProperties"), *part.get("patternProperties", {}).values()]
        return f"by name: {next((_value(each) for each in values if each), 'anything')}"
    return str(part.get("type", "anything"))


_GENERATORS: Mapping[str, Callable[[], Iterator[str]]] = {
    "api": _api,
    "case-keys": _case_keys,
    "checks": _checks,
    "expectation-keys": _expectation_keys,
    "grades": _grades,
    "verdicts": _verdicts,
}

"""YAML with marks: plain data, and the place in the file of every key and value.

Scalars are read as YAML 1.2 reads them: only `true` and `false` are booleans (`on`, `off`, `yes`, `no` are words) and
`1e-5` is a number. Duplicate keys, aliases and tags are problems, not features: a file means what it shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from conformance.model.case import Location
from conformance.model.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Document", "Path", "compose"]

Path = tuple[str | int, ...]

_DEEPEST = 20
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)")
_UNTAGGED = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Resolves no scalar itself: every plain scalar stays text until `_scalar` reads it."""

    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012 (overrides a class variable that PyYAML never marked)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One YAML file: its data, the problems of its form, and the place of everything.

    `data` is made of dict, list, str, int, float, bool and None; keys are text. It is None where the YAML is malformed.
    """

    file: str
    data: object
    problems: tuple[Problem, ...]
    text: str
    root: yaml.Node | None

    def location(self, path: Path = (), *, key: bool = False) -> Location:
        """Return where the value at `path`, or its key, starts; a missing path gives its last existing step."""
        key_node, node = self._nodes(path)
        return _location(self.file, key_node if key and key_node else node)

    def text_location(self, path: Path) -> Location | None:
        """Return the place of the first character of a text if its lines are lines of the file; else None.

        In a literal block (`|`) that is the line below the mark, at the block's indentation. The lines of a folded or
        quoted text of several lines are not those of the file.
        """
        _, node = self._nodes(path)
        start = _location(self.file, node)
        if not isinstance(node, yaml.ScalarNode):
            return start
        if node.style != "|":
            quote = 1 if node.style in {"'", '"'} else 0
            alone = node.start_mark.line == node.end_mark.line
            return Location(file=self.file, line=start.line, column=start.column + quote) if alone else None
        first = next((line for line in node.value.splitlines() if line.strip()), "")
        shown = next((line for line in self.text.splitlines()[start.line :] if line.strip()), "")
        return Location(file=self.file, line=start.line + 1, column=len(shown) - len(first) + 1)

    def problem(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Build a problem that points at the value at `path`, or at its key."""
        return Problem(self.location(path, key=key), message, hint)

    def _nodes(self, path: Path) -> tuple[yaml.Node | None, yaml.Node | None]:
        key, node = None, self.root
        for step in path:
            found = next((pair for name, pair in _children(node) if name == step), None)
            if found is None:
                break
            key, node = found
        return key, node


def compose(text: str, file: str) -> Document:
    """Read `text`; its problems are in the document's `problems`, nothing is raised."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        return Document(file=file, data=None, problems=(_malformed(error, file, text),), text=text, root=None)
    reader = _Reader(file)
    data = None if root is None else reader.read(root, 0)
    return Document(file=file, data=data, problems=tuple(reader.problems), text=text, root=root)


class _Reader:
    """Turns nodes into plain data and collects the problems of their form."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._visited: set[int] = set()

    def read(self, node: yaml.Node, depth: int) -> object:
        """Return the plain data of `node`; a refused part is None."""
        refusal = self._refusal(node, depth)
        if refusal:
            self._refuse(node, refusal)
            return None
        self._visited.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, depth + 1) for item in node.value]
        return self._mapping(node, depth)

    def _mapping(self, node: yaml.Node, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a key must be text")
            elif key.value in data:
                self._refuse(key, f"duplicate key {key.value!r}")
            else:
                data[key.value] = self.read(value, depth + 1)
        return data

    def _refusal(self, node: yaml.Node, depth: int) -> str:
        if id(node) in self._visited:
            return "aliases (&name, *name) are not allowed; write the value again"
        if depth > _DEEPEST:
            return f"nested deeper than {_DEEPEST} levels"
        if node.tag not in _UNTAGGED:
            return f"the tag {node.tag!r} is not allowed"
        return ""

    def _refuse(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(_location(self._file, node), message))


def _scalar(node: yaml.ScalarNode) -> object:
    text: str = node.value
    if node.style:  # quoted or block: always text
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 100 else float(text)  # noqa: PLR2004 (int() of thousands of digits raises)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _children(node: yaml.Node | None) -> Iterator[tuple[str | int, tuple[yaml.Node | None, yaml.Node]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value if isinstance(key, yaml.ScalarNode) else -1, (key, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, (None, value)


def _location(file: str, node: yaml.Node | None) -> Location:
    if node is None:
        return Location(file=file)
    return Location(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


def _malformed(error: Exception, file: str, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        location = Location(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Location(file=file)
        return Problem(location, f"malformed YAML: {error.problem}", f"({error.context})" if error.context else "")
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Problem(Location(file=file, line=line, column=column), f"malformed YAML: {error.reason}")
    return Problem(Location(file=file), f"malformed YAML: {error}")

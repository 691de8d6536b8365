"""Make a Python function with source from the text of a case: substitute, check, generate, load.

The generated module has real source (in `linecache`), so a traceback, Dynamo and a reproduction script all show the
same lines. Only `Program.load` runs anything, and only a child calls it.
"""

from __future__ import annotations

import ast
import linecache
import re
from dataclasses import dataclass
from textwrap import indent
from types import ModuleType
from typing import TYPE_CHECKING

from conformance.model.case import Location
from conformance.model.errors import Problem
from conformance.program.subset import Violation, Vocabulary, check, check_body, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from conformance.model.case import Case, Scalar, Variant

__all__ = ["Program", "generate", "placeholders", "problems", "substitute"]

_HEADER = "import math\n\nimport torch\nimport torch.nn.functional as F\n"
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z][A-Za-z0-9_]*)\}")
_INDENT = 4


@dataclass(frozen=True, kw_only=True)
class Program:
    """A generated module: its source, the name it is compiled under, and the arguments of its function `program`."""

    filename: str
    source: str
    inputs: tuple[str, ...]

    def load(self) -> ModuleType:
        """Run the source in a module of its own; the function is its attribute `program`.

        This imports torch.
        """
        lines = self.source.splitlines(keepends=True)
        # No modification time: `linecache.checkcache` then keeps an entry without a file.
        linecache.cache[self.filename] = (len(self.source), None, lines, self.filename)
        module = ModuleType("program")
        module.__file__ = self.filename
        code = compile(self.source, self.filename, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 (the text was checked against the subset when the case was loaded)
        return module


def generate(case: Case, variant: Variant) -> Program:
    """Build the module of one variant; the same case and variant always give the same text."""
    source, _, _ = _assemble(case, variant.params)
    # Dynamo skips files of frozen modules and of installed packages; a name in angle brackets is neither.
    return Program(filename=f"<{case.id} [{variant.id}]>", source=source, inputs=tuple(case.inputs))


def placeholders(text: str) -> frozenset[str]:
    """Return the names that occur as `${name}` in `text`."""
    return frozenset(_PLACEHOLDER.findall(text))


def substitute(text: str, params: Mapping[str, Scalar]) -> str:
    """Replace each `${name}` by its value in `params`; a name without a value stays."""
    return _PLACEHOLDER.sub(lambda found: str(params.get(found[1], found[0])), text)


def problems(case: Case) -> list[Problem]:
    """Return everything in setup and program outside the subset, for each variant, with its place in the YAML file."""
    found: dict[str, Problem] = {}
    checked: list[Mapping[str, Scalar]] = []
    for variant in case.variants:
        if variant.params not in checked:
            checked.append(variant.params)
            found.update({str(problem): problem for problem in _problems(case, variant.params)})
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Setup or program: its text as written in the YAML file, the place of the text, and the params to substitute."""

    written: str
    place: Location
    params: Mapping[str, Scalar]

    @property
    def text(self) -> str:
        return substitute(self.written, self.params)

    def problem(self, finding: Violation, case_id: str) -> Problem:
        lines = self.written.split("\n")
        line = min(max(finding.line, 1), len(lines))
        column = self._written_column(lines[line - 1], finding.column)
        here = Location(
            file=self.place.file,
            line=self.place.line + line - 1,
            column=self.place.column + min(max(column, 1), len(lines[line - 1]) + 1) - 1,
        )
        return Problem(here, f"{finding.message} in case {case_id!r}", finding.hint)

    def _written_column(self, line: str, column: int) -> int:
        """Map a column of the substituted line to the line as written; one within a value maps to its placeholder."""
        shift = 0
        for found in _PLACEHOLDER.finditer(line):
            start, value = found.start() + 1, substitute(found[0], self.params)
            if column < start + shift:
                break
            if column < start + shift + len(value):
                return start
            shift += len(value) - len(found[0])
        return column - shift


def _problems(case: Case, params: Mapping[str, Scalar]) -> Iterator[Problem]:
    setup = _Part(written=case.setup, place=case.setup_location or case.location, params=params)
    program = _Part(written=case.program, place=case.program_location or case.location, params=params)
    found = list(_findings(setup, program, case.inputs))
    for part, finding in found or _uncompilable(case, setup, program):
        yield part.problem(finding, case.id)


def _findings(setup: _Part, program: _Part, inputs: Iterable[str]) -> Iterator[tuple[_Part, Violation]]:
    """Yield the violations of each text; the program may use names that the setup defines, not vice versa."""
    known = Vocabulary()
    setups: list[tuple[_Part, Iterable[str]]] = [(setup, ())] if setup.written else []
    for part, names in [*setups, (program, inputs)]:
        missing = _PLACEHOLDER.search(part.text)
        if missing:
            yield part, _unknown_param(missing, part)
            continue
        tree = parse(part.text)
        if isinstance(tree, Violation):
            yield part, tree
            continue
        nodes = list(ast.walk(tree))
        known |= Vocabulary.of(nodes, names)
        findings = [*check(nodes, part.text, known), *(check_body(tree) if part is program else ())]
        yield from ((part, finding) for finding in findings)


def _unknown_param(found: re.Match[str], part: _Part) -> Violation:
    before = found.string[: found.start()]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    hint = f"Known params: {', '.join(sorted(part.params)) or 'none'}. They are declared under axes.params."
    return Violation(line=line, column=column, message=f"unknown param {found[0]!r}", hint=hint)


def _assemble(case: Case, params: Mapping[str, Scalar]) -> tuple[str, int, int]:
    """Return the source, and the lines at which setup and program start in it."""
    setup, program = substitute(case.setup, params).rstrip(), substitute(case.program, params).rstrip()
    head = f"{_HEADER}\n\n{setup}\n" if setup else _HEADER
    head += f"\n\ndef program({', '.join(case.inputs)}):\n"
    return head + indent(program, " " * _INDENT) + "\n", _HEADER.count("\n") + 3, head.count("\n") + 1


def _uncompilable(case: Case, setup: _Part, program: _Part) -> list[tuple[_Part, Violation]]:
    """Find what only the compiler detects, such as a `break` outside a loop; nothing is executed."""
    source, setup_line, program_line = _assemble(case, program.params)
    try:
        compile(source, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None) or program_line, getattr(error, "offset", None) or 1
        message = f"not Python: {getattr(error, 'msg', 'nested too deeply')}"
        part, start, margin = (program, program_line, _INDENT) if line >= program_line else (setup, setup_line, 0)
        return [(part, Violation(line=line - start + 1, column=column - margin, message=message))]
    return []

"""Write a case as a case file, and edit its setup and program as syntax trees.

What `dump` writes, `conformance.catalogue.loader` reads back to an equal case. Keys are in the order of the
catalogue's files, defaults are left out, setup and program are literal blocks.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import yaml

from conformance.catalogue.yaml_source import compose
from conformance.model.case import CALLS, Call, InputSpec, Variant
from conformance.model.enums import Capability, Tier
from conformance.model.errors import UsageError
from conformance.model.moves import ALL, NO_MOVES, SEPARATOR, USUAL
from conformance.program import parsing
from conformance.program.build import substitute

if TYPE_CHECKING:
    from conformance.model.case import Case, ExpectedRaise

__all__ = ["Edit", "Texts", "dump", "edited", "filename", "pinned"]

_WIDTH = 118
_STRING = "tag:yaml.org,2002:str"
_AXES = ("grad", "autocast", "dtype", "dynamic")


def dump(case: Case) -> str:
    """Return the YAML of a file with this case alone. Comments and blanks at the ends of lines are lost.

    Raises:
        UsageError: no file can express it: it has a twin, variants that are no product of axes, or calls a user's
            function.
    """
    data = {"topic": case.topic, "cases": [_case(case)]}
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False)


def filename(case: Case) -> str:
    """Return the name of a file for one case: `<area>_<topic>_<name>.yaml` of the id `area.topic.name`."""
    return f"{'_'.join(case.id.split('.'))}.yaml"


Edit = Mapping[ast.AST, Sequence[ast.AST]]
"""The replacements of nodes of a tree; empty to drop a node."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Setup and program as syntax trees, with the params of the first variant substituted."""

    setup: ast.Module
    program: ast.Module

    @classmethod
    def of(cls, case: Case) -> Texts:
        """Parse those of a case."""
        params = case.variants[0].params
        setup, program = (parsing.parse(substitute(text, params)) for text in (case.setup, case.program))
        return cls(setup=setup, program=program)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node, in the order of `ast.walk`."""
        return [*ast.walk(self.setup), *ast.walk(self.program)]

    @cached_property
    def blocks(self) -> list[list[ast.stmt]]:
        """Every list of statements."""
        named = (getattr(node, name, []) for node in self.nodes for name in ("body", "orelse", "finalbody"))
        return [block for block in named if isinstance(block, list) and block]

    @cached_property
    def simple(self) -> list[ast.stmt]:
        """Every statement that has no blocks."""
        return [statement for block in self.blocks for statement in block if not hasattr(statement, "body")]

    @cached_property
    def loaded(self) -> set[str]:
        """The names that are read anywhere."""
        return {node.id for node in self.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    def loads(self, name: str) -> list[ast.Name]:
        """Every place where a name is read."""
        named = [node for node in self.nodes if isinstance(node, ast.Name) and node.id == name]
        return [node for node in named if isinstance(node.ctx, ast.Load)]

    def calls(self, name: str) -> list[ast.Call]:
        """Every call of a name."""
        loads = {*self.loads(name)}
        return [node for node in self.nodes if isinstance(node, ast.Call) and node.func in loads]

    def attributes(self, name: str) -> list[ast.Attribute]:
        """Every attribute access on a name."""
        loads = {*self.loads(name)}
        return [node for node in self.nodes if isinstance(node, ast.Attribute) and node.value in loads]

    def put_into(self, case: Case) -> Case:
        """Return the case with these texts."""
        setup, program = (
            f"{ast.unparse(ast.fix_missing_locations(tree))}\n" if tree.body else ""
            for tree in (self.setup, self.program)
        )
        return replace(case, setup=setup, program=program)

    def edited(self, edit: Edit) -> Texts:
        """Return both after an edit; these trees stay as they are."""
        (setup,), (program,) = (edited(tree, edit) for tree in (self.setup, self.program))
        assert isinstance(setup, ast.Module)  # noqa: S101 - an edit replaces no module
        assert isinstance(program, ast.Module)  # noqa: S101
        return Texts(setup=setup, program=program)

    def without_unused(self) -> Texts:
        """Drop the definitions of the setup that nothing reads."""
        defined = {statement: _defined(statement) for statement in self.setup.body}
        unused: dict[ast.AST, Sequence[ast.AST]] = {
            statement: [] for statement, names in defined.items() if names and names.isdisjoint(self.loaded)
        }
        return self.edited(unused).without_unused() if unused else self


def edited(node: ast.AST, edit: Edit) -> Sequence[ast.AST]:
    """Return the replacement of a node after an edit, which applies inside replacements too.

    A block that is left empty gets a `pass`; the node itself stays as it is.
    """
    if node in edit:
        rest = {old: new for old, new in edit.items() if old is not node}
        return [made for new in edit[node] for made in edited(new, rest)]
    values = {name: _edited_field(value, edit) for name, value in ast.iter_fields(node)}
    if values.get("body") == [] and not isinstance(node, ast.Module):
        values["body"] = [ast.Pass()]
    if isinstance(node, ast.Try) and not values["handlers"] and not values["finalbody"]:
        values["finalbody"] = [ast.Pass()]
    return [type(node)(**values)]


def _edited_field(value: object, edit: Edit) -> object:
    if isinstance(value, list):
        made = (edited(item, edit) if isinstance(item, ast.AST) else [item] for item in value)
        return [item for items in made for item in items]
    return edited(value, edit)[0] if isinstance(value, ast.AST) else value


def pinned(case: Case, variant: Variant) -> Case:
    """Return the case with one variant alone, whose params are put into the texts and shapes."""
    params = variant.params
    sized = {
        name: replace(spec, shape=tuple(int(params[size]) if isinstance(size, str) else size for size in spec.shape))
        for name, spec in case.inputs.items()
    }
    return replace(
        case,
        title=substitute(case.title, params),
        setup=substitute(case.setup, params),
        program=substitute(case.program, params),
        twin=substitute(case.twin, params),
        inputs=sized,
        variants=(replace(variant, params={}, tier=Tier.DEFAULT),),
        family=None,
    )


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a setup defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}


class _Block(str):
    """A text written as a literal block."""

    __slots__ = ()


class _Row(dict[str, Any]):
    """A mapping written on one line."""


class _Dumper(yaml.SafeDumper):
    """Indents lists, as the catalogue does, and writes no aliases, which the loader refuses."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        """Indent a list below its key too."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        """Write equal values again."""
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    """Write a text plain only if both YAML 1.1 and the suite's loader read it as text."""
    as_text = dumper.resolve(yaml.ScalarNode, value, (True, False)) == _STRING  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(_STRING, value, style=None if as_text and compose(value, "").data == value else '"')


def _block(dumper: yaml.SafeDumper, value: _Block) -> yaml.Node:
    lines = "\n".join(line.rstrip() for line in value.split("\n"))
    return dumper.represent_scalar(_STRING, lines, style="|")


def _row(dumper: yaml.SafeDumper, value: _Row) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    rows = any(isinstance(each, dict) for each in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=not rows)


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Block, _block)
_Dumper.add_representer(_Row, _row)
_Dumper.add_representer(list, _list)


def _case(case: Case) -> dict[str, Any]:
    if case.twin or case.function:
        what = "has a twin" if case.twin else "calls a function in a file"
        message = f"{case.id} {what}, which no case file can express"
        raise UsageError(message)
    keys: dict[str, Any] = {
        "id": case.id,
        "title": case.title,
        "clauses": list(case.clauses),
        "tags": sorted(case.tags),
        "source": case.source,
        "inputs": {name: _input(spec) for name, spec in case.inputs.items()},
        "setup": _Block(case.setup),
        "program": _Block(case.program),
        "calls": [] if case.calls == CALLS else [_Row(_call(call)) for call in case.calls],
        "axes": _axes(case),
        "moves": _moves(case),
        "raises": _raises(case.raises) if case.raises else None,
        "graph_breaks": case.graph_breaks,
        "recompiles": case.recompiles,
        "requires": [str(each) for each in Capability if each in case.requires],
        "checks": _Row({name: str(level) for name, level in case.checks.items()}),
        "tolerance": _Row(case.tolerance),
        "torch": case.torch,
        "timeout_s": case.timeout_s,
    }
    # `recompiles: 0` is no default.
    return {key: value for key, value in keys.items() if value or (key == "recompiles" and value is not None)}


def _input(spec: InputSpec) -> _Row:
    if spec.scalar is not None:
        return _Row(scalar=spec.scalar)
    if spec.alias_of is not None:
        return _Row(alias_of=spec.alias_of)
    return _Row({"shape": list(spec.shape)} | _changed(spec, InputSpec(shape=spec.shape)))


def _call(call: Call) -> dict[str, Any]:
    named = {key: _Row(value) if isinstance(value, dict) else value for key, value in _changed(call, Call()).items()}
    if call.shapes:
        named["shapes"] = _Row({name: list(shape) for name, shape in call.shapes.items()})
    return named


def _changed(spec: InputSpec | Call, default: InputSpec | Call) -> dict[str, Any]:
    """Return the fields that differ from the default, tuples as lists."""
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    changed = {name: value for name, value in values.items() if value != getattr(default, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def _moves(case: Case) -> str | list[str]:
    """Return what the key says; empty for the default, and where the program raises."""
    made = [variant.moves for variant in case.variants if variant.moves != NO_MOVES]
    if not made:
        return "" if case.raises or all(each.grad != "enabled" for each in case.variants) else NO_MOVES
    if made[0] == USUAL:
        return ""
    return made[0] if made[0] == ALL else made[0].split(SEPARATOR)


def _raises(raises: ExpectedRaise) -> _Row:
    return _Row(stage=str(raises.stage), type=raises.type)


def _axes(case: Case) -> _Row:
    """Return the axes whose product the variants are, without the one that makes moves if there are others."""
    variants = [each for each in case.variants if each.moves == NO_MOVES] or case.variants
    named = {name: list(dict.fromkeys(getattr(each, name) for each in variants)) for name in _AXES}
    params = {name: _distinct([each.params[name] for each in variants]) for name in variants[0].params}
    if [_point(each) for each in variants] != [
        (*fixed, tuple(zip(params, values, strict=True)))
        for fixed in product(*named.values())
        for values in product(*params.values())
    ]:
        message = f"the variants of {case.id} are no product of axes"
        raise UsageError(message)
    axes: dict[str, Any] = {name: values for name, values in named.items() if values != [getattr(Variant(), name)]}
    axes |= {"dynamic": ["auto" if each is None else each for each in named["dynamic"]]} if "dynamic" in axes else {}
    return _Row(axes, **({"params": _Row(params)} if params else {}))


def _distinct(values: list[Any]) -> list[Any]:
    """Return each value once; `1`, `1.0` and `True` are three."""
    return list({(type(value), value): value for value in values}.values())


def _point(variant: Variant) -> tuple[Any, ...]:
    return (*(getattr(variant, name) for name in _AXES), tuple(variant.params.items()))

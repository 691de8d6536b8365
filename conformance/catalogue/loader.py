"""Load cases from YAML files: every problem of every file at once, each with file:line:column."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING

from conformance.catalogue.case_set import files_of, whole
from conformance.catalogue.documents import CaseDocument, CaseFileDocument, FamilyDocument
from conformance.catalogue.families import broken_family, expand
from conformance.catalogue.rules import broken_inputs, broken_rules, is_argument
from conformance.catalogue.validation import validate
from conformance.catalogue.yaml_source import compose
from conformance.isolation.garbage import uncollected
from conformance.model.case import CALLS, Call, Case, ExpectedRaise, InputSpec, Location, Variant
from conformance.model.enums import Capability, Level, Stage
from conformance.model.errors import Problem
from conformance.model.moves import NO_MOVES, SEPARATOR
from conformance.program.build import problems as program_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from conformance.catalogue.documents import AxesDocument, CallDocument, InputDocument
    from conformance.catalogue.yaml_source import Document
    from conformance.catalogue.yaml_source import Path as Keys

__all__ = ["case_of", "load_cases", "load_folder"]

# Keys that the check of a program needs; it reports its findings even if other keys are wrong.
_CORE = frozenset({"id", "title", "program", "setup", "inputs", "axes"})


def load_cases(folders: Sequence[Traversable | Path] = ()) -> tuple[Case, ...]:
    """Read every `*.yaml` of `folders` (or one file); default: the cases that come with the suite.

    Raises:
        CaseError: with every problem of every file.
    """
    sources = [(folder, str(folder)) for folder in folders] or [(files("conformance.cases"), "cases")]
    return whole(each for folder, label in sources for each in load_folder(folder, label))


def load_folder(folder: Traversable | Path, label: str) -> list[Case | Problem]:
    """Read every `*.yaml` of a folder (or one file): the valid cases, and the problems of the rest.

    Args:
        folder: of case files.
        label: its name in locations.
    """
    # Loading makes no cyclic garbage; to look for some takes a quarter of the time.
    with uncollected():
        return list(_load_folder(folder, label))


def _load_folder(folder: Traversable | Path, label: str) -> Iterator[Case | Problem]:
    if folder.is_file():
        yield from _load_file(folder, label)
        return
    entries = files_of(folder)
    if not entries:
        yield Problem(Location(file=label), "no case file (*.yaml) here")
    for entry in entries:
        yield from _load_file(entry, f"{label}/{entry.name}")


def _load_file(entry: Traversable | Path, file: str) -> Iterator[Case | Problem]:
    try:
        text = entry.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        yield Problem(Location(file=file), f"cannot be read: {error}")
        return
    document = compose(text, file)
    yield from document.problems
    if document.root is None and document.problems:
        return
    head, problems = validate(CaseFileDocument, document, document.data, subject="in a file of cases")
    yield from problems
    data, topic = document.data, head.topic if head else "?"
    if isinstance(data, dict) and data.keys().isdisjoint({"cases", "families"}):
        yield document.problem((), "a file of cases needs the key 'cases' or 'families'")
    for key, load in (("cases", _load_case), ("families", _load_family)):
        raw = data.get(key) if isinstance(data, dict) else None
        for index, each in enumerate(raw if isinstance(raw, list) else ()):
            yield from load(document, (key, index), each, topic)


def _load_family(document: Document, path: Keys, data: object, topic: str) -> Iterator[Case | Problem]:
    subject = f"in family {data['id']!r}" if isinstance(data, dict) and "id" in data else ""
    form, problems = validate(FamilyDocument, document, data, path, subject=subject)
    yield from problems
    if form is None:
        return
    rules = [*broken_inputs(form.inputs), *broken_family(form)]
    broken = [
        document.problem((*path, *each.path), f"{each.message} {subject}", each.hint, key=each.key) for each in rules
    ]
    broken += _misplaced(document, path, f"family {form.id!r}", ("setup", "probe"))
    base = _base(document, path, form, topic)
    if form.probe and all(map(is_argument, form.inputs)):
        texts = program_problems(base)
        broken += (
            Problem(each.location, each.message.replace(" in case ", " in family "), each.hint) for each in texts
        )
    yield from broken or expand(form, base)


def _base(document: Document, path: Keys, form: FamilyDocument, topic: str) -> Case:
    """Return a case with what the cases of a family share; its program is the probe alone, to check it in its place.

    The rest of their programs is generated.
    """
    given, start = "return ", document.text_location((*path, "probe")) or document.location((*path, "probe"))
    return Case(
        id=form.id,
        title=form.title,
        topic=topic,
        program=given + (form.probe or ""),
        setup=form.setup,
        location=document.location(path),
        program_location=replace(start, column=start.column - len(given)),
        setup_location=document.text_location((*path, "setup")) if form.setup else None,
        inputs={name: _input(spec) for name, spec in form.inputs.items()},
        requires=frozenset(map(Capability, form.requires)),
    )


def _load_case(document: Document, path: Keys, data: object, topic: str) -> Iterator[Case | Problem]:
    subject = f"in case {data['id']!r}" if isinstance(data, dict) and "id" in data else ""
    form, problems = validate(CaseDocument, document, data, path, subject=subject)
    if form is None:
        core = {key: value for key, value in data.items() if key in _CORE} if isinstance(data, dict) else None
        form, _ = validate(CaseDocument, document, core, path)
    yield from problems
    if form is None:
        return
    broken = [*_semantic_problems(document, path, form)]
    case = _case(document, path, form, topic)
    if case.program_location and all(map(is_argument, case.inputs)):
        broken += program_problems(case)
    yield from broken
    if not broken and not problems:
        yield case


def _semantic_problems(document: Document, path: Keys, form: CaseDocument) -> Iterator[Problem]:
    for broken in broken_rules(form):
        message = f"{broken.message} in case {form.id!r}"
        yield document.problem((*path, *broken.path), message, broken.hint, key=broken.key)
    yield from _misplaced(document, path, f"case {form.id!r}", ("program", "setup"))


def _misplaced(document: Document, path: Keys, what: str, texts: Sequence[str]) -> Iterator[Problem]:
    """Report an id in a file of another area, and texts whose lines are not the file's; `what` is e.g. `case 'a.b'`."""
    stem, area = document.file.rpartition("/")[2].removesuffix(".yaml"), what.split("'")[1].partition(".")[0]
    if stem != area and not stem.startswith(f"{area}_"):
        hint = f"The file is named <area>_<topic>.yaml; the area of this id is {area!r}."
        yield document.problem((*path, "id"), f"the {what} does not belong in {document.file}", hint)
    for key in texts:
        if document.text_location((*path, key)) is None:
            hint = f"Write it as a literal block, {key}: | and the text below, so that its lines are the file's lines."
            yield document.problem((*path, key), f"a {key} of several lines that is not a literal block", hint)


def _case(document: Document, path: Keys, form: CaseDocument, topic: str) -> Case:
    return replace(
        case_of(form, topic, document.location(path)),
        program_location=document.text_location((*path, "program")),
        setup_location=document.text_location((*path, "setup")) if form.setup else None,
    )


def case_of(form: CaseDocument, topic: str, location: Location) -> Case:
    """Return the case that a document describes, without the places of its texts."""
    return Case(
        id=form.id,
        title=form.title,
        topic=topic,
        program=form.program,
        setup=form.setup,
        location=location,
        clauses=tuple(form.clauses),
        inputs={name: _input(spec) for name, spec in form.inputs.items()},
        variants=(*_variants(form.axes), *_with_moves(form)),
        calls=tuple(_call(call) for call in form.calls) if form.calls else CALLS,
        raises=ExpectedRaise(stage=Stage(form.raises.stage), type=form.raises.type) if form.raises else None,
        requires=frozenset(map(Capability, form.requires)),
        checks={name: Level(level) for name, level in form.checks.items()},
        graph_breaks=form.graph_breaks,
        recompiles=form.recompiles,
        tolerance=dict(form.tolerance),
        tags=frozenset(form.tags),
        source=form.source,
        torch=form.torch,
        timeout_s=form.timeout_s,
    )


def _input(form: InputDocument) -> InputSpec:
    return InputSpec(
        shape=tuple(form.shape or ()),
        dtype=form.dtype,
        requires_grad=form.requires_grad,
        stride=None if form.stride is None else tuple(form.stride),
        distribution=form.distribution,
        low=form.low,
        high=form.high,
        values=None if form.values is None else tuple(form.values),
        scalar=form.scalar,
        leaf=form.leaf,
        inference=form.inference,
        alias_of=form.alias_of,
        view_of=form.view_of,
        offset=form.offset,
    )


def _call(form: CallDocument) -> Call:
    given = form.model_dump(exclude={"shapes"})
    return Call(shapes={name: tuple(shape) for name, shape in form.shapes.items()}, **given)


def _with_moves(form: CaseDocument) -> Iterator[Variant]:
    """Yield the variant in which the caller makes moves: the first that records, unless the program raises."""
    moves = form.moves if isinstance(form.moves, str) else SEPARATOR.join(form.moves)
    recorded = next((variant for variant in _variants(form.axes) if variant.grad == "enabled"), None)
    if moves != NO_MOVES and recorded and not form.raises:
        yield replace(recorded, moves=moves)


def _variants(axes: AxesDocument) -> Iterator[Variant]:
    fixed = product(axes.grad, axes.autocast, axes.dtype, axes.dynamic)
    for (grad, autocast, dtype, dynamic), values in product(fixed, list(product(*axes.params.values()))):
        params = dict(zip(axes.params, values, strict=True))
        mode = None if dynamic == "auto" else dynamic
        yield Variant(grad=grad, autocast=autocast, dtype=dtype, dynamic=mode, params=params)

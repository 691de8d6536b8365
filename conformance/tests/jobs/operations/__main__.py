"""Write `cases/operations.json` anew."""

from __future__ import annotations

import json
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.catalogue.operations import operations
from conformance.model.case import InputSpec
from conformance.model.enums import Tier
from conformance.tests.jobs.operations.calls import NotWritable
from conformance.tests.jobs.operations.describe import described
from conformance.tests.jobs.operations.further import FURTHER, aliases, further
from conformance.tests.jobs.operations.marks import marked
from conformance.tests.jobs.operations.points import (
    DTYPES,
    FLOATING,
    plainest,
    prepared,
    request_at,
    working,
)
from conformance.tests.jobs.operations.reached import read_reached, write_reached
from conformance.tests.jobs.operations.samples import overloads_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from conformance.catalogue.operations import Operation, Sample

PATH = Path("cases", OPERATIONS_DATA)
_LIMIT_S = 180
_UNSTABLE = "it differs from itself, or raises, uncompiled"
Described = list[tuple["Operation", frozenset[str]]]
_MARKS = {Tier.DEFAULT: "!", Tier.FAST: "+", Tier.EXHAUSTIVE: ""}


def main(names: list[str]) -> None:
    """Describe every operation, or those of these names, and write them; the others stay as they were."""
    if "--check" in names:
        sys.exit(int(_differs({*names} - {"--check"})))
    entries = [each for each in [*op_db, *FURTHER] if not names or _name(each) in names]
    made: dict[str, Operation] = {each.id: each for each in operations()} if names else {}
    left_out: dict[str, str] = json.loads(PATH.read_text())["left_out"] if names else {}
    reached: dict[str, frozenset[str]] = read_reached() if names else {}
    for entry, result in _described(entries):
        if isinstance(result, str):
            left_out[_full(entry)] = result
            continue
        left_out.pop(_full(entry), None)
        for operation, overloads in result:
            name = f"{operation.id}_again" if operation.id in made and not names else operation.id
            made[name], reached[name] = replace(operation, id=name), overloads
            sys.stderr.write(f"{name}: {len(operation.points)} points\n")
    _write(marked(list(made.values()), reached), left_out, reached)


def _differs(names: AbstractSet[str]) -> bool:
    """Whether the file has other operations of these names than are described now; `marked` may have added points."""
    known = {each.id: each for each in operations()}
    entries = [each for each in op_db if each.name in names]
    made = [each for entry in entries for each in _operations(op_db.index(entry))]
    differing = [each.id for each in made if each.id not in known or not _is_within(each, known[each.id])]
    sys.stdout.write("".join(f"{name} is out of date in {PATH}\n" for name in differing))
    return bool(differing) or not made


def _is_within(made: Operation, known: Operation) -> bool:
    samples = {layout: list(several) for layout, several in made.samples.items()}
    same = replace(made, samples=samples, points={}) == replace(known, points={})
    return same and made.points.keys() <= known.points.keys()


def _write(found: Sequence[Operation], left_out: Mapping[str, str], reached: Mapping[str, AbstractSet[str]]) -> None:
    data = {
        "torch": str(torch.__version__).partition("+")[0],
        "operations": [_plain(each) for each in sorted(found, key=lambda each: each.group)],
        "left_out": dict(sorted(left_out.items())),
    }
    PATH.write_text(_text(data), encoding="utf-8")
    write_reached(reached)


def _described(entries: Sequence[Any]) -> Iterator[tuple[Any, Described | str]]:
    """Each entry with its operations, or why it is left out; what ends the process is a reason too."""
    context = get_context("fork")
    pool = ProcessPoolExecutor(1, mp_context=context)
    for entry in entries:
        task = pool.submit(_attempt, entry if isinstance(entry, str) else op_db.index(entry))
        try:
            yield entry, task.result(timeout=_LIMIT_S)
        except (BrokenProcessPool, TimeoutError) as error:
            pool.shutdown(wait=False, cancel_futures=True)
            pool = ProcessPoolExecutor(1, mp_context=context)
            yield entry, f"{type(error).__name__} while it was described"
    pool.shutdown()


def _attempt(entry: int | str) -> Described | str:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        made = list(_operations(entry))
    except NotWritable as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 - the one operation is left out, with the reason
        return f"{type(error).__name__}: {error}".partition("\n")[0][:100]
    return [(each, frozenset(_reached(each))) for each in made if each.points] or _UNSTABLE


def _operations(entry: int | str) -> Iterator[Operation]:
    """The operation of an entry with its points, and its other names at the plainest one of each form."""
    if isinstance(entry, str):
        (operation,) = (each for each in further() if each.id == f"further.{entry}")
        yield replace(operation, points=working(operation, FLOATING))
        return
    op = op_db[entry]
    operation = described(op)
    yield replace(operation, points=working(operation, _dtypes(op)))
    for alias in aliases(op, operation):
        yield replace(alias, points=plainest(alias, _dtypes(op)))


def _reached(operation: Operation) -> set[str]:
    """The overloads that programs of an operation reach, one of each form and layout."""
    placed = {(point.form, point.layout): point for point in reversed(list(operation.points))}
    return {
        overload
        for point in placed.values()
        for overload in overloads_of(prepared(request_at(operation, point)))
        if not overload.startswith(("autograd::", "profiler::"))
    }


def _name(entry: Any) -> str:
    return entry if isinstance(entry, str) else str(entry.name)


def _full(entry: Any) -> str:
    return entry if isinstance(entry, str) else f"{entry.name}.{entry.variant_test_name}".rstrip(".")


def _dtypes(op: Any) -> list[str]:
    known = {str(each).removeprefix("torch.") for each in op.supported_dtypes("cpu")}
    return [each for each in DTYPES if each in known]


def _plain(operation: Operation) -> dict[str, Any]:
    keys = ("id", "function", "method", "in_place", "out", "torch", "requires")
    named = {key: getattr(operation, key) for key in keys}
    places: dict[str, list[str]] = {}
    for point, tier in operation.points.items():
        places.setdefault(f"{point.form}.{point.layout}", []).append(f"{point.dtype}.{point.ambient}{_MARKS[tier]}")
    found = {layout: [_sample(each) for each in several] for layout, several in operation.samples.items()}
    points = {place: " ".join(words) for place, words in places.items()}
    return {key: value for key, value in named.items() if value} | {"samples": found, "points": points}


def _sample(sample: Sample) -> dict[str, Any]:
    inputs = {name: _input(spec) for name, spec in sample.inputs.items()}
    given = {"first": sample.first, "rest": sample.rest, "lines": list(sample.lines), "inputs": inputs}
    return {key: value for key, value in given.items() if value or key in {"first", "inputs"}}


def _input(spec: InputSpec) -> dict[str, Any]:
    plain = InputSpec()
    return {
        each.name: getattr(spec, each.name)
        for each in fields(spec)
        if each.name == "shape" or getattr(spec, each.name) != getattr(plain, each.name)
    }


def _text(data: dict[str, Any]) -> str:
    """One line an operation."""
    operations = ",\n".join(json.dumps(each) for each in data.pop("operations"))
    rest = json.dumps(data, indent=1)
    return f'{{\n"operations": [\n{operations}\n],\n{rest.removeprefix("{").lstrip()}\n'


if __name__ == "__main__":
    main(sys.argv[1:])

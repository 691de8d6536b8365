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
from conformance.model.case import InputSpec
from conformance.model.enums import Tier
from conformance.tests.jobs.operations.calls import NotWritable
from conformance.tests.jobs.operations.describe import described
from conformance.tests.jobs.operations.points import DTYPES, prepared, request_at, working
from conformance.tests.jobs.operations.samples import overloads_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.catalogue.operations import Operation, Sample

PATH = Path("cases", OPERATIONS_DATA)
_LIMIT_S = 180
_UNSTABLE = "it differs from itself, or raises, uncompiled"
Described = tuple["Operation", frozenset[str]]
_MARKS = {Tier.DEFAULT: "!", Tier.FAST: "+", Tier.EXHAUSTIVE: ""}


def main(names: list[str]) -> None:
    """Describe every operation, or those of these names, and write them."""
    made: list[Operation] = []
    left_out: dict[str, str] = {}
    reached: dict[str, str] = {}
    for op, result in _described([each for each in op_db if not names or each.name in names]):
        if isinstance(result, str):
            left_out[_full(op)] = result
            continue
        operation, overloads = result
        if operation.id in {each.id for each in made}:
            operation = replace(operation, id=f"{operation.id}_again")
        made.append(operation)
        reached = dict.fromkeys(sorted(overloads), operation.id) | reached
        sys.stderr.write(f"{operation.id}: {len(operation.points)} points\n")
    data = {
        "torch": str(torch.__version__).partition("+")[0],
        "operations": [_plain(each) for each in sorted(made, key=lambda each: each.group)],
        "left_out": dict(sorted(left_out.items())),
        "overloads": dict(sorted(reached.items())),
    }
    PATH.write_text(_text(data), encoding="utf-8")


def _described(ops: list[Any]) -> Iterator[tuple[Any, Described | str]]:
    """Each entry with its operation, or why it is left out; what ends the process is a reason too."""
    context = get_context("fork")
    pool = ProcessPoolExecutor(1, mp_context=context)
    for op in ops:
        try:
            yield op, pool.submit(_attempt, op_db.index(op)).result(timeout=_LIMIT_S)
        except (BrokenProcessPool, TimeoutError) as error:
            pool.shutdown(wait=False, cancel_futures=True)
            pool = ProcessPoolExecutor(1, mp_context=context)
            yield op, f"{type(error).__name__} while it was described"
    pool.shutdown()


def _attempt(index: int) -> Described | str:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    op = op_db[index]
    try:
        operation = described(op)
        operation = replace(operation, points=working(operation, _dtypes(op)))
        return (operation, frozenset(_reached(operation))) if operation.points else _UNSTABLE
    except NotWritable as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 - the one operation is left out, with the reason
        return f"{type(error).__name__}: {error}".partition("\n")[0][:100]


def _reached(operation: Operation) -> set[str]:
    """The overloads that programs of an operation reach, one of each form and layout."""
    placed = {(point.form, point.layout): point for point in reversed(list(operation.points))}
    return {
        overload
        for point in placed.values()
        for overload in overloads_of(prepared(request_at(operation, point)))
        if not overload.startswith(("autograd::", "profiler::"))
    }


def _full(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}".rstrip(".")


def _dtypes(op: Any) -> list[str]:
    known = {str(each).removeprefix("torch.") for each in op.supported_dtypes("cpu")}
    return [each for each in DTYPES if each in known]


def _plain(operation: Operation) -> dict[str, Any]:
    named = {key: getattr(operation, key) for key in ("id", "function", "method", "in_place", "out", "requires")}
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

"""Write `conformance/report/operation_uses.json`: how many functions and modules of real models call each operation.

They are those of `conformance.tests.jobs.practice`, each called once, uncompiled and forward. What a function of
PyTorch calls in turn does not count, nor does an attribute.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter, defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name

from conformance.catalogue.operations import operations
from conformance.report.operation_uses import PATH
from conformance.tests.jobs.practice_runs import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from conformance.catalogue.operations import Operation

_OPERATORS = {"__invert__": "bitwise_not", "__rtruediv__": "__rdiv__"}
"""Operators of Python that stand for another name than their own without underscores."""


class Called(TorchFunctionMode):
    """Records the functions of PyTorch that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: set[Callable[..., Any]] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        self.functions.add(func)
        return func(*args, **(kwargs or {}))


def main() -> None:
    """Count, and write."""
    names = functions()
    known = by_name(operations())
    counts = Counter(operation for name in names for operation in called(name, known))
    counted = {"functions": len(names), "uses": counts}
    PATH.write_text(f"{json.dumps(counted, indent=2, sort_keys=True)}\n", encoding="utf-8")
    sys.stdout.write(f"wrote {PATH.name}: {len(counts)} operations that {len(names)} functions call\n")


def called(name: str, known: Mapping[str, AbstractSet[str]]) -> set[str]:
    """Return the operations that a function of `practice` calls, by their ids."""
    domain, _, function = name.partition(".")
    module = import_module(f"conformance.tests.jobs.practice.{domain}")
    program, arguments = getattr(module, function), getattr(module, f"{function}_inputs")()
    with warnings.catch_warnings(), Called() as seen:
        warnings.simplefilter("ignore")
        program = program() if isinstance(program, type) else program
        program(*(arguments if isinstance(arguments, tuple) else (arguments,)))
    return {operation for each in seen.functions for operation in _operations_of(resolve_name(each) or "", known)}


def by_name(described: Iterable[Operation]) -> dict[str, set[str]]:
    """The ids of operations by what a program calls: `torch.nn.functional.relu`, `torch.Tensor.add_`.

    An operation without names of its own goes by its id: as a method if it is of `torch`.
    """
    known: defaultdict[str, set[str]] = defaultdict(set)
    for each in described:
        group, _, short = each.id.partition(".")
        names = [each.function.replace("F.", "torch.nn.functional.", 1)] if each.function else []
        names += [f"torch.Tensor.{method}" for method in (each.method, each.in_place) if method]
        own = {"torch": ("torch.Tensor", "torch"), "nn_functional": ("torch.nn.functional",)}.get(group, ())
        for name in names or [f"{home}.{short}" for home in own]:
            known[name].add(each.id)
    return known


def _operations_of(name: str, known: Mapping[str, AbstractSet[str]]) -> AbstractSet[str]:
    """The operations that a public name of PyTorch stands for."""
    home, _, short = name.replace("torch.functional.", "torch.").rpartition(".")
    short = _OPERATORS.get(short, short)
    return known.get(f"{home}.{short}") or known.get(f"{home}.{short.strip('_')}") or frozenset()


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

"""Prediction of flags and modes of a case, from PyTorch's documentation and without PyTorch.

Uncompiled eager is compared with it: where the two differ, one of them is wrong, and the case is invalid until it is
known which. For the results of a call, the oracle predicts `requires_grad`, `is_inference`, dtype, and the values of
`is_grad_enabled` and similar queries; also the modes that the call leaves.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from conformance.oracle.interpreter import Interpreter, NotModelledError
from conformance.oracle.modes import Modes, ambient
from conformance.oracle.values import UNKNOWN, Tensor
from conformance.program.build import substitute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conformance.model.case import Call, Case, InputSpec, Variant

__all__ = ["NotModelledError", "Prediction", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction for one call: facts of tensors by path, values of Python leaves by path, and the modes it leaves."""

    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    values: Mapping[str, bool] = field(default_factory=dict)
    modes: Modes


def predict(case: Case, variant: Variant) -> list[Prediction]:
    """Interpret each call of a case in one variant.

    Raises:
        NotModelledError: the program does something that the oracle does not model.
    """
    setup, program = (_tree(substitute(text, variant.params)) for text in (case.setup, case.program))
    predictions = []
    for call in case.calls:
        shared = {spec.base for spec in case.inputs.values()}
        inputs = {
            # What happens to one of two inputs that share memory happens to the other.
            name: UNKNOWN if spec.base or name in shared else _input(name, spec, variant, call)
            for name, spec in case.inputs.items()
        }
        run = Interpreter(ambient(call.grad or variant.grad, call.autocast or variant.autocast))
        leaves = dict(_leaves("output", run.call(setup, program, inputs)))
        facts = {path: _facts(leaf) for path, leaf in leaves.items() if isinstance(leaf, Tensor)}
        values = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, bool)}
        predictions.append(Prediction(facts=facts, values=values, modes=run.modes))
    return predictions


@lru_cache(maxsize=256)
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _input(name: str, spec: InputSpec, variant: Variant, call: Call) -> object:
    if spec.scalar is not None:
        return call.scalars.get(name, spec.scalar)
    dtype = spec.dtype or call.dtype or variant.dtype
    requires_grad = call.requires_grad.get(name, spec.requires_grad)
    return Tensor(dtype=dtype, requires_grad=requires_grad, is_inference=spec.inference)


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Leaves by the paths that snapshots use."""
    if isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _leaves(f"{path}[{index}]", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{path}[{key!r}]", part)
    else:
        yield path, value


def _facts(tensor: Tensor) -> dict[str, str]:
    return {
        "dtype": f"torch.{tensor.dtype}",
        "requires_grad": str(tensor.requires_grad),
        "is_inference": str(tensor.is_inference),
    }

"""The catalogue of checks: their names, their levels and what they compare.

Importing it imports no torch: the parent needs the names, only a child runs the checks (`conformance.checks.run`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from conformance.model.enums import Level
from conformance.model.moves import MOVES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CATALOGUE", "CheckSpec"]


@dataclass(frozen=True, kw_only=True)
class CheckSpec:
    """Name of one check, its level, and what it compares. With `asked`, it runs only where it is requested.

    `is_move`: it compares what a caller sees who makes one of `conformance.model.moves`.
    """

    name: str
    level: Level
    sees: str
    asked: bool = False
    is_move: bool = False


_SPECS = (
    CheckSpec(name="values", level=Level.MUST, sees="first call: structure, shape, dtype and numbers of every output"),
    CheckSpec(
        name="gradients", level=Level.MUST, sees="first call: None or not, dtype, shape and numbers of every gradient"
    ),
    CheckSpec(name="calls", level=Level.MUST, sees="later calls: outputs and gradients on new values and weights"),
    CheckSpec(name="retention", level=Level.MUST, sees="what an earlier call returned, after the later calls"),
    CheckSpec(name="double_backward", level=Level.MUST, sees="gradients of gradients", asked=True),
    CheckSpec(name="autograd_flags", level=Level.MUST, sees="requires_grad, is_leaf, grad_fn, is_inference"),
    CheckSpec(name="layout", level=Level.MUST, sees="strides and storage offset of outputs; of gradients as advisory"),
    CheckSpec(name="aliasing", level=Level.MUST, sees="which results are, or share storage with, what"),
    CheckSpec(name="mutation", level=Level.MUST, sees="inputs, weights, buffers, cotangents after call and backward"),
    CheckSpec(name="ambient", level=Level.MUST, sees="modes, hooks, RNG, threads and default dtype after each call"),
    CheckSpec(name="exceptions", level=Level.MUST, sees="what was raised, at the call or in backward"),
    CheckSpec(name="metamorphic", level=Level.MUST, sees="a twin of the program, which must do the same", asked=True),
    CheckSpec(name="compiled", level=Level.MUST, sees="proof that the backend compiled and ran a graph"),
    CheckSpec(name="graph_count", level=Level.SHOULD, sees="graph breaks and recompiles against what the case allows"),
    CheckSpec(name="saved_bytes", level=Level.SHOULD, sees="bytes that autograd saved for backward"),
    CheckSpec(name="printed", level=Level.SHOULD, sees="whether call and backward print to stdout and stderr"),
    *(
        CheckSpec(name=move.check, level=Level.MUST, sees=move.does, asked=True, is_move=True)
        for move in MOVES.values()
    ),
)

CATALOGUE: Mapping[str, CheckSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})

"""Observations of uncompiled runs whose inputs all move by a unit in the last place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from conformance.observation.repertoire import observe
from conformance.observation.seeding import stream
from conformance.observation.tensors import inner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.observation.driver import Role, RoleObservation

__all__ = ["TRIALS", "nudged"]

TRIALS = 4
"""The number of perturbed runs: the largest of so many distances is hardly ever below a tenth of the usual one."""

_COUNTS = 4096.0  # whole numbers below are flags, counts and labels, which rounding does not produce


def nudged(make: Callable[[], Role], unit: float, moves: Sequence[str] = ()) -> list[RoleObservation]:
    """Run a role several times with inputs, weights and cotangents moved, each time in other random directions.

    Args:
        make: makes the role anew.
        unit: how far numbers are moved, relative to themselves.
        moves: names of the moves that are made too.
    """
    return [observe(_moved(make(), unit, trial), moves) for trial in range(TRIALS)]


def _moved(role: Role, unit: float, trial: int) -> Role:
    generator = stream(role.request.seed, "nudge", trial)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return _nudge(tensor, unit, generator)

    for tensor in role.state().values():
        move(tensor)
    return replace(role, prepare=move, cotangent=move)


def _nudge(tensor: torch.Tensor, unit: float, generator: torch.Generator) -> torch.Tensor:
    """Move each number in a tensor's memory by `unit` of itself, up or down; small whole numbers stay.

    The tensor keeps its identity, its layout and its version.
    """
    if parts := inner(tensor):
        for part in parts.values():
            _nudge(part, unit, generator)
        return tensor
    plain = tensor.data
    if not (plain.is_floating_point() or plain.is_complex()) or plain.layout is not torch.strided or plain.is_conj():
        return tensor
    storage = plain.untyped_storage()
    with torch.inference_mode(plain.is_inference()), torch.no_grad():
        numbers = plain.as_strided((storage.nbytes() // plain.itemsize,), (1,), 0)
        numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
        signs = (torch.randint(0, 2, numbers.shape, generator=generator) * 2 - 1).to(numbers.device)
        stays = (numbers == numbers.round()) & (numbers.abs() < _COUNTS)
        numbers.copy_(torch.where(stays, numbers, numbers * (1 + signs.double() * unit)))
    return tensor

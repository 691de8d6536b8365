"""Uncompiled eager held against the oracle: a case where they differ is invalid until one is known to be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.oracle.prediction import NotModelledError, Prediction, predict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.request import Request
    from conformance.observation.driver import CallObservation, RoleObservation

__all__ = ["compare"]


def compare(request: Request, expected: RoleObservation) -> tuple[int, str | None]:
    """On how many leaves both agree, and where they do not; 0 and None where nothing is predicted."""
    try:
        predictions = predict(request.case, request.variant)
    except NotModelledError:
        return 0, None
    leaves = 0
    for index, (prediction, call) in enumerate(zip(predictions, expected.calls, strict=False)):
        if call.raised is not None:
            continue
        for difference in _differences(prediction, call):
            return 0, f"the uncompiled program and the oracle disagree in call[{index}].{difference}"
        leaves += len(prediction.facts) + len(prediction.values)
    return leaves, None


def _differences(prediction: Prediction, call: CallObservation) -> Iterator[str]:
    for path, facts in prediction.facts.items():
        seen = call.outputs[path].facts if path in call.outputs else {}
        for name, wanted in facts.items():
            if seen.get(name) != wanted:
                yield f"{path}: {name} is {seen.get(name, 'absent')}, the oracle says {wanted}"
    for path, value in prediction.values.items():
        leaf = call.outputs.get(path)
        if leaf is None or leaf.value is not value:
            yield f"{path}: it is {leaf.value if leaf else 'absent'}, the oracle says {value}"
    state, modes = call.after_call, prediction.modes
    if state is not None:
        seen_modes = (state.grad_mode, state.inference_mode, state.autocast, state.autocast_dtype)
        right = (modes.grad, modes.inference, modes.autocast, f"torch.{modes.dtype}")
        if seen_modes != right:
            yield f"after_call: grad, inference, autocast and its dtype are {seen_modes}, the oracle says {right}"

"""Compare uncompiled eager with the oracle: a case where they differ is invalid until one is known to be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.oracle.prediction import NotModelledError, Prediction, predict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.request import Request
    from conformance.observation.driver import CallObservation, RoleObservation

__all__ = ["compare"]


def compare(request: Request, expected: RoleObservation) -> tuple[int, str | None]:
    """Return the number of leaves that agree, and the first disagreement; 0 and None if nothing is predicted."""
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
        actual = call.outputs[path].facts if path in call.outputs else {}
        for name, expected in facts.items():
            if actual.get(name) != expected:
                yield f"{path}: {name} is {actual.get(name, 'absent')}, the oracle predicts {expected}"
    for path, value in prediction.values.items():
        leaf = call.outputs.get(path)
        if leaf is None or leaf.value is not value:
            yield f"{path}: it is {leaf.value if leaf else 'absent'}, the oracle predicts {value}"
    state, modes = call.after_call, prediction.modes
    if state is not None:
        left = (state.grad_mode, state.inference_mode, state.autocast, state.autocast_dtype)
        right = (modes.grad, modes.inference, modes.autocast, f"torch.{modes.dtype}")
        if left != right:
            yield f"after_call: grad, inference, autocast and its dtype are {left}, the oracle predicts {right}"

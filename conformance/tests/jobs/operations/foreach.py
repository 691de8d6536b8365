"""Programs of the operations on lists of tensors, which optimizers call."""

from __future__ import annotations

from conformance.model.case import InputSpec

__all__ = ["FOREACH"]

_UNARY = """
    abs acos asin atan ceil clone cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal
    round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc max norm
"""
_BINARY = "add sub mul div maximum minimum clamp_max clamp_min pow"
_TERNARY = "addcdiv addcmul"
_NUMBER = InputSpec(shape=(2, 3), requires_grad=True, distribution="uniform", low=0.1, high=0.9)
_INPUTS = dict.fromkeys(("a", "b", "c", "d"), _NUMBER)
_SEVERAL = ("[c, d]", "2.0", "[2.0, 3.0]")


def _calls(names: str, others: tuple[str, ...]) -> str:
    return ", ".join(f"torch._foreach_{name}([a, b]{other})" for name in names.split() for other in others)


FOREACH: dict[str, tuple[str, dict[str, InputSpec]]] = {
    "foreach_unary": (_calls(_UNARY, ("",)), _INPUTS),
    "foreach_binary": (
        _calls(_BINARY, tuple(f", {other}" for other in _SEVERAL)) + ", torch._foreach_pow(2.0, [a, b])",
        _INPUTS,
    ),
    "foreach_ternary": (
        _calls(_TERNARY, (", [c, d], [d, c]", ", [c, d], [d, c], value=2.0", ", [c, d], [d, c], [2.0, 3.0]")),
        _INPUTS,
    ),
    "foreach_with_tensor": (
        "torch._foreach_add([a, b], t), torch._foreach_mul([a, b], t), torch._foreach_div([a, b], t)",
        _INPUTS | {"t": InputSpec(shape=(), distribution="uniform", low=0.5)},
    ),
    "foreach_lerp": (
        (
            "torch._foreach_lerp([a, b], [c, d], [d, c]), torch._foreach_lerp([a, b], [c, d], 0.3),"
            " torch._foreach_lerp([a, b], [c, d], [0.3, 0.4])"
        ),
        _INPUTS,
    ),
}
"""Programs by name: what is returned, and the inputs."""

"""Operations that `op_db` has no entry of: other names of its operations, and what programs call that it leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from conformance.catalogue.operations import Operation, Sample
from conformance.model.case import InputSpec
from conformance.tests.jobs.operations.calls import short_name
from conformance.tests.jobs.operations.describe import identifier, own_name, seen
from conformance.tests.jobs.operations.foreach import FOREACH

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FURTHER", "aliases", "further"]

_MATRIX = InputSpec(shape=(3, 4), requires_grad=True)
_WEIGHTS = {
    "w": InputSpec(shape=(12, 4), requires_grad=True),
    "u": InputSpec(shape=(12, 3), requires_grad=True),
    "b": InputSpec(shape=(12,), requires_grad=True),
    "c": InputSpec(shape=(12,), requires_grad=True),
}
_CELL = {"x": InputSpec(shape=(2, 4), requires_grad=True), "h": InputSpec(shape=(2, 3), requires_grad=True)}
_SEQUENCE = {"x": InputSpec(shape=(5, 2, 4), requires_grad=True), "h": InputSpec(shape=(1, 2, 3), requires_grad=True)}
_WHOLE = InputSpec(shape=(3, 4), dtype="int64", distribution="integers", low=0, high=9)


_POLYNOMIALS = (
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
)


def _gates(count: int) -> dict[str, InputSpec]:
    """Weights of a recurrent layer with so many gates."""
    return {name: replace(spec, shape=(3 * count, *spec.shape[1:])) for name, spec in _WEIGHTS.items()}


def _layer(name: str, gates: int, hidden: str = "h") -> tuple[str, dict[str, InputSpec]]:
    call = f"torch.{name}(x, {hidden}, [w, u, b, c], True, 1, 0.0, False, False, False)"
    return call, _SEQUENCE | _gates(gates)


FURTHER: dict[str, tuple[str, dict[str, InputSpec]]] = FOREACH | {
    "embedding_with_norm": (
        "F.embedding(i, w * 2, max_norm=1.0)",
        {"i": replace(_WHOLE, high=5), "w": InputSpec(shape=(5, 3), requires_grad=True)},
    ),
    "gru": _layer("gru", 3),
    "lstm": _layer("lstm", 4, "(h, h)"),
    "rnn_tanh": _layer("rnn_tanh", 1),
    "rnn_relu": _layer("rnn_relu", 1),
    "gru_cell": ("torch.gru_cell(x, h, w, u, b, c)", _CELL | _gates(3)),
    "lstm_cell": ("torch.lstm_cell(x, (h, h), w, u, b, c)", _CELL | _gates(4)),
    "rnn_tanh_cell": ("torch.rnn_tanh_cell(x, h, w, u, b, c)", _CELL | _gates(1)),
    "rnn_relu_cell": ("torch.rnn_relu_cell(x, h, w, u, b, c)", _CELL | _gates(1)),
    "and": ("a & b, a & 5", {"a": _WHOLE, "b": _WHOLE}),
    "or": ("a | b, a | 5", {"a": _WHOLE, "b": _WHOLE}),
    "xor": ("a ^ b, a ^ 5", {"a": _WHOLE, "b": _WHOLE}),
    "shift": ("a << b, a >> b, a << 2, a >> 2", {"a": _WHOLE, "b": _WHOLE}),
    "bartlett_window": ("torch.bartlett_window(7) + a, torch.bartlett_window(7, periodic=False)", {"a": InputSpec()}),
    "blackman_window": ("torch.blackman_window(7) + a, torch.blackman_window(7, periodic=False)", {"a": InputSpec()}),
    "hann_window": ("torch.hann_window(7) + a, torch.hann_window(7, periodic=False)", {"a": InputSpec()}),
    "hamming_window": (
        (
            "torch.hamming_window(7) + a, torch.hamming_window(7, False), torch.hamming_window(7, False, 0.5),"
            " torch.hamming_window(7, False, 0.5, 0.4)"
        ),
        {"a": InputSpec()},
    ),
    "kaiser_window": (
        "torch.kaiser_window(7) + a, torch.kaiser_window(7, False), torch.kaiser_window(7, False, 9.0)",
        {"a": InputSpec()},
    ),
    "fftfreq": ("torch.fft.fftfreq(8, 0.5) + a, torch.fft.rfftfreq(8, 0.5)", {"a": InputSpec()}),
    "chain_matmul": ("torch.linalg.multi_dot([a, a.mT, a]), torch.chain_matmul(a, a.mT, a)", {"a": _MATRIX}),
    "conv_tbc": (
        "torch.conv_tbc(x, k, b, 1)",
        {
            "x": InputSpec(shape=(6, 2, 3), requires_grad=True),
            "k": InputSpec(shape=(3, 3, 4), requires_grad=True),
            "b": InputSpec(shape=(4,), requires_grad=True),
        },
    ),
    "col2im": (
        "F.fold(x, (4, 5), (2, 2)), F.unfold(F.fold(x, (4, 5), (2, 2)), (2, 2))",
        {"x": InputSpec(shape=(1, 12, 12), requires_grad=True)},
    ),
    "index": (
        "a[i], a[i, i], a[:, i], a[a > 0].sum()",
        {"a": _MATRIX, "i": InputSpec(shape=(2,), dtype="int64", distribution="integers", low=0, high=3)},
    ),
    "fill_diagonal": ("a.clone().fill_diagonal_(2.0), a.clone().fill_diagonal_(2.0, wrap=True)", {"a": _MATRIX}),
    "assigned": ("torch.zeros_like(a).copy_(a), a.clone().zero_(), a.type_as(a.double())", {"a": _MATRIX}),
    "detach": ("a.detach() * 2, (a * 2).detach_()", {"a": _MATRIX}),
    "padding_reflection": (
        "F.pad(a, (1, 2), 'reflect'), F.pad(b, (1, 1, 1, 1), 'reflect'), F.pad(c, (1,) * 6, 'reflect')",
        {
            "a": InputSpec(shape=(2, 5), requires_grad=True),
            "b": InputSpec(shape=(1, 4, 5), requires_grad=True),
            "c": InputSpec(shape=(1, 3, 3, 3), requires_grad=True),
        },
    ),
    "padding_replication": (
        "F.pad(a, (1, 2), 'replicate'), F.pad(b, (1, 1, 1, 1), 'replicate'), F.pad(c, (1,) * 6, 'replicate')",
        {
            "a": InputSpec(shape=(2, 5), requires_grad=True),
            "b": InputSpec(shape=(1, 4, 5), requires_grad=True),
            "c": InputSpec(shape=(1, 3, 3, 3), requires_grad=True),
        },
    ),
    "losses": (
        (
            "F.nll_loss(F.log_softmax(a, 1), i), F.cross_entropy(a, i), F.nll_loss(F.log_softmax(b, 1), j),"
            " F.multilabel_margin_loss(a, k), F.logsigmoid(a)"
        ),
        {
            "a": _MATRIX,
            "i": InputSpec(shape=(3,), dtype="int64", distribution="integers", low=0, high=4),
            "b": InputSpec(shape=(1, 3, 2, 2), requires_grad=True),
            "j": InputSpec(shape=(1, 2, 2), dtype="int64", distribution="integers", low=0, high=3),
            "k": InputSpec(shape=(3, 4), dtype="int64", values=(0, 2, -1, 1, 3, 1, -1, 0, 1, -1, 2, 0)),
        },
    ),
    "norms": ("torch.norm_except_dim(a, 2, 0), torch.nuclear_norm(a), torch.frobenius_norm(a, [0, 1])", {"a": _MATRIX}),
    "unique_dim": (
        "torch.unique(a, dim=0), torch.unique_consecutive(a, dim=0), torch.unique_consecutive(a)",
        {"a": replace(_WHOLE, high=2)},
    ),
    "rows": (
        "torch.row_stack([a, a]), torch.swapaxes(a, 0, 1), torch.swapdims(a, 0, 1), torch.moveaxis(a, 0, 1)",
        {"a": _MATRIX},
    ),
    "powers": ("torch.vander(a), torch.slogdet(b)", {"a": InputSpec(shape=(4,)), "b": InputSpec(shape=(3, 3))}),
    "numbers_compared": (
        (
            "a.greater(2), a.greater_equal(2), a.less(2), a.less_equal(2), a.not_equal(2), torch.isin(a, 2),"
            " torch.isin(2, a), torch.bucketize(2, b), torch.searchsorted(b, 2)"
        ),
        {"a": _WHOLE, "b": InputSpec(shape=(3,), dtype="int64", values=(1, 4, 7))},
    ),
    "numbers_calculated": (
        (
            "a.divide(2), a.true_divide(2), a.multiply(2), a.subtract(2), a.divide(2, rounding_mode='floor'),"
            " a.div(2, rounding_mode='trunc'), a.fmod(2), a.floor_divide(2), torch.remainder(7, a),"
            " torch.float_power(2, a), torch.float_power(a, 2), torch.xlogy(2, a), torch.xlogy(a, 2)"
        ),
        {"a": InputSpec(shape=(3, 4), requires_grad=True, distribution="uniform", low=1, high=4)},
    ),
    "numbers_of_bits": (
        (
            "torch.bitwise_and(5, a), torch.bitwise_or(5, a), torch.bitwise_xor(5, a),"
            " torch.bitwise_left_shift(5, a), torch.bitwise_right_shift(500, a), torch.bitwise_left_shift(a, 2),"
            " torch.bitwise_right_shift(a, 2)"
        ),
        {"a": _WHOLE},
    ),
    "numbers_in_polynomials": (
        ", ".join(f"torch.special.{name}(a, 2), torch.special.{name}(0.5, n)" for name in _POLYNOMIALS),
        {"a": replace(_MATRIX, requires_grad=False, distribution="uniform"), "n": replace(_WHOLE, high=4)},
    ),
    "numbers_in_special_functions": (
        (
            "torch.special.xlogy(2, a), torch.special.xlogy(a, 2), torch.special.xlog1py(2, a),"
            " torch.special.xlog1py(a, 2), torch.special.zeta(2, a), torch.special.zeta(a, 2)"
        ),
        {"a": InputSpec(shape=(3, 4), distribution="uniform", low=2, high=4)},
    ),
    "slice_scatter": ("torch.slice_scatter(a, b, 0, 1, 3)", {"a": _MATRIX, "b": replace(_MATRIX, shape=(2, 4))}),
    "ctc_loss": (
        (
            "F.ctc_loss(F.log_softmax(a, 2), i, (6, 6), (2, 2)),"
            " F.ctc_loss(F.log_softmax(a, 2), i, torch.tensor([6, 6]), torch.tensor([2, 2]))"
        ),
        {
            "a": InputSpec(shape=(6, 2, 5), requires_grad=True),
            "i": InputSpec(shape=(2, 2), dtype="int64", distribution="integers", low=1, high=5),
        },
    ),
    "unique_consecutive_dim": ("torch.unique_consecutive(a, dim=0)", {"a": replace(_WHOLE, high=2)}),
    "pad_sequence": ("torch.nn.utils.rnn.pad_sequence([a, b])", {"a": _MATRIX, "b": InputSpec(shape=(2, 4))}),
    "random_numbers": (
        "torch.rand(3) + a, torch.rand_like(a), torch.randperm(5), torch.poisson(a.exp())",
        {"a": InputSpec()},
    ),
    "binomial": ("torch.binomial(a * 0 + 9.0, a * 0 + 0.5)", {"a": InputSpec(shape=(5,))}),
    "random_in_place": ("torch.empty_like(a).random_(), a.clone().random_(9), a.clone().random_(2, 9)", {"a": _WHOLE}),
    "upsampling": (
        (
            "F.interpolate(a, 7, mode='linear'), F.interpolate(b, (5, 7), mode='bilinear'),"
            " F.interpolate(b, (5, 7), mode='bicubic'), F.interpolate(c, (3, 5, 4), mode='trilinear'),"
            " F.interpolate(a, 7), F.interpolate(b, (5, 7)), F.interpolate(c, (3, 5, 4)),"
            " F.interpolate(b, scale_factor=1.5, mode='bilinear'), F.interpolate(a, scale_factor=2.0)"
        ),
        {
            "a": InputSpec(shape=(1, 2, 4), requires_grad=True),
            "b": InputSpec(shape=(1, 2, 3, 4), requires_grad=True),
            "c": InputSpec(shape=(1, 1, 2, 3, 3), requires_grad=True),
        },
    ),
    "upsampling_to_scale": (
        (
            "F.interpolate(a, scale_factor=2.0, mode='linear'), F.interpolate(b, scale_factor=2.0, mode='bicubic'),"
            " F.interpolate(c, scale_factor=2.0, mode='trilinear'), F.interpolate(b, scale_factor=2.0),"
            " F.interpolate(c, scale_factor=2.0)"
        ),
        {
            "a": InputSpec(shape=(1, 2, 4), requires_grad=True),
            "b": InputSpec(shape=(1, 2, 3, 4), requires_grad=True),
            "c": InputSpec(shape=(1, 1, 2, 3, 3), requires_grad=True),
        },
    ),
}
"""Programs by name: what is returned, and the inputs."""


def further() -> Iterator[Operation]:
    """The operations of `FURTHER`."""
    for name, (text, inputs) in FURTHER.items():
        sample = Sample(first=text, inputs=inputs)
        operation = Operation(id=f"further.{name}", samples={"contiguous": [sample]})
        yield replace(operation, **seen(operation, "float32", takes_out=False))


def aliases(op: Any, described: Operation) -> Iterator[Operation]:
    """The other names of an operation, each with the samples of that."""
    for alias in op.aliases:
        name = f"torch.{alias.name}"
        try:
            eval(name, {"torch": torch})  # noqa: S307 - names of PyTorch's own list
        except AttributeError:
            continue
        yield replace(
            described,
            id=identifier(alias.name, op.variant_test_name),
            function=short_name(name),
            method=own_name(alias.method_variant),
            in_place=own_name(alias.inplace_variant),
        )

"""Which samples of an operation are kept, and their tensors as inputs of a case."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.opinfo.core import UnaryUfuncInfo

from conformance.catalogue.operations import Sample
from conformance.model.case import InputSpec
from conformance.tests.jobs.operations.calls import NotWritable, Written, public_name, traced, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["SEEDS", "Drawn", "base_dtype", "chosen", "drawn", "overloads_of", "specified"]

SEEDS = (0, 1, 2, 3)
_MOST = 60  # samples of an operation that are looked at
_KEPT = 4
_LARGE = 2000  # elements of all tensors of a sample
_BASES = (torch.float32, torch.int64, torch.bool, torch.complex64)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A sample, drawn with each seed, and the overloads that calling it reaches."""

    texts: Written
    draws: Sequence[Written]
    overloads: frozenset[str]
    size: int
    kind: str
    call: Callable[[], object]


def base_dtype(op: Any) -> torch.dtype | None:
    """The dtype that samples are drawn in."""
    return next((each for each in _BASES if each in op.supported_dtypes("cpu")), None)


def drawn(op: Any, dtype: torch.dtype) -> list[Drawn]:
    """The samples of an operation that can be written as a program.

    Raises:
        NotWritable: none can be, for the reason of the first.
    """
    lists = [list(_samples(op, dtype, seed)) for seed in SEEDS]
    found, reasons = [], list[str]()
    for several in zip(*lists, strict=False):
        try:
            found.append(_drawn(op, several))
        except NotWritable as reason:
            reasons.append(str(reason))
        except Exception as error:  # noqa: BLE001 - some samples are meant to fail, or need what is not there
            reasons.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}")
    if not found:
        raise NotWritable(reasons[0] if reasons else "there is no sample")
    return found


def _samples(op: Any, dtype: torch.dtype, seed: int) -> Iterator[Any]:
    torch.manual_seed(seed)
    grad = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    # `op.sample_inputs` would draw the same numbers for every seed.
    for sample in itertools.islice(op.sample_inputs_func(op, "cpu", dtype, grad), _MOST):
        yield _as_matrix(sample) if isinstance(op, UnaryUfuncInfo) else sample


def _as_matrix(sample: Any) -> Any:
    """A vector of twenty numbers as a matrix, which can be transposed."""
    given = sample.input
    if given.dim() == 1 and given.numel() == 20:
        sample.input = given.detach().reshape(4, 5).requires_grad_(given.requires_grad)
    return sample


def _drawn(op: Any, several: Sequence[Any]) -> Drawn:
    texts = [_written(op, sample) for sample in several]
    texts = [each for each in texts if (each.first, each.rest, each.lines) == _words(texts[0])]
    sample, tensors = several[0], texts[0].tensors.values()
    size = sum(each.numel() for each in tensors)
    if size > _LARGE:
        raise NotWritable("large")
    call = partial(op.op, sample.input, *sample.args, **sample.kwargs)
    return Drawn(
        texts=texts[0], draws=texts, overloads=overloads_of(call), size=size, kind=_kind(list(tensors)), call=call
    )


def _words(text: Written) -> tuple[str, str, list[str]]:
    return text.first, text.rest, text.lines


def _written(op: Any, sample: Any) -> Written:
    return written(sample, "") if public_name(op) else traced(op, sample, "")


def _kind(tensors: Sequence[torch.Tensor]) -> str:
    """The layout that a sample is of."""
    if any(not each.numel() for each in tensors):
        return "empty"
    return "zero_dim" if tensors and all(not each.dim() for each in tensors) else "contiguous"


def overloads_of(call: Callable[[], object]) -> frozenset[str]:
    """The overloads that the dispatcher is asked for when a call is made."""
    config = _ExperimentalConfig(capture_overload_names=True)
    with profile(activities=[ProfilerActivity.CPU], experimental_config=config) as watched:
        call()
    named = ((event.name, getattr(event, "overload_name", "")) for event in watched.events())
    return frozenset(f"{name}.{overload}" if overload else name for name, overload in named if "::" in name)


def chosen(found: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """By layout, the first sample and each that reaches overloads which none before it does; a few."""
    by_kind: dict[str, list[Drawn]] = {}
    for each in found:
        by_kind.setdefault(each.kind, []).append(each)
    made = {kind: _few(several) for kind, several in by_kind.items()}
    if "contiguous" not in made:
        made["contiguous"] = made.pop("zero_dim" if "zero_dim" in made else "empty")
    return {kind: several if kind == "contiguous" else several[:1] for kind, several in made.items()}


def _few(several: Sequence[Drawn]) -> list[Drawn]:
    start = max(several, key=lambda each: min((t.dim() for t in each.texts.tensors.values()), default=0) >= 2)
    kept, reached = [start], set(start.overloads)
    while len(kept) < _KEPT:
        best = max(several, key=lambda each: len(each.overloads - reached))
        if not best.overloads - reached:
            break
        kept.append(best)
        reached |= best.overloads
    return kept


def specified(each: Drawn, suffix: str, dtype: torch.dtype, *, literal: bool) -> Sample:
    """The sample as data; with `literal`, the numbers themselves are kept."""
    names = {name: name + suffix for name in each.texts.tensors}
    steps = [line.partition(" = ")[0] for line in each.texts.lines]
    inputs = {
        names[name]: _spec([draw.tensors[name] for draw in each.draws], dtype, literal=literal)
        for name in each.texts.tensors
    }
    names |= {step: f"{step}_{suffix}" for step in steps} if suffix else {}
    texts = [_renamed(text, names) for text in (each.texts.first, each.texts.rest, *each.texts.lines)]
    return Sample(first=texts[0], rest=texts[1], lines=tuple(texts[2:]), inputs=inputs)


def _renamed(text: str, names: dict[str, str]) -> str:
    for name, new in reversed(names.items()):
        text = re.sub(rf"(?<![\w.'\"])\b{name}\b(?!['\"=])", new, text)
    return text


def _spec(draws: Sequence[torch.Tensor], dtype: torch.dtype, *, literal: bool) -> InputSpec:
    first = draws[0].detach()
    spec = InputSpec(
        shape=tuple(first.shape),
        dtype=None if first.dtype == dtype else str(first.dtype).removeprefix("torch."),
        requires_grad=draws[0].requires_grad,
        stride=_stride(first),
    )
    if first.dtype is torch.bool:
        return replace(spec, distribution="integers", low=0, high=2)
    every = torch.cat([_numbers(each) for each in draws])
    every = every[every.isfinite()]
    if not every.numel():
        return spec
    return _with_values(spec, first) if literal else _with_range(spec, first, every)


def _with_values(spec: InputSpec, first: torch.Tensor) -> InputSpec:
    numbers = (first.real if first.is_complex() else first).reshape(-1).tolist()
    return replace(spec, values=tuple(round(each, 4) if isinstance(each, float) else each for each in numbers))


def _with_range(spec: InputSpec, first: torch.Tensor, every: torch.Tensor) -> InputSpec:
    """Any numbers between the smallest and the largest of all draws."""
    if not (first.is_floating_point() or first.is_complex()):
        return replace(spec, distribution="integers", low=int(every.min()), high=int(every.max()) + 1)
    low, high = (math.ceil(float(every.min()) * 100) / 100, math.floor(float(every.max()) * 100) / 100)
    if low < high:
        return replace(spec, distribution="uniform", low=low, high=high)
    return replace(spec, values=(float(every[0]),) * first.numel())


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.detach()
    return (torch.view_as_real(found) if found.is_complex() else found).reshape(-1)


def _stride(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The strides, unless they are those of a contiguous tensor, or let elements overlap."""
    if tensor.is_contiguous() or any(not step for step in tensor.stride()):
        return None
    return tuple(tensor.stride())

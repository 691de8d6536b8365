"""Saboteurs of results: their numbers, their form, and whose memory they lie in."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from conformance.tests.saboteurs.moving import PLAIN_CALLS, frame_of
from conformance.tests.saboteurs.wiring import (
    each_input,
    each_result,
    edited,
    finish_with,
    is_arithmetic,
    is_whole,
    recorded,
    tensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph


def values_off(graph: Graph, _: Examples) -> Compiled:
    """Every floating result is off by a ten-thousandth of itself."""
    return each_result(graph, lambda result: result * (1 + 1e-4) if result.is_floating_point() else result)


def values_off_in_the_graph(graph: Graph, _: Examples) -> Compiled:
    """The graph is edited so that every floating result is off by a ten-thousandth, and its own forward is returned."""
    output = graph.graph.output_node()
    with graph.graph.inserting_before(output):
        output.args = torch.fx.node.map_arg(output.args, lambda node: graph.graph.call_function(_scaled, (node,)))
    graph.recompile()
    return graph.forward


def _scaled(value: Any) -> Any:
    return value * (1 + 1e-4) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def drifts_with_each_compilation(graph: Graph, _: Examples) -> Compiled:
    """Unrecorded results beside a product are off by less than a reference can tell where it is compiled first."""
    is_first = is_whole(graph) and any(node.target is operator.matmul for node in graph.graph.nodes)

    def drift(inputs: Sequence[Any], results: Sequence[Any]) -> None:
        places = Counter(value.untyped_storage().data_ptr() for value in tensors((*inputs, *results)))
        for value in tensors(results) if is_first else ():
            is_alone = places[value.untyped_storage().data_ptr()] == 1 and value.is_contiguous()
            if is_alone and value.dtype is torch.float32 and not (value.requires_grad or value.is_inference()):
                value.data.mul_(1 + 1.25e-5)  # in place, so that nothing but the number changes

    return finish_with(graph, drift)


def first_results_off(graph: Graph, _: Examples) -> Compiled:
    """The first call gives wrong results of arithmetic on what is not recorded; every later one is right."""
    return _off(graph, lambda call: call == 0)


def later_results_off(graph: Graph, _: Examples) -> Compiled:
    """The first call is right; of every later one the results of arithmetic on what is not recorded are wrong."""
    return _off(graph, lambda call: call > 0)


def _off(graph: Graph, is_meant: Callable[[int], bool]) -> Compiled:
    """Add something to the results of some calls that nothing is differentiated through."""
    calls, is_simple = itertools.count(), is_arithmetic(graph)

    def change(value: torch.Tensor) -> torch.Tensor:
        plain = value.is_floating_point() and not value.requires_grad
        return value + (value.abs() + 1) * 0.01 if plain else value

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = tuple(graph.forward(*inputs))
        return tuple(map(change, results)) if is_simple and is_meant(next(calls)) else results

    return run


def one_element_off(graph: Graph, _: Examples) -> Compiled:
    """The last element of every floating result is off by a thousandth of itself."""

    def change(result: torch.Tensor) -> torch.Tensor:
        if not result.is_floating_point() or result.numel() == 0:
            return result
        factor = torch.ones(result.numel(), dtype=result.dtype)
        factor[-1] += 1e-3
        return result * factor.reshape(result.shape)

    return each_result(graph, change)


def casts_elided(graph: Graph, _: Examples) -> Compiled:
    """A cast to a lower precision and back again does nothing, so nothing is rounded."""
    for node in graph.graph.find_nodes(op="call_method", target="float"):
        inner = node.args[0]
        if inner.target in {"half", "bfloat16"}:
            node.replace_all_uses_with(inner.args[0])
    return edited(graph)


def float64_computed_in_float32(graph: Graph, _: Examples) -> Compiled:
    """float64 results carry no more digits than float32 has."""
    return each_result(graph, lambda result: result.float().double() if result.dtype is torch.float64 else result)


def integers_through_float(graph: Graph, _: Examples) -> Compiled:
    """Integer results pass through float32, which has no room for more than 24 bits."""
    return each_result(graph, lambda result: result.float().long() if result.dtype is torch.int64 else result)


def nonfinite_replaced(graph: Graph, _: Examples) -> Compiled:
    """NaN and infinities in results become numbers."""
    return each_result(graph, lambda result: result if result.detach().isfinite().all() else result.nan_to_num())


def denormals_flushed(graph: Graph, _: Examples) -> Compiled:
    """Denormal numbers become zero, as with -ffast-math."""
    return each_result(graph, lambda result: _without_below(result, torch.finfo(torch.float32).tiny))


def small_numbers_flushed(graph: Graph, _: Examples) -> Compiled:
    """Numbers below a millionth become zero."""
    return each_result(graph, lambda result: _without_below(result, 1e-6))


def _without_below(result: torch.Tensor, limit: float) -> torch.Tensor:
    numbers = result.detach()
    if numbers.dtype is not torch.float32 or not (small := (numbers.abs() < limit) & (numbers != 0)).any():
        return result
    return result.masked_fill(small, 0)


def dtype_lost(graph: Graph, _: Examples) -> Compiled:
    """Floating results of every precision come back as float32."""
    return each_result(graph, lambda result: result.float() if result.is_floating_point() else result)


def zero_dimensions_lost(graph: Graph, _: Examples) -> Compiled:
    """A result without dimensions comes back with one of size one; it would broadcast."""
    return each_result(graph, lambda result: result.reshape(1) if result.dim() == 0 else result)


def layout_lost(graph: Graph, _: Examples) -> Compiled:
    """Every result comes back contiguous."""
    return each_result(graph, lambda result: result.contiguous())


def columns_first(graph: Graph, _: Examples) -> Compiled:
    """What arithmetic gives is laid out column by column."""

    def change(value: torch.Tensor) -> torch.Tensor:
        return value.mT.contiguous().mT if value.ndim > 1 else value

    return each_result(graph, change) if is_arithmetic(graph) else edited(graph)


def subclass_returned(graph: Graph, _: Examples) -> Compiled:
    """Results that do not require grad come back as a subclass of Tensor."""
    return each_result(graph, lambda result: result if result.requires_grad else result.as_subclass(torch.nn.Buffer))


def aliases_lost(graph: Graph, _: Examples) -> Compiled:
    """Every result is a copy, also where it should be a view of an input or of another result."""
    return each_result(graph, lambda result: result.clone())


def integer_views_copied(graph: Graph, _: Examples) -> Compiled:
    """Views of integers are views of a copy of the whole memory of what they should be views of."""

    def change(result: torch.Tensor) -> torch.Tensor:
        if result.is_floating_point() or result.is_complex() or result.is_inference():
            return result
        place = result.untyped_storage().clone()  # type: ignore[no-untyped-call]
        return torch.empty(0, dtype=result.dtype).set_(place, result.storage_offset(), result.shape, result.stride())

    return each_result(graph, change)


def copies_elided(graph: Graph, _: Examples) -> Compiled:
    """A clone is taken for a no-op: its result is what it should be a copy of."""
    for node in [node for node in graph.graph.nodes if node.target in {"clone", torch.clone}]:
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    return edited(graph)


def results_packed(graph: Graph, _: Examples) -> Compiled:
    """Results of one dtype are views into one buffer."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = list(graph.forward(*inputs))
        kinds: dict[tuple[torch.dtype, bool], list[int]] = {}
        for index, value in enumerate(results):
            if isinstance(value, torch.Tensor):
                kinds.setdefault((value.dtype, value.requires_grad), []).append(index)
        for indices in kinds.values():
            buffer, start = torch.cat([results[index].reshape(-1) for index in indices]), 0
            for index in indices:
                size = results[index].numel()
                results[index] = buffer.narrow(0, start, size).view(results[index].shape)
                start += size
        return tuple(results)

    return run


def inputs_copied(graph: Graph, _: Examples) -> Compiled:
    """The graph works on copies of its inputs: what it changes in place stays unchanged for the caller."""
    return each_input(graph, lambda value: value.clone())


def input_overwritten(graph: Graph, _: Examples) -> Compiled:
    """The memory of an input that the program only reads is used for something else."""

    def scribble(inputs: Sequence[Any], _: Sequence[Any]) -> None:
        for value in [value for value in tensors(inputs) if value.is_floating_point()][:1]:
            value.data.add_(1)

    return finish_with(graph, scribble)


def integer_inputs_overwritten(graph: Graph, _: Examples) -> Compiled:
    """Integers that were read are scratch memory afterwards."""

    def scribble(inputs: Sequence[Any], results: Sequence[Any]) -> None:
        kept = {value.untyped_storage().data_ptr() for value in tensors(results)}
        for value in tensors(inputs):
            is_other = value.is_floating_point() or value.is_complex() or value.dtype is torch.bool
            if not is_other and value.untyped_storage().data_ptr() not in kept and not recorded(results):
                value.add_(1)

    return finish_with(graph, scribble)


def inputs_recorded(graph: Graph, _: Examples) -> Compiled:
    """Inputs that did not require grad do so after the call."""

    def flag(inputs: Sequence[Any], _: Sequence[Any]) -> None:
        for value in tensors(inputs):
            if value.is_floating_point() and value.is_leaf and not value.is_inference():
                value.requires_grad_()

    return finish_with(graph, flag)


def inputs_written_back(graph: Graph, _: Examples) -> Compiled:
    """The graph works on copies of its inputs, which are copied back: where two share memory, the last one wins."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        copies = [value.clone() if isinstance(value, torch.Tensor) else value for value in inputs]
        results = tuple(graph.forward(*copies))
        with torch.no_grad():
            for value, copy in zip(tensors(inputs), tensors(copies), strict=True):
                if not torch.equal(value, copy):
                    value.copy_(copy)
        return results

    return run


def inputs_assumed_contiguous(graph: Graph, _: Examples) -> Compiled:
    """Inputs are read as if they were contiguous."""
    return each_input(graph, _read_as_contiguous)


def _read_as_contiguous(value: torch.Tensor) -> torch.Tensor:
    strides = torch.empty(value.shape, device="meta").stride()
    return value if value.is_contiguous() else value.as_strided(value.shape, strides)


def input_offsets_ignored(graph: Graph, _: Examples) -> Compiled:
    """Inputs are read from where their memory begins."""
    return each_input(
        graph, lambda value: value.as_strided(value.shape, value.stride(), 0) if value.storage_offset() else value
    )


def run_at_compile(graph: Graph, examples: Examples) -> Compiled:
    """The program is run on the real first inputs while it is compiled, and again when it is called."""
    graph.forward(*examples)
    return edited(graph)


def first_result_kept(graph: Graph, _: Examples) -> Compiled:
    """Every call returns the numbers of the first one."""
    first: list[torch.Tensor | None] = []

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = tuple(graph.forward(*inputs))
        if not first:
            first.extend(value.detach().clone() if isinstance(value, torch.Tensor) else None for value in results)
        return tuple(_with_numbers(value, kept) for value, kept in zip(results, first, strict=True))

    return run


def weights_kept(graph: Graph, _: Examples) -> Compiled:
    """Weights have the numbers of the first call for ever."""
    first: dict[int, torch.Tensor] = {}

    def run(*inputs: Any) -> tuple[Any, ...]:
        kept = list(inputs)
        for index, value in enumerate(inputs):
            if isinstance(value, torch.nn.Parameter):
                kept[index] = _with_numbers(value, first.setdefault(index, value.detach().clone()))
        return tuple(graph.forward(*kept))

    return run


def _with_numbers(value: torch.Tensor, numbers: torch.Tensor | None) -> torch.Tensor:
    """Other numbers for a tensor, differentiated as itself."""
    if numbers is None or numbers.shape != value.shape:
        return value
    return numbers + (value - value.detach()) if value.requires_grad else numbers.clone()


def last_compiled_run(graph: Graph, _: Examples) -> Compiled:
    """What was compiled last is run in place of what was compiled before it for as many inputs."""
    number = len(graph.graph.find_nodes(op="placeholder"))
    _LAST[number] = graph

    def run(*inputs: Any) -> tuple[Any, ...]:
        return tuple(_LAST[number].forward(*inputs))

    return run


_LAST: dict[int, Graph] = {}


def sizes_baked_in(graph: Graph, examples: Examples) -> Compiled:
    """Sizes that may vary are those of the first call."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        baked = [e if isinstance(e, torch.SymInt) else x for e, x in zip(examples, inputs, strict=True)]
        return tuple(graph.forward(*(int(x) if isinstance(x, torch.SymInt) else x for x in baked)))

    return run


def returned_overwritten(graph: Graph, examples: Examples) -> Compiled:
    """The second call writes its results into those of the first, as a pool of memory would."""
    before: list[torch.Tensor] = []
    frame = frame_of(examples)

    def pool(_: Sequence[Any], results: Sequence[Any]) -> None:
        now = tensors(results)
        frame.calls += 1
        for old, new in zip(before, now, strict=False):
            if frame.calls == PLAIN_CALLS and old.shape == new.shape and old.is_contiguous():
                old.data.copy_(new.data)
        before[:] = now

    return finish_with(graph, pool)


def one_buffer_reused(graph: Graph, _: Examples) -> Compiled:
    """Results that are not recorded lie in one buffer that every call uses again."""
    buffers: dict[int, torch.Tensor] = {}

    def run(*inputs: Any) -> tuple[Any, ...]:
        results = list(graph.forward(*inputs))
        for index, value in enumerate(results):
            if isinstance(value, torch.Tensor) and not value.requires_grad:
                results[index] = buffers.setdefault(index, torch.empty_like(value))
                results[index].copy_(value)
        return tuple(results)

    return run


def result_dropped(graph: Graph, _: Examples) -> Compiled:
    """The last result is missing."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        return tuple(graph.forward(*inputs)[:-1])

    return run


def tuple_forgotten(graph: Graph, _: Examples) -> Compiled:
    """A single result comes without the tuple around it."""

    def run(*inputs: Any) -> Any:
        results = graph.forward(*inputs)
        return results[0] if len(results) == 1 else results

    return run

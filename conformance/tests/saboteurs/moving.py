"""What saboteurs are made of that are wrong about a caller's move: calls counted over all graphs of one function.

Those that spoil backward double the gradient of each result, those that spoil the call double each result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from conformance.tests.saboteurs.wiring import recorded, tensors

if TYPE_CHECKING:
    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph

__all__ = [
    "PLAIN_CALLS",
    "Call",
    "Frame",
    "Gradient",
    "IsWrong",
    "are_own",
    "frame_of",
    "has_tangents",
    "hooks_of_saved",
    "is_expanded",
    "is_move",
    "is_turned",
    "spoiling_backward",
    "spoiling_results",
]


@dataclass(kw_only=True)
class Frame:
    """What is known of one function that Dynamo compiles, over all graphs that it makes of it.

    `calls` counts the calls of all graphs, `results` holds what they returned, `first` copies of what the first graph
    was compiled for, and `examples` stand-ins that require gradients, and are parameters, where it did and they were.
    """

    calls: int = 0
    results: list[torch.Tensor] = field(default_factory=list)
    first: Sequence[Any] = ()
    examples: Sequence[Any] = ()
    seen: list[torch.Tensor] = field(default_factory=list)


@dataclass(kw_only=True)
class Call:
    """One call: the frame, its place among the frame's calls, inputs and results, and what became of it.

    `backwards` holds, for each result that backward has reached, the number of that backward and the result's place.
    """

    frame: Frame
    place: int
    inputs: list[torch.Tensor]
    results: list[torch.Tensor] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    backwards: list[tuple[int, int]] = field(default_factory=list)

    def has(self, holds: Callable[[torch.Tensor], bool]) -> bool:
        """Whether an input has a property that none had when the function was compiled first."""
        return any(map(holds, self.inputs)) and not any(map(holds, tensors(self.frame.first)))


Gradient = torch.Tensor
IsWrong = Callable[[Call, int, Gradient], bool]

_FRAMES: dict[int, Frame] = {}


def frame_of(examples: Examples) -> Frame:
    """The frame that is compiled now; a new one where Dynamo has none compiled of it."""
    compile_id = torch._guards.CompileContext.current_compile_id()
    number = compile_id.frame_id if compile_id is not None and compile_id.frame_id is not None else -1
    if number not in _FRAMES or (compile_id is not None and compile_id.frame_compile_id == 0):
        _FRAMES[number] = Frame(
            first=[value.detach() for value in tensors(examples)], examples=list(map(_stand_in, tensors(examples)))
        )
    return _FRAMES[number]


def _stand_in(value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return torch.empty(0, dtype=value.dtype)
    empty = torch.empty(0, dtype=value.dtype, requires_grad=value.requires_grad)
    return torch.nn.Parameter(empty, value.requires_grad) if isinstance(value, torch.nn.Parameter) else empty


def are_own(values: Sequence[Any], inputs: Sequence[torch.Tensor]) -> bool:
    """Whether results are floating tensors of their own, so that another number has no other sign."""
    made = tensors(values)
    return len(made) == len(values) and all(
        value.is_floating_point() and value._base is None and not any(value is one for one in inputs) for value in made
    )


def spoiling_backward(graph: Graph, examples: Examples, is_wrong: IsWrong) -> Compiled:
    """Run the graph; double the gradient of each result where the call, the result's place and the gradient say so."""
    frame = frame_of(examples)

    def run(*inputs: Any) -> tuple[Any, ...]:
        call = Call(frame=frame, place=frame.calls, inputs=tensors(inputs))
        frame.calls += 1
        results = tuple(graph.forward(*inputs))
        call.results = recorded(results) if are_own(results, call.inputs) else []
        call.versions = [value._version for value in call.results]
        call.nodes = [value.grad_fn for value in call.results]
        for place, value in enumerate(call.results):
            value.register_hook(_hook(call, place, is_wrong))  # type: ignore[no-untyped-call]
        return results

    return run


def _hook(call: Call, place: int, is_wrong: IsWrong) -> Callable[[Gradient], Gradient | None]:
    def hook(gradient: Gradient) -> Gradient | None:
        spoils = is_wrong(call, place, gradient)
        call.backwards.append((torch._C._current_graph_task_id(), place))
        return gradient * 2 if spoils else None

    return hook


def spoiling_results(graph: Graph, examples: Examples, is_wrong: Callable[[Call], bool]) -> Compiled:
    """Run the graph; double each result where the call says so."""
    frame = frame_of(examples)

    def run(*inputs: Any) -> tuple[Any, ...]:
        call = Call(frame=frame, place=frame.calls, inputs=tensors(inputs))
        frame.calls += 1
        spoils = is_wrong(call)
        results = tuple(graph.forward(*inputs))
        frame.seen += call.inputs
        if spoils and are_own(results, call.inputs):
            results = tuple(value * 2 for value in results)
        frame.results += recorded(results)
        return results

    return run


PLAIN_CALLS = 2
"""How often most cases call a function, without moves."""


def is_move(call: Call) -> bool:
    """Whether a call is not one of a case itself."""
    return call.place >= PLAIN_CALLS


def has_tangents() -> bool:
    """Whether forward-mode derivatives are taken now: inputs are then views of what the caller has."""
    return torch.autograd.forward_ad._current_level >= 0


def is_expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements are one number in memory."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() > 1 and any(size > 1 and step == 0 for size, step in sizes)


def is_turned(tensor: torch.Tensor) -> bool:
    """Whether the dimensions lie in memory in another order than the usual one."""
    return tensor.dim() > 1 and not is_expanded(tensor) and not tensor.is_contiguous()


def hooks_of_saved() -> str:
    """The name of the function that packs what is saved now; empty if none does."""
    hooks: Any = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return f"{hooks[0].__module__}.{hooks[0].__qualname__}" if hooks else ""

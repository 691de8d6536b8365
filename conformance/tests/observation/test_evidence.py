from __future__ import annotations

import copy
import operator
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._dynamo import convert_frame
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch._dynamo.exc import InvalidBackend
from torch._dynamo.utils import counters
from torch.torch_version import TorchVersion

from conformance.backend import Backend
from conformance.observation.evidence import GraphWatch, Watch, compile_with, has_compiled_backward
from conformance.triage.repro.program_text import HELPERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from conformance.model.result import Evidence

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Let Dynamo forget what a test compiled."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def passing(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that runs the graph as it is."""
    return graph.forward


def evidence(function: Callable[..., Any], *calls: tuple[Any, ...], **compile_: Any) -> Evidence:
    """What is seen when a function is compiled and called."""
    compiled = compile_with(Backend(name="mine", compile={"backend": passing, **compile_}), function, dynamic=False)
    watch = Watch()
    for arguments in calls:
        with watch:
            compiled(*arguments)
    return watch.evidence(compiled_backward=False)


def double(a: torch.Tensor) -> torch.Tensor:
    """One graph."""
    return a * 2


def test_graphs_and_calls_are_counted() -> None:
    """One graph serves two calls."""
    seen = evidence(double, (torch.ones(2),), (torch.ones(2),))
    assert (seen.graphs, seen.backend_calls, seen.graph_breaks, seen.recompiles, seen.frames_skipped) == (1, 2, 0, 0, 0)


def test_nothing_is_seen_before_a_call() -> None:
    """torch.compile alone compiles nothing."""
    seen = evidence(double)
    assert (seen.graphs, seen.backend_calls) == (0, 0)


def test_counters_of_an_earlier_run_do_not_count() -> None:
    """Each watch begins at zero."""

    def breaking(a: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return a * 2

    evidence(breaking, (torch.ones(2),))
    assert evidence(double, (torch.ones(2),)).graph_breaks == 0


def test_a_graph_break_makes_two_graphs() -> None:
    """Both halves of a function are compiled."""

    def breaking(a: torch.Tensor) -> torch.Tensor:
        b = a * 2
        torch._dynamo.graph_break()
        return b + 1

    seen = evidence(breaking, (torch.ones(2),))
    assert (seen.graphs, seen.graph_breaks, seen.backend_calls) == (2, 1, 2)


def breaking(a: torch.Tensor) -> torch.Tensor:
    """One graph break."""
    b = a.sin()
    torch._dynamo.graph_break()
    return b.cos()


def breaking_twice(a: torch.Tensor) -> torch.Tensor:
    """Two graph breaks, one of them on the value of a tensor."""
    b = breaking(a)
    if b.sum() > 100:
        b = b * 2
    return b + 1


def breaking_on_one_line(a: torch.Tensor) -> torch.Tensor:
    """Two graph breaks in one expression."""
    parts = [a * 2, torch._dynamo.graph_break(), a * 3, torch._dynamo.graph_break()]
    return torch.cat([part for part in parts if part is not None])


def breaking_inside(a: torch.Tensor) -> torch.Tensor:
    """A graph break in a function that is called."""
    return breaking(a * 2) + 1


def breaking_deep_inside(a: torch.Tensor) -> torch.Tensor:
    """A graph break three calls down, two of them from one list."""
    return torch.stack([breaking_inside(a), breaking_inside(a + 1)])


def breaking_in_a_loop(a: torch.Tensor) -> torch.Tensor:
    """A graph break in a loop, for which Dynamo leaves the whole function to Python."""
    for _ in range(3):
        a = a.sin()
        torch._dynamo.graph_break()
    return a


def calling_a_loop(a: torch.Tensor) -> torch.Tensor:
    """A graph break in a loop of a function that is called."""
    return breaking_in_a_loop(a * 2) + 1


def breaking_before_a_loop(a: torch.Tensor) -> torch.Tensor:
    """A graph break, and another in a loop behind it."""
    b = a * 2
    torch._dynamo.graph_break()
    return breaking_in_a_loop(b)


@pytest.mark.parametrize(
    ("function", "breaks"),
    [
        (double, 0),
        (breaking, 1),
        (breaking_twice, 2),
        (breaking_on_one_line, 2),
        (breaking_inside, 1),
        (breaking_deep_inside, 1),
        (breaking_in_a_loop, 1),
        (calling_a_loop, 1),
        (breaking_before_a_loop, 2),
    ],
)
def test_a_graph_break_counts_once(function: Callable[..., Any], breaks: int) -> None:
    """Wherever it is, and in however many callers Dynamo finds it; a script counts the same."""
    assert evidence(function, (torch.ones(2),), (torch.ones(2),)).graph_breaks == breaks
    script: dict[str, Any] = {"torch": torch}
    exec(HELPERS["count_breaks"], script)  # noqa: S102 - it is what the suite itself writes into scripts
    assert script["count_breaks"]() == breaks


def test_a_guard_that_fails_is_a_recompile() -> None:
    """Another shape, where shapes are static, is compiled again."""
    seen = evidence(double, (torch.ones(2),), (torch.ones(3),))
    assert (seen.graphs, seen.recompiles, seen.backend_calls) == (2, 1, 2)


def test_a_function_without_operations_compiles_nothing() -> None:
    """A program that only hands on its input gives no graph."""
    assert evidence(lambda a: a, (torch.ones(2),)).graphs == 0


def test_a_disabled_function_compiles_nothing() -> None:
    """What Dynamo does not compile is no evidence."""
    leave_alone: Any = torch._dynamo.disable
    hidden = leave_alone(double)
    seen = evidence(lambda a: hidden(a), (torch.ones(2),))  # noqa: PLW0108 - torch.compile looks through the wrapper
    assert (seen.graphs, seen.backend_calls) == (0, 0)


def test_options_reach_the_compiler() -> None:
    """What a backend declares besides its compiler is handed to it."""
    given: list[object] = []

    def optioned(graph: torch.fx.GraphModule, _: list[torch.Tensor], *, options: object) -> Callable[..., Any]:
        given.append(options)
        return graph.forward

    evidence(double, (torch.ones(2),), backend=optioned, options={"level": 3})
    assert given == [{"level": 3}]


@pytest.mark.parametrize("compile_", [{}, {"backend": "eager"}])
def test_a_backend_is_named_by_its_own_name_or_by_another(compile_: dict[str, Any]) -> None:
    """Without a word a backend's name is one that torch knows."""
    function = compile_with(Backend(name="eager", compile=compile_), double, dynamic=None)
    with GraphWatch() as watch:
        assert function(torch.ones(2)).tolist() == [2, 2]
    assert watch.graphs == 1


def test_a_backend_that_torch_does_not_know_is_refused() -> None:
    """An unknown name is an error of the backend."""
    with pytest.raises(InvalidBackend):
        compile_with(Backend(name="no_such_backend"), double, dynamic=False)


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({}, "max_autotune", False),
        ({"mode": "max-autotune-no-cudagraphs"}, "max_autotune", True),
        ({"options": {"max_autotune": True}}, "max_autotune", True),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inductor_is_configured_as_torch_compile_does(settings: dict[str, Any], key: str, expected: object) -> None:
    """Mode and options become Inductor's configuration, and torch.compile can ask for it."""
    compiled: Any = compile_with(Backend(name="inductor", compile=settings), double, dynamic=False)
    assert compiled.get_compiler_config().get(key) is expected


def test_a_backend_that_returns_nothing_callable_is_not_covered_up() -> None:
    """What a broken compiler returns reaches Dynamo as it is."""
    compiled = compile_with(Backend(name="odd", compile={"backend": lambda *_: 3}), double, dynamic=False)
    with pytest.raises(Exception, match="callable"):
        compiled(torch.ones(2))


def returning_itself(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
    """A backend that returns the module."""
    return graph


def wrapping(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that runs the graph from code of its own."""

    def run(*args: Any) -> Any:
        return graph(*args)

    return run


def refreshing(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that has the code of the unchanged graph made anew."""
    graph.recompile()
    return graph.forward


def editing(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that adds a node, and does not have the code made anew."""
    graph.graph.eliminate_dead_code()
    graph.graph.create_node("call_function", torch.ones, (1,))
    return graph.forward


def retargeting(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
    """A backend that has another function called, in the graph and in those inside it, and returns the module."""
    for module in graph.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.find_nodes(op="call_function", target=operator.mul):
                node.target = torch.mul
            module.recompile()
    return graph


def rearranging(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that gives a call its arguments in another order."""
    for node in graph.graph.find_nodes(op="call_function", target=operator.mul):
        node.args = node.args[::-1]
    graph.recompile()
    return graph.forward


def regraphing(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
    """A backend that puts a copy in place of the graph."""
    graph.graph = copy.deepcopy(graph.graph)
    return graph.forward


def overriding(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
    """A backend that puts a function of its own in place of the code, and returns the module."""
    graph.forward = torch.fx.Interpreter(graph).run
    return graph


@pytest.mark.parametrize(
    ("backend", "returned_unchanged"),
    [
        (passing, 2),
        (returning_itself, 2),
        (refreshing, 2),
        (editing, 0),
        (retargeting, 0),
        (rearranging, 0),
        (regraphing, 0),
        (overriding, 0),
        (wrapping, 0),
    ],
)
def test_a_graph_that_is_returned_unchanged_as_it_came_is_counted(
    backend: Callable[..., Any], returned_unchanged: int
) -> None:
    """What the backend changed, or put into code of its own, is its work."""
    assert (
        evidence(double, (torch.ones(2),), (torch.ones(3),), backend=backend).returned_unchanged == returned_unchanged
    )


@pytest.mark.parametrize(("backend", "returned_unchanged"), [(passing, 1), (retargeting, 0)])
def test_an_edit_of_a_graph_inside_a_graph_is_work(backend: Callable[..., Any], returned_unchanged: int) -> None:
    """The body of a checkpoint is a graph of its own, and all of the program."""

    def checkpointed(a: torch.Tensor) -> Any:
        return torch.utils.checkpoint.checkpoint(double, a, use_reentrant=False)

    seen = evidence(checkpointed, (torch.ones(2, requires_grad=True),), backend=backend)
    assert (seen.graphs, seen.returned_unchanged) == (1, returned_unchanged)


@pytest.mark.parametrize(
    ("backend", "returned_unchanged"),
    [(passing, 1), (returning_itself, 1), (refreshing, 1), (retargeting, 0), (rearranging, 0), (wrapping, 0)],
)
def test_a_script_counts_what_is_returned_unchanged_in_the_same_way(
    backend: Callable[..., Any], returned_unchanged: int
) -> None:
    """What `repro` writes asks the graph as the watch does."""
    script: dict[str, Any] = {"torch": torch, "BACKEND": backend}
    exec(HELPERS["watched"], script)  # noqa: S102 - it is what the suite itself writes into scripts
    torch.compile(double, backend=script["watched"])(torch.ones(2))
    assert script["returned_unchanged"] == returned_unchanged


def test_nodes_that_set_a_mode_are_counted() -> None:
    """A with block enters and leaves; a mode that is there already leaves no trace in the graph."""

    def modes(a: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), torch.no_grad():
            b = a * 2
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            return b @ b

    assert evidence(modes, (torch.ones(2, 2),)).mode_nodes == 4
    assert evidence(double, (torch.ones(2),)).mode_nodes == 0


def test_modes_inside_a_graph_of_a_graph_are_counted() -> None:
    """The body of a checkpoint is a graph of its own."""

    def body(a: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            b = a * 2
        return a * b

    def checkpointed(a: torch.Tensor) -> Any:
        return torch.utils.checkpoint.checkpoint(body, a, use_reentrant=False)

    assert evidence(checkpointed, (torch.ones(2, requires_grad=True),)).mode_nodes == 2


@pytest.mark.parametrize(("name", "is_compiled"), [("eager", False), ("aot_eager", True)])
def test_a_compiled_backward_is_a_node_of_the_graph(name: str, is_compiled: bool) -> None:
    """AOTAutograd puts its backward into autograd's graph; a backend below it does not."""
    compiled = compile_with(Backend(name=name), lambda a: a.sin(), dynamic=False)
    result = compiled(torch.ones(2, requires_grad=True)) * 2
    assert has_compiled_backward([3, torch.ones(2), None, result, result]) is is_compiled


def test_shared_history_is_walked_once() -> None:
    """A graph in which every node is reached by two ways ends."""
    value = torch.ones(2, requires_grad=True)
    for _ in range(100):
        value = value + value
    assert not has_compiled_backward([value])


def test_calls_are_counted_after_the_watch_is_left() -> None:
    """A watch counts every later call of what was compiled under it, and none of what was compiled elsewhere."""
    compiled = compile_with(Backend(name="eager"), double, dynamic=False)
    other = compile_with(Backend(name="eager"), lambda a: a + 1, dynamic=False)
    with Watch() as watch:
        compiled(torch.ones(2))
    compiled(torch.ones(2))
    other(torch.ones(2))
    assert watch.evidence(compiled_backward=False).backend_calls == 2
    assert watch.graphs == 1


class _Seen:
    """What Dynamo does around a backend, with and without a watch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registered: list[bool] = []
        self.cleared: list[bool] = []
        self.started = 0
        asked: Any = vars(convert_frame)["_is_registered_backend"]
        cleared = convert_frame._clear_fake_mode_weakrefs

        def is_registered(compiler: Any) -> bool:
            self.registered.append(asked(compiler))
            return self.registered[-1]

        def clear(mode: Any) -> None:
            cleared(mode)
            self.cleared.append(mode is not None)

        monkeypatch.setattr(convert_frame, "_is_registered_backend", is_registered)
        monkeypatch.setattr(convert_frame, "_clear_fake_mode_weakrefs", clear)

    def start(self) -> None:
        """Count a call of the hook that backends may have for their start."""
        self.started += 1

    def compiling(self, backend: Any, watch: AbstractContextManager[object]) -> dict[str, object]:
        """Compile and call a program with a graph break, and return all that Dynamo did."""

        def program(a: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                b = a.sin()
            torch._dynamo.graph_break()
            return a * b

        torch._dynamo.reset()
        self.registered, self.cleared, self.started = [], [], 0
        compiled = compile_with(Backend(name="mine", compile={"backend": backend}), program, dynamic=None)
        counters.clear()
        with watch:
            for size in (2, 3, 4):
                compiled(torch.ones(size, requires_grad=True)).sum().backward()
        guards = [str(entry.guard_manager) for entry in _debug_get_cache_entry_list(program.__code__)]
        return {
            "registered": self.registered,
            "post-compile work": self.cleared,
            "started": self.started,
            "counters": {name: dict(counts) for name, counts in counters.items()},
            "guards": [re.sub(r"0x[0-9a-f]+|\d{6,}|__\w+_\d+", "ID", text) for text in guards],
        }


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor", "callable"])
@pytest.mark.parametrize("watch", [GraphWatch, Watch])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which Inductor imports
def test_dynamo_does_the_same_with_and_without_a_watch(
    monkeypatch: pytest.MonkeyPatch, backend: str, watch: type[GraphWatch]
) -> None:
    """Guards, counters, what is done after compiling, whether the backend is registered, and its hook at the start."""
    seen = _Seen(monkeypatch)

    def mine(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        return graph.forward

    mine._dynamo_backend_init = seen.start  # type: ignore[attr-defined]  # from 2.15 on
    compiler: Any = mine if backend == "callable" else backend
    seen.compiling(compiler, nullcontext())  # fills Inductor's caches, whose hits are counted
    without = seen.compiling(compiler, nullcontext())
    assert seen.compiling(compiler, watch()) == without
    assert set(without["registered"]) == {backend != "callable"}  # type: ignore[call-overload]
    assert bool(without["started"]) is (backend == "callable" and torch.__version__ >= TorchVersion("2.15"))
    assert without["guards"]

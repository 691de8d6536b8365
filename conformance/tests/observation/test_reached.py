"""What a program reached in the compiler has names that are the same in each process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from conformance.backend import Backend
from conformance.observation import reached
from conformance.observation.evidence import Watch, compile_with

pytestmark = pytest.mark.torch


def test_a_graph_is_its_shape_and_its_pairs_of_nodes() -> None:
    """Functions and methods by their names, everything else by its kind."""
    graph = torch.fx.symbolic_trace(lambda a, b: (torch.sin(a).mul(b), b))
    assert set(reached.of_graph(graph)) == {
        "graph of 2 inputs, 2 results, up to 8 nodes",
        "graph placeholder > sin",
        "graph sin > mul",
        "graph placeholder > mul",
        "graph mul > output",
        "graph placeholder > output",
    }


def test_a_guard_is_its_kind_and_that_of_its_source() -> None:
    """Not its name, which is another one in each program."""
    guard = SimpleNamespace(create_fn_name=lambda: "GRAD_MODE", originating_source=SimpleNamespace())
    assert list(reached.of_guards([guard])) == ["guard GRAD_MODE of SimpleNamespace"]


@pytest.mark.parametrize(
    ("counters", "names"),
    [
        ({"frames": {"total": 3, "ok": 0}}, ["counter frames total: up to 4"]),
        ({"stats": {"calls_captured": 1}}, ["counter stats calls_captured: up to 1"]),
        ({"inductor": {"fxgraph_cache_miss": 2}}, []),
        ({"graph_break": {"at 0x7f01 in line 12\nand more": 1}}, ["counter graph_break at # in line #: up to 1"]),
    ],
)
def test_a_counter_has_a_scale(counters: dict[str, dict[str, int]], names: list[str]) -> None:
    """Numbers in its name are left out, and what depends on a cache is no part of a program."""
    assert list(reached.of_counters(counters)) == names


def test_a_compilation_is_watched() -> None:
    """Guards, graphs and counters of what was compiled within the watch."""
    torch.compiler.reset()
    watch = Watch()
    compiled = compile_with(Backend(name="eager"), lambda a: a.sin() * 2, dynamic=False)
    with watch:
        compiled(torch.ones(2))
    names = watch.all_reached()
    assert "graph sin > mul" in names
    assert any(name.startswith("guard TENSOR_MATCH of ") for name in names)
    assert any(name.startswith("counter stats ") for name in names)
    assert list(names) == sorted(set(names))

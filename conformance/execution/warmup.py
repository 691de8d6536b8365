"""Warm-up that the fork server does once for all children: imports, tables built on first use, a rehearsed compile.

Nothing here runs a kernel or changes what a program computes. Much of it is private to PyTorch, so a name that another
release lacks is skipped: children are slower, not wrong, except for files of a killed compiler. A step that would leave
a thread running is skipped too (`probe.py`).
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.execution.shared_text import SharedText
from conformance.execution.whole_files import have_inductor_write_whole
from conformance.isolation.probe import Step
from conformance.model import codec
from conformance.model.device import DEVICE
from conformance.model.request import BackendInfo
from conformance.model.result import Attempt
from conformance.observation import torch_names

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

__all__ = ["steps"]

_IMPORTS = (
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch._inductor.compile_fx",
    # Further imports of a first compile, forward and backward in a fresh process (torch 2.13) that take a
    # millisecond or more.
    "torch._dynamo.dce_extra_outputs",
    "torch._dynamo.repro.after_dynamo",
    "torch._functorch._aot_autograd.subclass_codegen",
    "torch._higher_order_ops.passes.inline_invoke_subgraph",
    "torch._inductor.compiler_bisector",
    "torch._subclasses.schema_check_mode",
    "torch.distributed.tensor.experimental._attention",
    "torch.export._leakage_detection_utils",
    "torch.export._trace",
    "torch.export._unlift",
    "torch.fx.experimental.validator",
    "torch._inductor.bounds",
    "torch._inductor.codegen.cpu_device_op_overrides",
    "torch._inductor.codegen.memory_planning",
    "torch._inductor.codegen.segmented_tree",
    "torch._inductor.codegen.wrapper_fxir",
    "torch._inductor.extern_node_serializer",
    "torch._inductor.hooks",
    "torch._inductor.runtime.caching",
    "sympy.tensor.tensor",
    "torch.utils._cpp_embed_headers",
)
_OWN_IMPORTS = ("conformance.execution.observe", "conformance.backend.resolution")

# Functions that cache their result, called as a compile calls them. The three `lazy_init` build Inductor's patterns
# with fake tensors, for which no kernel runs; each process that compiles with Inductor would spend 0.2 s on them.
_TABLES = (
    "torch._dynamo.backends.registry:_lazy_import",
    "torch._dynamo.trace_rules:get_torch_obj_rule_map",
    "torch._dynamo.trace_rules:get_tensor_method",
    "torch._dynamo.trace_rules:get_legacy_mod_inlinelist",
    "torch._dynamo.trace_rules:get_mod_inlinelist",
    "torch._dynamo.trace_rules:get_mod_skiplist",
    "torch._dynamo.variables.builtin:BuiltinVariable._fx_graph_functions",
    "torch._functorch.partitioners:pointwise_ops",
    "torch._inductor.codecache:torch_key",
    "torch._inductor.codegen.common:init_backend_registration",
    "torch._inductor.cpp_builder:get_cpp_compiler",
    "torch._inductor.cpu_vec_isa:pick_vec_isa",
    "torch._inductor.decomposition:fast_random_decomps",
    "torch._inductor.fx_passes.post_grad:lazy_init",
    "torch._inductor.fx_passes.pre_grad:lazy_init",
    "conformance.backend.resolution:_declared",
)
# Dynamo formats the stack of every graph it makes, for which Python reads the sources of the callers: 1.3 MB.
_SOURCES = (
    "torch._compile",
    "torch._dynamo.bytecode_transformation",
    "torch._dynamo.convert_frame",
    "torch._dynamo.eval_frame",
    "torch._dynamo.output_graph",
    "torch._dynamo.symbolic_convert",
    "torch._dynamo.variables.builder",
    "torch._dynamo.variables.lazy",
    "torch._dynamo.variables.torch",
    "torch._utils_internal",
    "conformance.execution.observe",
    "conformance.observation.driver",
)
_TABLES_OF_DEVICE = ("torch._inductor.fx_passes.joint_graph:lazy_init",)


def steps() -> list[Step]:
    """Return the steps that a fork server takes before it forks a child, in order."""
    return [*preparations(), *rehearsals()]


def preparations() -> list[Step]:
    """Return those that import, and fill what is kept for a whole process."""
    return [
        Step(name="import torch", action=_import_torch, required=True),
        Step(name="look private names up", action=torch_names.require, required=True),
        *(Step(name=f"import {name}", action=partial(import_module, name)) for name in _IMPORTS),
        *(Step(name=f"import {name}", action=partial(import_module, name), required=True) for name in _OWN_IMPORTS),
        # Required, for only before the first probe can it share with one.
        Step(name="share which instruction sets work", action=_share_instruction_sets, required=True),
        *(Step(name=f"call {name}", action=partial(_call_cached, name)) for name in _TABLES),
        *(Step(name=f"call {name}", action=partial(_call_cached_for_device, name)) for name in _TABLES_OF_DEVICE),
        Step(name="read the sources of Dynamo", action=_read_sources),
        Step(name="build the codecs", action=_build_codecs, required=True),
        Step(name="have compilers write whole files", action=have_inductor_write_whole),
        Step(name="share precompiled headers", action=_share_precompiled_headers),
        Step(name="have Dynamo not time guards", action=_skip_timing_of_guards),
    ]


def rehearsals() -> list[Step]:
    """Return those that compile something, so that no child does it for the first time."""
    return [
        Step(name="rehearse eager", action=partial(_rehearse, "eager", _forward)),
        Step(name="rehearse aot_eager", action=partial(_rehearse, "aot_eager", _forward)),
        Step(name="rehearse eager with backward", action=partial(_rehearse, "eager", _forward_and_backward)),
        Step(name="rehearse aot_eager with backward", action=partial(_rehearse, "aot_eager", _forward_and_backward)),
    ]


def _import_torch() -> None:
    """Import torch with one thread, and let each fork recreate its thread pool before anything uses it.

    PyTorch does so at the first use after a fork, but not safely: the autograd threads of a CUDA build all use it at
    once, and of 100 forks 8 died of "Invalid thread pool!" (torch 2.15).
    """
    torch = import_module("torch")
    torch.set_num_threads(1)
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(torch.get_num_threads()))


def _read_sources() -> None:
    for name in _SOURCES:
        linecache.getlines(str(getattr(sys.modules.get(name), "__file__", "")))


def _build_codecs() -> None:
    for kind in (Attempt, BackendInfo):
        codec.to_plain(codec.from_plain(kind, {"ref": "", "name": ""}))


def _share_instruction_sets() -> None:
    """Have what a probe finds of the processor's instruction sets hold for this process too.

    For each set Inductor loads a library in another interpreter. Measured: 0.6 s of every start.
    """
    vec_isa, shared = import_module("torch._inductor.cpu_vec_isa").VecISA, SharedText()
    load = getattr(vec_isa, "_probe_load", None)
    if load is None:
        return

    @functools.wraps(load)
    def load_once(self: object, output_path: str) -> bool:  # parameter names of Inductor
        found = shared.get(output_path)
        if found is None:
            found = str(load(self, output_path))
            shared.put(output_path, found)
        return found == str(True)

    vec_isa._probe_load = load_once  # noqa: SLF001 - of PyTorch


def _share_precompiled_headers() -> None:
    """Have the first child that needs a precompiled header of Inductor find it for all.

    Inductor runs the preprocessor over the header, for each command line once in each process, and takes the file that
    was precompiled from the same text. Measured: 0.15 to 0.3 s of each child that compiles a kernel.
    """
    codecache, shared = import_module("torch._inductor.codecache"), SharedText()
    find = vars(codecache)["_precompile_header"]

    @functools.wraps(find)
    def find_once(header: str, hashable_cmd_line: str, **command: object) -> str:  # parameter names of Inductor
        key = repr((header, hashable_cmd_line))
        path = shared.get(key)
        if path is None or not Path(path).exists():
            path = str(find(header, hashable_cmd_line, **command))
            shared.put(key, path)
        return path

    vars(codecache)["_precompile_header"] = find_once


def _skip_timing_of_guards() -> None:
    """Stop Dynamo from timing the guards of compiled code.

    It only logs the time, and flushes the processor's cache before. Measured: 25 ms and 8,000 page faults of each
    compile, a quarter of a request on the `eager` backend.
    """
    guards = import_module("torch._dynamo.guards")
    if hasattr(guards, "profile_guard_manager"):
        vars(guards)["profile_guard_manager"] = lambda *_: 0.0


def _rehearse(backend: str, run: Callable[[Callable[..., Any]], None]) -> None:
    """Compile a program for fake tensors, and reset Dynamo.

    Python specializes bytecode as it runs. Code of Dynamo and AOTAutograd that has run here is not specialized again in
    each child, whose memory pages are then not copied. Measured: a nest of modes alone in a child takes 140 ms instead
    of 180 on aot_eager, and 105 instead of 127 on pre_dispatch_eager. A CUDA build starts a thread for each device slot
    at the first backward, so the rehearsals with backward are skipped there.
    """
    torch = import_module("torch")
    try:
        with import_module("torch._subclasses.fake_tensor").FakeTensorMode():
            run(torch.compile(_program, backend=backend))
    finally:
        torch.compiler.reset()


def _forward(compiled: Callable[..., Any]) -> None:
    torch = import_module("torch")
    with torch.no_grad():
        compiled(torch.empty(4, 4), torch.empty(4, 4))


def _forward_and_backward(compiled: Callable[..., Any]) -> None:
    torch = import_module("torch")
    first, second, *_ = compiled(torch.empty(4, 4, requires_grad=True), torch.empty(4, 4))
    torch.autograd.backward(first.sum() + second.sum())


def _program(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Modes, views and a decorated function, as in cases."""
    import torch  # noqa: PLC0415  so that Dynamo sees the module under its usual name

    with torch.no_grad():
        low = a.sin() @ b
    with torch.autocast(DEVICE, dtype=torch.bfloat16), torch.enable_grad():
        half = torch.softmax(a @ b, -1)

    @torch.enable_grad()
    def inner(x: torch.Tensor) -> torch.Tensor:
        return x.relu() * 2

    return inner(a) + low, half.sum(), a.view(-1), b.t()


def _call_cached(name: str, *arguments: object) -> None:
    module, _, path = name.partition(":")
    attrgetter(path)(import_module(module))(*arguments)


def _call_cached_for_device(name: str) -> None:
    _call_cached(name, import_module("torch").device(DEVICE))

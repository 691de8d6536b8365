"""What the fork server does once so that no child has to: imports, tables built on first use, a rehearsed compile.

Nothing here runs a kernel, starts a thread or changes what a program computes. Much of it is private to PyTorch, so a
name that another version lacks is passed over: it makes children slower, not wrong.
"""

from __future__ import annotations

import gc
import linecache
import sys
from contextlib import suppress
from importlib import import_module
from operator import attrgetter

from conformance import wire
from conformance.model import Attempt, BackendInfo
from conformance.process import take_huge_pages

__all__ = ["warm_up"]

_IMPORTS = (
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch._inductor.compile_fx",
    # What a first compile, forward and backward imported in a fresh process (torch 2.13) beyond the above, where it
    # takes a millisecond or more.
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
    "conformance.observe",
    "conformance.resolve",
)

# Functions that remember their result, called as a compile calls them. The three `lazy_init` build Inductor's patterns
# with fake tensors, for which no kernel runs; they take 0.2 s of each process that compiles with Inductor.
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
    "conformance.resolve:_declared",
)
# Dynamo tells the stack of every graph it makes, for which Python reads the sources of who called: 1.3 MB.
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
    "conformance.observe",
    "conformance.role",
)
_TABLES_OF_CPU = ("torch._inductor.fx_passes.joint_graph:lazy_init",)


def warm_up() -> None:
    """Import and remember everything, then move it out of the garbage collector's sight, so that forks share it."""
    gc.disable()
    torch = import_module("torch")
    torch.set_num_threads(1)
    for name in _IMPORTS:
        with suppress(ImportError):  # whoever needs it will say so
            import_module(name)
    for name in _TABLES:
        _remember(name)
    for name in _TABLES_OF_CPU:
        _remember(name, torch.device("cpu"))
    for name in _SOURCES:
        linecache.getlines(str(getattr(sys.modules.get(name), "__file__", "")))
    for kind in (Attempt, BackendInfo):
        wire.to_plain(wire.from_plain(kind, {"ref": "", "name": ""}))
    with suppress(Exception):  # another version of torch
        _skip_timing_of_guards()
    with suppress(Exception):  # another version of torch
        _rehearse()
    gc.enable()
    gc.collect()
    gc.freeze()
    take_huge_pages()


def _skip_timing_of_guards() -> None:
    """Have Dynamo not time the guards of what it compiled.

    It only logs how long they took, and flushes the processor's cache before. Measured: 25 ms and 8,000 page faults of
    each compile, a quarter of a request on the `eager` backend.
    """
    guards = import_module("torch._dynamo.guards")
    if hasattr(guards, "profile_guard_manager"):
        vars(guards)["profile_guard_manager"] = lambda *_: 0.0


def _rehearse() -> None:
    """Compile a program for fake tensors, forward and backward, and forget it.

    Python specializes bytecode as it runs. Whatever of Dynamo and AOTAutograd has run here is neither specialized again
    by each child, nor copied because of it. Measured: a nest of modes alone in a child takes 140 ms on aot_eager, not
    180, and 105 on pre_dispatch_eager, not 127.
    """
    import torch  # noqa: PLC0415  imported while garbage is not collected
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415  as above

    def program(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            low = a.sin() @ b
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
            half = torch.softmax(a @ b, -1)

        @torch.enable_grad()
        def inner(x: torch.Tensor) -> torch.Tensor:
            return x.relu() * 2

        return inner(a) + low, half.sum(), a.view(-1), b.t()

    for backend in ("eager", "aot_eager"):
        try:
            with FakeTensorMode():
                a, b = torch.empty(4, 4, requires_grad=True), torch.empty(4, 4)
                first, second, *_ = torch.compile(program, backend=backend)(a, b)
                torch.autograd.backward(first.sum() + second.sum())
        finally:
            torch.compiler.reset()


def _remember(name: str, *arguments: object) -> None:
    module, _, path = name.partition(":")
    with suppress(Exception):  # another version of torch, or no C++ compiler
        attrgetter(path)(import_module(module))(*arguments)

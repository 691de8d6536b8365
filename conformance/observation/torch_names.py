"""Every private name of PyTorch that the suite uses beyond its warm-up, and the effect of a missing one.

A name missing for the warm-up only makes children slower. `tests/observation/test_torch_names.py` compares this table
with the sources: an unlisted use fails, and so does an unused entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module

from conformance.model.errors import TorchError

__all__ = ["NAMES", "TorchName", "Without", "find", "require"]


class Without(StrEnum):
    """Effect of a missing name."""

    REFUSED = "nothing is run"
    ABSENT = "it is left out"
    BROKEN = "the backend cannot be used, and has one row with the reason"


@dataclass(frozen=True, kw_only=True)
class TorchName:
    """A private name.

    Args:
        name: dotted, from `torch` on; a module covers everything in it.
        purpose: what the suite does with it.
        without: effect if it is missing.
        used_by: the modules of the suite that use it, those of backends as `backends/name`.
    """

    name: str
    purpose: str
    without: Without
    used_by: tuple[str, ...]


def _group(without: Without, purpose: str, *names: str, by: tuple[str, ...]) -> tuple[TorchName, ...]:
    return tuple(TorchName(name=name, purpose=purpose, without=without, used_by=by) for name in names)


NAMES = (
    *_group(
        Without.REFUSED,
        "sees what is compiled and called, without which a pass would be worth nothing",
        "torch._dynamo.output_graph.OutputGraph.call_user_compiler",
        "torch._dynamo.output_graph.OutputGraph.install_global_unsafe",
        "torch._guards.CompileContext.current_compile_id",
        by=("observation/evidence",),
    ),
    *_group(
        Without.REFUSED,
        "has Dynamo run functions of the suite that watch a program as they are",
        "torch._dynamo.decorators.skip",
        by=("observation/evidence", "observation/printed"),
    ),
    *_group(
        Without.REFUSED,
        "lets moves of a caller recompile one function as often as they need",
        "torch._dynamo.config",
        by=("observation/repertoire",),
    ),
    *_group(
        Without.REFUSED,
        "counts graph breaks and skipped frames",
        "torch._dynamo.utils.graph_break_reasons",
        "torch._dynamo.utils.get_compilation_metrics",
        by=("observation/evidence", "triage/repro/program_text"),
    ),
    *_group(
        Without.REFUSED,
        "counts graph breaks and skipped frames",
        "torch._dynamo.utils.clear_compilation_metrics",
        by=("observation/evidence",),
    ),
    *_group(
        Without.REFUSED,
        "counts skipped frames",
        "torch._dynamo.utils.counters",
        by=("observation/evidence",),
    ),
    *_group(
        Without.REFUSED,
        "reports where graphs break, and why",
        "torch._dynamo.output_graph.GraphCompileReason",
        "torch._dynamo.utils.graph_break_reasons",
        by=("observation/graph_breaks",),
    ),
    *_group(
        Without.REFUSED,
        "counts the nodes of captured graphs that set a mode",
        "torch._C._set_grad_enabled",
        "torch.autograd.grad_mode._enter_inference_mode",
        "torch.amp.autocast_mode._enter_autocast",
        by=("observation/evidence",),
    ),
    *_group(
        Without.REFUSED,
        "sees modes and hooks that a call leaves behind, and ends them",
        "torch._C._autograd._top_saved_tensors_default_hooks",
        "torch._C._autograd._saved_tensors_hooks_is_enabled",
        "torch._C._functorch.maybe_current_level",
        "torch._C._len_torch_dispatch_stack",
        "torch._C._len_torch_function_stack",
        "torch._dynamo.compiled_autograd",
        "torch._dynamo.config",
        "torch._functorch.config",
        "torch._inductor.config",
        "torch.autograd.forward_ad._current_level",
        by=("observation/ambient", "triage/repro/observable"),
    ),
    *_group(
        Without.REFUSED,
        "sees modes and hooks that a call leaves behind, and ends them",
        "torch._C._autograd._pop_saved_tensors_default_hooks",
        "torch._C._autograd._saved_tensors_hooks_enable",
        "torch._C._functorch._grad_decrement_nesting",
        "torch._C._pop_torch_dispatch_stack",
        "torch._C._pop_torch_function_stack",
        by=("observation/ambient",),
    ),
    *_group(
        Without.REFUSED,
        "lets backward be compiled too",
        "torch._dynamo.compiled_autograd._enable",
        by=("observation/caller", "triage/repro/move_text"),
    ),
    *_group(
        Without.REFUSED,
        "compares results where a compiler that raised has left its dispatch keys behind",
        "torch._C._ForceDispatchKeyGuard",
        "torch._C._dispatch_tls_local_exclude_set",
        "torch._C._dispatch_tls_local_include_set",
        by=("observation/ambient",),
    ),
    *_group(
        Without.REFUSED,
        "watches the operations of a program, for the fp64 reference",
        "torch.utils._python_dispatch",
        by=("observation/widening",),
    ),
    *_group(
        Without.REFUSED,
        "finds compilers by name",
        "torch._dynamo.lookup_backend",
        by=(
            "observation/backend_info",
            "triage/explain/dissect",
            "triage/repro/script",
            "triage/repro/program_text",
        ),
    ),
    *_group(Without.REFUSED, "lists compilers by name", "torch._dynamo.list_backends", by=("backend/resolution",)),
    *_group(
        Without.REFUSED,
        "sees whether a tensor was changed in place, as the autograd notes describe",
        "torch.Tensor._version",
        by=("observation/driver", "triage/repro/observable"),
    ),
    *_group(
        Without.REFUSED,
        "copies a user's inputs with their layout and aliasing",
        "torch.Tensor._base",
        "torch._conj",
        "torch._neg_view",
        by=("observation/tensors",),
    ),
    *_group(
        Without.REFUSED,
        "reads the parts of a sparse tensor as they are stored",
        "torch.Tensor._indices",
        "torch.Tensor._values",
        by=("observation/tensors",),
    ),
    *_group(
        Without.REFUSED,
        "reads the numbers in a subclass of tensors",
        "torch._C.DisableTorchFunctionSubclass",
        by=("observation/snapshot",),
    ),
    *_group(
        Without.ABSENT,
        "lists guards in `conformance explain`",
        "torch._dynamo.eval_frame._debug_get_cache_entry_list",
        by=("triage/explain/dissect",),
    ),
    *_group(
        Without.ABSENT,
        "copies what a program returns that ran uncompiled, as a control of a failure",
        "torch.utils._pytree.tree_map",
        by=("catalogue/controls",),
    ),
    *_group(
        Without.ABSENT,
        "counts guards, FX nodes and kernels beside timings",
        "torch._dynamo.utils.clear_compilation_metrics",
        "torch._dynamo.utils.get_compilation_metrics",
        "torch._inductor.metrics",
        by=("timing/counters",),
    ),
    *_group(
        Without.REFUSED,
        "has each role of a user's function read its own module, not that of an earlier role",
        "torch._dynamo.symbolic_convert._import_module",
        by=("observation/modules",),
    ),
    *_group(
        Without.ABSENT,
        "keeps what a killed compiler of Inductor leaves behind from being read",
        "torch._inductor.cpp_builder.run_compile_cmd",
        by=("execution/whole_files", "execution/in_units"),
    ),
    *_group(
        Without.BROKEN,
        "finds out whether there is a C++ compiler",
        "torch._inductor.cpp_builder.get_cpp_compiler",
        "torch._inductor.exc.InvalidCxxCompiler",
        by=("backends/inductor",),
    ),
    *_group(
        Without.BROKEN,
        "finds out whether CUDA graphs were skipped",
        "torch._dynamo.utils.counters",
        by=("backends/cudagraphs",),
    ),
    *_group(
        Without.BROKEN,
        "finds out whether Inductor can be asked for strict numbers",
        "torch._inductor.config",
        by=("backends/inductor_strict",),
    ),
    *_group(
        Without.BROKEN,
        "finds compilers by name",
        "torch._dynamo.lookup_backend",
        by=("backends/openvino", "backends/torchburn"),
    ),
)


def find(name: str) -> object | None:
    """Return the object of a dotted name, None if this release of torch lacks it; imports modules as needed."""
    words = name.split(".")
    value: object = import_module(words[0])
    for index, word in enumerate(words[1:], 2):
        if not hasattr(value, word):
            try:
                import_module(".".join(words[:index]))
            except ImportError:
                return None
        value = getattr(value, word, None)
        if value is None:
            return None
    return value


def require() -> None:
    """Refuse a torch without the names that every run needs.

    Raises:
        TorchError: with the missing names.
    """
    lacking = [each for each in NAMES if each.without is Without.REFUSED and find(each.name) is None]
    if lacking:
        version = getattr(import_module("torch"), "__version__", "")
        missing = "\n".join(f"  {each.name}, which {each.purpose}" for each in lacking)
        message = f"torch {version} lacks what this suite cannot do without; use another release of torch:\n{missing}"
        raise TorchError(message)

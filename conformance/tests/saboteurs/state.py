"""Saboteurs of the state around a call: what the caller set or holds is not as it should be afterwards.

torch.compile forces the caller's dispatch keys back when the compiled function returns, and with them whether autocast
is on. So no backend can leave autocast on; its dtype, its nesting and its cache it can, and the gradient mode. Nor can
it leave a transform of torch.func open: Dynamo ends those after a call, and the autograd engine after backward.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import compiled_autograd
from torch._dynamo import config as dynamo
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from conformance.tests.saboteurs.wiring import PassingThrough, finish_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.tests.saboteurs.wiring import Compiled, Examples, Graph


def _leaving(graph: Graph, leak: Callable[[], object]) -> Compiled:
    return finish_with(graph, lambda _inputs, _results: leak())


def grad_mode_left_off(graph: Graph, _: Examples) -> Compiled:
    """Recording is off after every call."""
    return _leaving(graph, lambda: torch.set_grad_enabled(False))


def grad_mode_left_off_by_exception(graph: Graph, _: Examples) -> Compiled:
    """Recording is off after a call that raised, wherever in the graph that happened."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        try:
            return tuple(graph.forward(*inputs))
        except Exception:
            torch.set_grad_enabled(False)
            raise

    return run


def grad_mode_always_restored(graph: Graph, _: Examples) -> Compiled:
    """The gradient mode is put back at the end, also where the program set it to last."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        before = torch.is_grad_enabled()
        try:
            return tuple(graph.forward(*inputs))
        finally:
            torch.set_grad_enabled(before)

    return run


def autocast_dtype_left(graph: Graph, _: Examples) -> Compiled:
    """Autocast's dtype is float16 after every call."""
    return _leaving(graph, lambda: torch.set_autocast_dtype("cpu", torch.float16))


def autocast_cache_left_off(graph: Graph, _: Examples) -> Compiled:
    """Autocast's weight cache is off after every call."""
    return _leaving(graph, lambda: torch.set_autocast_cache_enabled(False))


def default_dtype_left(graph: Graph, _: Examples) -> Compiled:
    """The default dtype is float64 after every call."""
    return _leaving(graph, lambda: torch.set_default_dtype(torch.float64))


def saved_tensor_hooks_left(graph: Graph, _: Examples) -> Compiled:
    """Hooks on saved tensors stay installed after every call."""
    return _leaving(graph, lambda: torch._C._autograd._push_saved_tensors_default_hooks(_same, _same))


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def anomaly_detection_left_on(graph: Graph, _: Examples) -> Compiled:
    """Anomaly detection is on after every call."""
    return _leaving(graph, lambda: torch.set_anomaly_enabled(True, check_nan=False))


def function_mode_left(graph: Graph, _: Examples) -> Compiled:
    """A mode that sees every function of torch stays active after every call."""
    mode = torch.overrides.BaseTorchFunctionMode()
    return _leaving(graph, mode.__enter__)


def dispatch_mode_left(graph: Graph, _: Examples) -> Compiled:
    """A mode that sees every operation of torch stays active after every call."""
    return _leaving(graph, PassingThrough().__enter__)  # type: ignore[no-untyped-call]


def flush_denormal_left_on(graph: Graph, _: Examples) -> Compiled:
    """Denormal numbers are zero after every call, as after loading a library that was built with -ffast-math."""
    return _leaving(graph, lambda: torch.set_flush_denormal(True))


def threads_left(graph: Graph, _: Examples) -> Compiled:
    """The number of threads is another one after every call."""
    return _leaving(graph, lambda: torch.set_num_threads(torch.get_num_threads() + 1))


def matmul_precision_left(graph: Graph, _: Examples) -> Compiled:
    """float32 products may be computed in lower precision after every call."""
    return _leaving(graph, lambda: torch.set_float32_matmul_precision("medium"))


def python_rng_consumed(graph: Graph, _: Examples) -> Compiled:
    """Each call draws a number from Python's own generator."""
    return _leaving(graph, random.random)


def rng_consumed(graph: Graph, _: Examples) -> Compiled:
    """Each call draws one random number more than the program does."""
    return _leaving(graph, lambda: torch.rand(1))


def rng_not_advanced(graph: Graph, _: Examples) -> Compiled:
    """What the program draws does not advance the generator: the next call draws the same."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        with torch.random.fork_rng(devices=()):
            return tuple(graph.forward(*inputs))

    return run


def rng_of_its_own(graph: Graph, _: Examples) -> Compiled:
    """Random numbers come from a stream of the backend's own, not from the generator that the caller seeded."""

    def run(*inputs: Any) -> tuple[Any, ...]:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(12345)
            return tuple(graph.forward(*inputs))

    return run


def saved_tensor_hooks_forbidden(graph: Graph, _: Examples) -> Compiled:
    """Hooks on saved tensors are refused after every call."""
    return _leaving(graph, lambda: torch._C._autograd._saved_tensors_hooks_disable("no longer"))


def forward_ad_level_left(graph: Graph, _: Examples) -> Compiled:
    """A level of forward-mode differentiation stays open after every call."""

    def leak() -> None:
        if forward_ad._current_level < 0:  # a second one is refused
            forward_ad.enter_dual_level()  # type: ignore[no-untyped-call]

    return _leaving(graph, leak)


def compiled_autograd_left_on(graph: Graph, _: Examples) -> Compiled:
    """Backward is compiled, or said to be, after every call."""
    return _leaving(graph, lambda: setattr(compiled_autograd, "compiled_autograd_enabled", True))


def default_device_left(graph: Graph, _: Examples) -> Compiled:
    """New tensors have no memory after every call: they are on the device meta."""
    return _leaving(graph, lambda: torch.set_default_device("meta"))


def default_device_claimed(graph: Graph, _: Examples) -> Compiled:
    """The default device is said to be another one after every call, though tensors are made where they were."""
    context = DeviceContext("cpu:0")
    context.old_device = None  # for what ends a context, which this one never began
    return _leaving(graph, lambda: setattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", context))


def determinism_only_warned_of(graph: Graph, _: Examples) -> Compiled:
    """What is not deterministic would only be warned of after every call."""
    return _leaving(graph, lambda: torch.use_deterministic_algorithms(False, warn_only=True))


def determinism_left_on(graph: Graph, _: Examples) -> Compiled:
    """Deterministic algorithms are asked for after every call."""
    # Not by the public function, which sets an option of Inductor too.
    return _leaving(graph, lambda: torch._C._set_deterministic_algorithms(True, warn_only=False))


def memory_no_longer_filled(graph: Graph, _: Examples) -> Compiled:
    """Uninitialized memory would not be filled, in deterministic mode, after every call."""
    return _leaving(graph, lambda: setattr(torch.utils.deterministic, "fill_uninitialized_memory", False))


def configuration_left(graph: Graph, _: Examples) -> Compiled:
    """Dynamo's configuration is another one after every call."""
    return _leaving(graph, lambda: setattr(dynamo, "enable_trace_unittest", not dynamo.enable_trace_unittest))


def environment_changed(graph: Graph, _: Examples) -> Compiled:
    """An environment variable more is set after every call."""
    return _leaving(graph, lambda: os.environ.update({f"LEFT_BY_A_CALL_{len(os.environ)}": "1"}))


def warning_filters_changed(graph: Graph, _: Examples) -> Compiled:
    """A further filter of warnings is there after every call."""
    return _leaving(graph, lambda: warnings.filterwarnings("ignore", message=f"left {len(warnings.filters)}"))


def exception_hook_replaced(graph: Graph, _: Examples) -> Compiled:
    """Exceptions that nobody catches are no longer shown after every call."""

    def silent(*_: object) -> None: ...

    return _leaving(graph, lambda: setattr(sys, "excepthook", silent))


def log_handler_added(graph: Graph, _: Examples) -> Compiled:
    """The root logger has a handler more after every call."""
    return _leaving(graph, lambda: logging.getLogger().addHandler(logging.NullHandler()))


def thread_left(graph: Graph, _: Examples) -> Compiled:
    """Every call starts a thread that never ends, and for which the program waits when it ends."""
    return _leaving(graph, lambda: threading.Thread(target=threading.Event().wait).start())

"""Ambient state around a call: capture, set and restore it."""

# ruff: noqa: SLF001 - some of this state has no public reader

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import sys
import threading
import time
import warnings
from concurrent.futures.thread import _threads_queues
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import compiled_autograd
from torch._dynamo import config as dynamo
from torch._functorch import config as functorch
from torch._inductor import config as inductor

from conformance.model.device import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["AmbientState", "applied", "capture", "dispatching_as_now", "restore", "rng"]


_CONFIGURATIONS: tuple[Any, ...] = (dynamo, functorch, inductor)
_ENDING_S = 0.2  # how long the threads that a call started may take to end


@dataclass(frozen=True, kw_only=True)
class AmbientState:
    """Everything a call may leave changed.

    `rng` and `python_rng` are digests of the state of PyTorch's and of Python's own generator. `works` is None when an
    ordinary operation still gives its ordinary result, else what went wrong. Those of
    `conformance.model.process_state` depend on what the process has loaded.
    """

    grad_mode: bool
    inference_mode: bool
    autocast: bool
    autocast_dtype: str
    autocast_cache: bool
    autocast_nesting: int
    saved_tensor_hooks: bool
    default_dtype: str
    anomaly_mode: bool
    deterministic: bool
    function_modes: int
    dispatch_modes: int
    threads: int
    matmul_precision: str
    flush_denormal: bool
    saved_tensor_hooks_allowed: bool
    forward_ad_level: int
    functorch_level: int
    compiled_autograd: bool
    default_device: str
    deterministic_warns: bool
    fills_memory: bool
    configuration: str
    environment: str
    warning_filters: str
    exception_hook: str
    log_handlers: int
    lasting_threads: int
    rng: str
    python_rng: str
    works: str | None


def capture() -> AmbientState:
    """Read the state of this thread without changing it."""
    return AmbientState(
        grad_mode=torch.is_grad_enabled(),
        inference_mode=torch.is_inference_mode_enabled(),
        autocast=torch.is_autocast_enabled(DEVICE),
        autocast_dtype=str(torch.get_autocast_dtype(DEVICE)),
        autocast_cache=torch.is_autocast_cache_enabled(),
        autocast_nesting=_nesting(),
        saved_tensor_hooks=_has_saved_tensor_hooks(),
        default_dtype=str(torch.get_default_dtype()),
        anomaly_mode=torch.is_anomaly_enabled(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        function_modes=torch._C._len_torch_function_stack(),
        dispatch_modes=torch._C._len_torch_dispatch_stack(),
        threads=torch.get_num_threads(),
        matmul_precision=torch.get_float32_matmul_precision(),
        flush_denormal=sys.float_info.min * 0.5 == 0.0,  # a mode of the processor, so Python's floats show it
        saved_tensor_hooks_allowed=torch._C._autograd._saved_tensors_hooks_is_enabled(),  # type: ignore[attr-defined]
        forward_ad_level=torch.autograd.forward_ad._current_level,
        functorch_level=torch._C._functorch.maybe_current_level() or 0,
        compiled_autograd=compiled_autograd.compiled_autograd_enabled,
        default_device=_default_device(),
        deterministic_warns=torch.is_deterministic_algorithms_warn_only_enabled(),
        fills_memory=torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        configuration=_digest(b"".join(each.get_hash() for each in _CONFIGURATIONS)),
        environment=_digest(repr(sorted(_public_variables())).encode()),
        warning_filters=_digest(repr(warnings.filters).encode()),
        exception_hook=f"{sys.excepthook.__module__}.{sys.excepthook.__qualname__}",
        log_handlers=len(logging.getLogger().handlers),
        lasting_threads=_lasting_threads(),
        rng=rng(),
        python_rng=_digest(repr(random.getstate()).encode()),
        works=_failure(),
    )


def dispatching_as_now() -> AbstractContextManager[object]:
    """Return a context in which operations dispatch as now, even if a compiler has since leaked dispatch keys."""
    return torch._C._ForceDispatchKeyGuard(
        torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
    )


def _public_variables() -> list[tuple[str, str]]:
    """Return the environment, without names that begin with an underscore: libraries leave themselves notes there."""
    return [(name, value) for name, value in os.environ.items() if not name.startswith("_")]


def _lasting_threads() -> int:
    """Count the Python threads that keep the program from ending, after a moment in which they may end.

    Not daemons, nor workers of executors, which end with the program: in those, compilers wait for further work.
    """
    until = time.monotonic() + _ENDING_S
    lasting = [each for each in threading.enumerate() if not each.daemon and each not in _threads_queues]
    others = [each for each in lasting if each is not threading.main_thread()]
    for each in others:
        each.join(max(0.0, until - time.monotonic()))
    return sum(each.is_alive() for each in others)


def _default_device() -> str:
    try:
        return str(torch.get_default_device())
    except Exception as error:  # noqa: BLE001 - a leaked mode may refuse every operation
        return f"unreadable: {type(error).__name__}"


def _nesting() -> int:
    """The number of open autocast regions; the counter can only be read by changing it."""
    level = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    return level - 1


def _has_saved_tensor_hooks() -> bool:
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def rng() -> str:
    """A digest of the state of PyTorch's generator."""
    try:
        return _digest(torch.get_rng_state().numpy().tobytes())
    except Exception as error:  # noqa: BLE001 - a leaked mode may refuse every operation
        return f"unreadable: {type(error).__name__}"


def _digest(state: bytes) -> str:
    return hashlib.sha256(state).hexdigest()[:12]


def _failure() -> str | None:
    """Describe how an ordinary operation fails, or return None."""
    try:
        result = (torch.ones(2, dtype=torch.float64) + 1).tolist()
    except Exception as error:  # noqa: BLE001 - whatever a broken process raises is the observation
        return f"{type(error).__name__}: {error}"
    return None if result == [2.0, 2.0] else f"ones(2) + 1 gave {result}"


@contextlib.contextmanager
def applied(*, grad: str, autocast: str) -> Iterator[None]:
    """Apply the ambient modes that a variant or call asks for."""
    with contextlib.ExitStack() as stack:
        if grad == "inference":
            stack.enter_context(torch.inference_mode())
        else:
            stack.enter_context(torch.set_grad_enabled(grad == "enabled"))
        if autocast != "off":
            stack.enter_context(torch.autocast(DEVICE, dtype=getattr(torch, autocast)))
        yield


def restore(state: AmbientState) -> None:
    """Restore what a call left changed, so that the next call starts in the same state.

    Inference mode is held by an object that this module does not own: it stays, and has been reported.
    """
    if _default_device() != state.default_device:
        torch.set_default_device(None)
    while torch._C._len_torch_function_stack() > state.function_modes:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > state.dispatch_modes:
        torch._C._pop_torch_dispatch_stack(None)
    while _has_saved_tensor_hooks() and not state.saved_tensor_hooks:
        torch._C._autograd._pop_saved_tensors_default_hooks()
    if torch.get_num_threads() != state.threads:
        torch.set_num_threads(state.threads)
    torch.set_float32_matmul_precision(state.matmul_precision)
    torch.set_flush_denormal(state.flush_denormal)
    torch.set_grad_enabled(state.grad_mode)
    torch.set_autocast_enabled(DEVICE, state.autocast)
    torch.set_autocast_dtype(DEVICE, getattr(torch, state.autocast_dtype.removeprefix("torch.")))
    torch.set_autocast_cache_enabled(state.autocast_cache)
    while _nesting() > state.autocast_nesting:
        torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()
    torch.set_default_dtype(getattr(torch, state.default_dtype.removeprefix("torch.")))
    torch.set_anomaly_enabled(state.anomaly_mode)
    torch.use_deterministic_algorithms(state.deterministic, warn_only=state.deterministic_warns)
    torch.utils.deterministic.fill_uninitialized_memory = state.fills_memory  # type: ignore[attr-defined]
    compiled_autograd.compiled_autograd_enabled = state.compiled_autograd
    _restore_levels(state)


def _restore_levels(state: AmbientState) -> None:
    """End transforms that were left open, and allow hooks on saved tensors again."""
    while torch.autograd.forward_ad._current_level > state.forward_ad_level:
        torch.autograd.forward_ad.exit_dual_level()  # type: ignore[no-untyped-call]
    while (torch._C._functorch.maybe_current_level() or 0) > state.functorch_level:
        torch._C._functorch._grad_decrement_nesting()
    if state.saved_tensor_hooks_allowed:
        torch._C._autograd._saved_tensors_hooks_enable()

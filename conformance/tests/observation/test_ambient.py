from __future__ import annotations

import contextlib
import logging
import random
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import torch
from torch._dynamo import compiled_autograd, config
from torch._functorch import config as functorch
from torch._inductor import config as inductor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.observation import ambient
from conformance.tests.roles import changed_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    """Leave the state of this thread as it was, whatever a test does."""
    before, rng, python_rng = ambient.capture(), torch.get_rng_state(), random.getstate()
    yield
    torch.set_rng_state(rng)
    random.setstate(python_rng)
    ambient.restore(before)
    assert changed_since(before) == set()


class PassingOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Changes nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator."""
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set another default dtype within a context."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@contextlib.contextmanager
def changed(setting: Callable[[Any], object], value: object) -> Iterator[None]:
    """Set something and do not undo it: the fixture restores it."""
    setting(value)
    yield


def fill_memory(value: object) -> None:
    """Say whether uninitialized memory is filled in deterministic mode."""
    torch.utils.deterministic.fill_uninitialized_memory = value  # type: ignore[attr-defined]


@contextlib.contextmanager
def transform() -> Iterator[None]:
    """Leave a transform of torch.func open: the fixture ends it."""
    torch._C._functorch._grad_increment_nesting()
    yield


@contextlib.contextmanager
def a_thread() -> Iterator[None]:
    """Run a thread that ends with the context."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


@contextlib.contextmanager
def attribute(owner: Any, name: str, value: object) -> Iterator[None]:
    """Set an attribute within a context."""
    with mock.patch.object(owner, name, value):
        yield


def test_reading_the_state_does_not_change_it() -> None:
    """Two readings are equal, although the nesting counter can only be read by moving it."""
    assert ambient.capture() == ambient.capture()


@pytest.mark.parametrize(
    ("names", "context"),
    [
        ({"grad_mode"}, torch.no_grad),
        ({"inference_mode", "grad_mode"}, torch.inference_mode),
        ({"saved_tensor_hooks"}, lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)),
        ({"default_dtype"}, lambda: default_dtype(torch.float64)),
        ({"anomaly_mode"}, lambda: torch.autograd.set_detect_anomaly(True, check_nan=False)),
        ({"function_modes"}, BaseTorchFunctionMode),
        ({"dispatch_modes"}, PassingOperators),
        ({"threads"}, lambda: changed(torch.set_num_threads, torch.get_num_threads() + 1)),
        ({"matmul_precision"}, lambda: changed(torch.set_float32_matmul_precision, "medium")),
        ({"flush_denormal"}, lambda: changed(torch.set_flush_denormal, True)),
        ({"python_rng"}, lambda: changed(random.seed, 7)),
        (
            {"saved_tensor_hooks_allowed"},
            lambda: changed(torch._C._autograd._saved_tensors_hooks_disable, "no longer"),
        ),
        ({"forward_ad_level"}, forward_ad.dual_level),
        ({"functorch_level", "rng"}, transform),
        ({"default_device", "function_modes", "works"}, lambda: changed(torch.set_default_device, "meta")),
        ({"fills_memory"}, lambda: changed(fill_memory, False)),
        ({"compiled_autograd"}, lambda: attribute(compiled_autograd, "compiled_autograd_enabled", True)),
        ({"configuration"}, lambda: config.patch(specialize_float=not config.specialize_float)),
        ({"configuration"}, lambda: functorch.patch(cse=not functorch.cse)),
        ({"configuration"}, lambda: inductor.patch(dce=not inductor.dce)),
        ({"lasting_threads"}, a_thread),
        ({"environment"}, lambda: mock.patch.dict("os.environ", {"CONFORMANCE_TEST": "1"})),
        ({"warning_filters"}, lambda: changed(warnings.simplefilter, "ignore")),
        ({"exception_hook"}, lambda: attribute(sys, "excepthook", print)),
        ({"log_handlers"}, lambda: attribute(logging.getLogger(), "handlers", [])),
        (
            {"autocast", "autocast_dtype", "autocast_nesting"},
            lambda: torch.autocast("cpu", dtype=torch.float16),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_each_mode_is_seen(names: set[str], context: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """A context shows in its own fields and in no other."""
    before = asdict(ambient.capture())
    with context():
        during = asdict(ambient.capture())
    assert {name for name in during if during[name] != before[name]} == names


def test_threads_that_end_with_the_program_do_not_last() -> None:
    """A daemon, a worker of an executor, and a thread that is about to end."""
    end, before = threading.Event(), ambient.capture()
    threading.Thread(target=end.wait, daemon=True).start()
    threading.Thread(target=time.sleep, args=(0.02,)).start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(end.wait)
        assert ambient.capture() == before
        end.set()


def test_consumed_randomness_is_seen() -> None:
    """One drawn number changes the digest of the generator."""
    before = ambient.capture()
    torch.rand(1)
    assert ambient.capture().rng != before.rng


def test_deterministic_algorithms_are_seen() -> None:
    """A flag that stays on is seen, and put back."""
    before = ambient.capture()
    torch.use_deterministic_algorithms(not before.deterministic)
    assert ambient.capture().deterministic is not before.deterministic


def test_the_autocast_cache_is_seen() -> None:
    """Switching off the weight cache is seen."""
    torch.set_autocast_cache_enabled(False)
    assert not ambient.capture().autocast_cache


def test_an_ordinary_operation_works() -> None:
    """A healthy process adds one to one."""
    assert ambient.capture().works is None


def test_an_operation_that_raises_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken process is described by what it raises."""

    def broken(*_: Any, **__: Any) -> None:
        message = "no kernel"
        raise LookupError(message)

    monkeypatch.setattr(torch, "ones", broken)
    assert ambient.capture().works == "LookupError: no kernel"


def test_an_operation_with_a_wrong_result_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that calculates wrongly is described by the result."""
    monkeypatch.setattr(torch, "ones", torch.zeros)
    assert ambient.capture().works == "ones(2) + 1 gave [1.0, 1.0]"


@pytest.mark.parametrize(
    ("grad", "is_grad", "is_inference"),
    [("enabled", True, False), ("disabled", False, False), ("inference", False, True)],
)
@pytest.mark.parametrize("outer", [True, False])
def test_the_grad_mode_of_a_variant_is_applied(grad: str, is_grad: bool, is_inference: bool, outer: bool) -> None:
    """The ambient mode is that of the variant, whatever is around it."""
    with torch.set_grad_enabled(outer), ambient.applied(grad=grad, autocast="off"):
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (is_grad, is_inference)


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_the_autocast_of_a_variant_is_applied(autocast: str) -> None:
    """The ambient autocast has the variant's dtype."""
    with ambient.applied(grad="enabled", autocast=autocast):
        state = ambient.capture()
    assert (state.autocast, state.autocast_dtype) == (True, f"torch.{autocast}")


def test_applied_modes_end_with_an_exception() -> None:
    """What a program raises does not leave the driver's modes open."""
    before = ambient.capture()
    with contextlib.suppress(ValueError), ambient.applied(grad="inference", autocast="bfloat16"):
        raise ValueError
    assert ambient.capture() == before


def test_what_leaked_is_put_back() -> None:
    """After restoring, the state is the one that was read."""
    before = ambient.capture()
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_cache_enabled(False)
    torch.autocast_increment_nesting()
    torch.autocast_increment_nesting()
    torch.set_default_dtype(torch.float64)
    torch.set_anomaly_enabled(not before.anomaly_mode)
    torch.use_deterministic_algorithms(not before.deterministic)
    ambient.restore(before)
    assert changed_since(before) == set()


@pytest.mark.parametrize(
    "mode",
    [
        TorchDispatchMode,
        FakeTensorMode,
        BaseTorchFunctionMode,
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    ],
)
def test_a_leaked_mode_is_seen_and_taken_off(mode: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
    """A mode that nobody will leave is reported, even one that refuses every operation, and does not stay."""
    before = ambient.capture()
    mode().__enter__()
    during = ambient.capture()
    ambient.restore(before)
    assert during != before
    assert ambient.capture() == before


def test_inference_mode_is_not_put_back() -> None:
    """Inference mode belongs to the object that opened it."""
    before = ambient.capture()
    with torch.inference_mode():
        ambient.restore(before)
        assert ambient.capture().inference_mode


def test_results_can_be_compared_where_a_compiler_left_its_dispatch_keys_behind() -> None:
    """Within a guard that was made before, an operation finds its kernel; outside of it, it is reported as broken."""
    whole = ambient.dispatching_as_now()
    left_behind = torch._C.DispatchKeySet(torch._C.DispatchKey.PythonDispatcher)
    with torch._C._ForceDispatchKeyGuard(left_behind, torch._C._dispatch_tls_local_exclude_set()):
        assert "PythonDispatcher" in str(ambient.capture().works)
        with whole:
            assert ambient.capture().works is None

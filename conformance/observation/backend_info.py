"""Child side: describe a backend."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING

from conformance.backend.resolution import expectations_of, load, name_of, packages_of, tolerance_of
from conformance.model.enums import Stage
from conformance.model.errors import BackendError
from conformance.model.process_state import OF_PROCESS
from conformance.model.request import BackendInfo

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["describe_backend"]


def describe_backend(ref: str, report: Callable[[Stage], None]) -> BackendInfo:
    """Describe a backend; one that raises on import, or exits, is described as broken.

    Raises:
        BackendError: no backend has that name.
    """
    report(Stage.LOAD)
    before = _state()
    try:
        info = _describe(ref)
    except BackendError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plug-in may raise anything; that is a result
        return BackendInfo(ref=ref, name=name_of(ref), broken=f"{type(error).__name__}: {error}")
    after = _state()
    if changes := [f"{name} from {before[name]} to {after[name]}" for name in before if before[name] != after[name]]:
        broken = f"loading it changes what every program means: {', '.join(changes)}"
        return BackendInfo(ref=ref, name=info.name, broken=broken)
    return info


_NO_MEANING = {"rng", "python_rng", "threads", "works", *OF_PROCESS}
"""Fields of the ambient state that each role sets itself, that only affect speed, or that any import may change."""


def _state() -> dict[str, object]:
    """The ambient state of PyTorch if it is loaded, as far as it changes what programs mean."""
    if "torch" not in sys.modules:
        return {}
    state = asdict(import_module("conformance.observation.ambient").capture())
    return {name: value for name, value in state.items() if name not in _NO_MEANING}


def _describe(ref: str) -> BackendInfo:
    backend, home = load(ref)
    unavailable = backend.available() if backend.available else None
    compiler = backend.compile.get("backend", backend.name)
    if unavailable is None and isinstance(compiler, str):
        import_module("torch._dynamo").lookup_backend(compiler)  # raises if torch does not know it or cannot load it
    return BackendInfo(
        ref=ref,
        name=backend.name,
        capabilities=backend.capabilities,
        tolerance=tolerance_of(backend),
        bitwise_pointwise=backend.bitwise_pointwise,
        packages=packages_of(backend),
        env=backend.env,
        tags=backend.tags,
        expectations=expectations_of(backend, home),
        compile_timeout_s=backend.compile_timeout_s,
        unavailable=unavailable,
        description=backend.description,
    )

"""PUBLIC plug-in API: what a backend's package provides, and how a backend is named.

A third party needs one object and one entry point in the group `conformance.backends`::

    from conformance.backend import Backend

    backend = Backend(name="mine", compile={"backend": "mine"})

Importing this module imports no torch, so that declaring a backend costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance.model.enums import Capability

__all__ = ["Backend", "Capability"]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Something `torch.compile(backend=...)` accepts, plus what it claims to support. All but the name is optional.

    >>> conformance.Backend(name="mine", capabilities=conformance.Capability.all(), tolerance={"float32": 1e-4}).name
    'mine'

    Args:
        name: its name in tables and commands.
        compile: keyword arguments for `torch.compile`: `backend` (a name torch knows, or a callable
            `(gm, example_inputs) -> callable`), `options`, `mode`. Default: `{"backend": name}`.
        imports: modules to import before the name is looked up, for packages that register on import.
        factory: makes the compiler on use, not on declaration: called without arguments after the imports, in place of
            `compile["backend"]`.
        capabilities: what it claims; default: everything. A case that requires more is `unsupported`.
        tolerance: largest relative error against the float64 reference by dtype, e.g. `{"float32": 1e-4}`, where its
            arithmetic is known to be less precise than the suite allows.
        bitwise_pointwise: whether it claims the bits of the uncompiled result wherever all operations of a call are
            pointwise (`torch.Tag.pointwise`), or only arrange and convert numbers: then a bit that differs there fails.
        packages: distributions whose versions are recorded with its results, by name, or pinned, e.g. `acme>=1.4`:
            with another version it cannot be used.
        env: environment variables set before torch is imported.
        patches: configuration during a run, by dotted name under torch, e.g.
            `{"_inductor.config.fallback_random": True}`.
        eager_random: like `patches`, configuration under which it draws the same random numbers as uncompiled, if it
            does not claim `rng`: results that depend on such numbers are compared under it.
        tags: arbitrary words. `slow_compile` says that it takes seconds to compile, `cpp_kernels` that Inductor has a
            C++ compiler build its kernels, so that those of several children are built together.
        expectations: path of its known failures; default: `<name>.expected.yaml` beside the defining module.
        available: returns None, or why it cannot run on this machine (then every request is a `skip`).
        engaged: called after a run; returns None, or why a fallback and not the backend did the work (then a pass
            is `vacuous`).
        compile_timeout_s: seconds one request may take, where the default is too short for its compiler.
    """

    name: str
    compile: Mapping[str, object] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    factory: Callable[[], Callable[..., object]] | None = None
    capabilities: frozenset[Capability] = field(default_factory=Capability.all)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    bitwise_pointwise: bool = False
    packages: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    patches: Mapping[str, object] = field(default_factory=dict)
    eager_random: Mapping[str, object] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    expectations: Path | None = None
    available: Callable[[], str | None] | None = None
    engaged: Callable[[], str | None] | None = None
    compile_timeout_s: float | None = None
    description: str = ""

"""A case: one program, its inputs, the calls and variants that it is run in, and what must hold of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conformance.model.enums import Capability, Level, Stage, Tier
from conformance.model.moves import NO_MOVES
from conformance.model.user_function import UserFunction

__all__ = [
    "CALLS",
    "CONTINUOUS",
    "SPECIAL",
    "Call",
    "Case",
    "ExpectedRaise",
    "Family",
    "InputSpec",
    "Location",
    "Variant",
    "contiguous",
    "requires_grad",
    "whole_bounds",
]

Number = int | float
Scalar = bool | int | float | str


@dataclass(frozen=True, kw_only=True, order=True)
class Location:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    @property
    def key(self) -> tuple[str, int, int]:
        """Sort key of locations."""
        return (self.file, self.line, self.column)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One argument of the program: a seeded tensor, a literal tensor, or a Python scalar.

    A size in `shape` may name a param; the size is then the param's value in the variant. `dtype` None means the
    variant's dtype. `stride` None means contiguous. `values` gives the numbers row by row. With `scalar` set it is a
    plain Python value and every other field is ignored, as with `maker`: the import paths of a user's function that
    makes the arguments and of the function that takes them (see `conformance.observation.user_code`).

    Not `leaf`, it is computed from a leaf, and its own gradient is kept. `inference`: it was made in inference mode.
    `alias_of` names the input that it is, passed a second time; `view_of` the one that it is a view of, with `shape`,
    `stride` and `offset` (in elements).
    """

    shape: tuple[int | str, ...] = ()
    dtype: str | None = None
    requires_grad: bool = False
    stride: tuple[int, ...] | None = None
    distribution: str = "normal"
    low: Number | None = None
    high: Number | None = None
    values: tuple[Scalar, ...] | None = None
    scalar: Scalar | None = None
    leaf: bool = True
    inference: bool = False
    alias_of: str | None = None
    view_of: str | None = None
    offset: int = 0
    maker: tuple[str, str] | None = None

    @property
    def base(self) -> str | None:
        """The input whose memory it shares, if any."""
        return self.alias_of or self.view_of


SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0)
"""What the distribution `special` puts among numbers of the distribution `uniform`, in turn."""


def whole_bounds(spec: InputSpec, *, is_bool: bool) -> tuple[int, int]:
    """Return the bounds of whole numbers for an input; the upper one is not reached."""
    if is_bool:
        return 0, 2
    low = int(spec.low or 0)
    return low, 10 if spec.high is None else max(low + 1, int(spec.high))


def contiguous(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous tensor of these sizes."""
    return tuple(math.prod(sizes[place + 1 :]) for place in range(len(sizes)))


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the compiled function in a sequence; fields that are None keep the variant's values.

    `shapes`, `requires_grad` and `scalars` change inputs by name. `perturb` changes the weights of the case's
    modules in place before the call. `inplace` multiplies each floating result in place by two before backward.
    """

    grad: str | None = None
    autocast: str | None = None
    dtype: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    requires_grad: Mapping[str, bool] = field(default_factory=dict)
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    backward: bool = True
    perturb: bool = False
    inplace: bool = False


CONTINUOUS = ("float", "bfloat", "complex")
"""How the names of dtypes begin of which a tensor may require gradients."""


def requires_grad(name: str, spec: InputSpec, call: Call, dtype: str) -> bool:
    """Return whether an input is to require gradients in a call.

    In a variant of whole numbers nothing does. An input that is itself declared so is a mistake, which shows when it is
    made.

    Args:
        name: of the input.
        spec: of the input.
        call: which may say otherwise.
        dtype: what the input is made in.
    """
    may = spec.dtype is not None or dtype.startswith(CONTINUOUS)
    return call.requires_grad.get(name, spec.requires_grad and may)


CALLS = (Call(), Call(perturb=True))
"""The default sequence: one call, and a second on new values and changed weights."""


@dataclass(frozen=True, kw_only=True)
class ExpectedRaise:
    """A case whose program raises uncompiled: at which stage, and which exception type (its class name)."""

    stage: Stage = Stage.FORWARD
    type: str = "RuntimeError"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One point of a case's axes. `dynamic` None is PyTorch's automatic dynamic shapes.

    `moves` are what the caller does besides one call and one backward: `none`, `usual`, `all`, or names of
    `conformance.model.moves` joined by `+`. `tier` is where it runs unless it is requested; it is not part of the id.
    """

    grad: str = "enabled"
    autocast: str = "off"
    dtype: str = "float32"
    dynamic: bool | None = False
    params: Mapping[str, Scalar] = field(default_factory=dict)
    moves: str = NO_MOVES
    tier: Tier = Tier.DEFAULT

    @property
    def axes(self) -> dict[str, str]:
        """Axis name -> value as text, in the order of the id; every axis, default or not."""
        dynamic = "auto" if self.dynamic is None else str(self.dynamic).lower()
        fixed = {"grad": self.grad, "autocast": self.autocast, "dtype": self.dtype, "dynamic": dynamic}
        params = {name: _text(value) for name, value in sorted(self.params.items())}
        return fixed | params | {"moves": self.moves}

    @property
    def requires(self) -> frozenset[Capability]:
        """Capabilities that a backend must claim for the ambient modes of the caller, and for the dtype."""
        grad = {"disabled": {Capability.GRAD_MODE}, "inference": {Capability.INFERENCE_MODE}}.get(self.grad, set())
        cast = set() if self.autocast == "off" else {Capability.AUTOCAST, Capability(self.autocast)}
        return frozenset(grad | cast | _BY_DTYPE.get(self.dtype, set()))

    @property
    def id(self) -> str:
        """A stable, readable id: grad always, other axes only where they differ from the default."""
        defaults = {"autocast": "off", "dtype": "float32", "dynamic": "false", "moves": NO_MOVES}
        parts = [f"{name}={value}" for name, value in self.axes.items() if defaults.get(name) != value]
        return ",".join(parts)


_BY_DTYPE = {
    "float16": {Capability.FLOAT16},
    "bfloat16": {Capability.BFLOAT16},
    "float64": {Capability.FLOAT64},
    "complex64": {Capability.COMPLEX},
    "complex128": {Capability.COMPLEX},
}


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A set of cases generated from one description; the id of each of its cases starts with its own and a dot.

    `points` is how many case variants its grammar has, by depth; `pruned` how many of them each rule left out.
    """

    id: str
    title: str
    points: Mapping[str, int] = field(default_factory=dict)
    pruned: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program, its inputs, and what must hold of it.

    `setup` runs once per role, uncompiled: it defines helpers, modules and optimizers the program uses.
    `checks` raises a check to MUST (and enables those that run only on request).
    `recompiles` None allows one for each call that changes something guards depend on.
    `may_raise` means that the uncompiled program may raise without `raises`: the backend must then raise too.
    `twin` is another program over the same inputs and setup that must do the same (a metamorphic law).
    `family` generated the case, if any did. `function` is the user's function that the program calls, if any.
    """

    id: str
    title: str
    topic: str
    program: str
    location: Location
    setup: str = ""
    clauses: tuple[str, ...] = ()
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    variants: tuple[Variant, ...] = (Variant(),)
    calls: tuple[Call, ...] = CALLS
    raises: ExpectedRaise | None = None
    may_raise: bool = False
    requires: frozenset[Capability] = frozenset()
    checks: Mapping[str, Level] = field(default_factory=dict)
    graph_breaks: int = 0
    recompiles: int | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    source: str | None = None
    torch: str | None = None
    timeout_s: float | None = None
    twin: str = ""
    family: Family | None = None
    function: UserFunction | None = None
    program_location: Location | None = None
    setup_location: Location | None = None

    @property
    def area(self) -> str:
        """The part of the id before the first dot."""
        return self.id.partition(".")[0]

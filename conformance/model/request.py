"""A backend as the parent process knows it, one request, and a known failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from conformance.model.case import Case, Location, Variant
from conformance.model.enums import ON_REQUEST, OPERATIONS, SLOW_COMPILE, Capability, Extent, Kind, Outcome
from conformance.model.moves import chosen

__all__ = ["BackendInfo", "Expectation", "Key", "Request", "Selection"]

Key = tuple[str, str, str]
"""Backend name, case id, variant id."""


@dataclass(frozen=True, kw_only=True)
class BackendInfo:
    """A backend as plain data for the parent process; its callables stay in the child.

    `ref` is the backend spec that a child resolves again. `broken` is why it cannot be used at all, `unavailable` why
    not on this machine. `packages` maps distribution to installed version. `expectations` is its expectations file.
    `tolerance` maps dtypes to the largest relative error it claims, where that is more than the suite allows;
    `bitwise_pointwise` says that it claims the bits of uncompiled where all operations are pointwise.
    """

    ref: str
    name: str
    capabilities: frozenset[Capability] = field(default_factory=Capability.all)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    bitwise_pointwise: bool = False
    packages: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    expectations: Path | None = None
    compile_timeout_s: float | None = None
    unavailable: str | None = None
    broken: str | None = None
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One case x backend x variant to be run in a process of its own."""

    case: Case
    backend: BackendInfo
    variant: Variant
    seed: int = 0
    timeout_s: float = 120.0

    @property
    def key(self) -> Key:
        """What names it, unique within a run."""
        return (self.backend.name, self.case.id, self.variant.id)

    @property
    def needs(self) -> frozenset[Capability]:
        """Capabilities that a backend must claim; an operation by itself needs no training where nothing records it."""
        is_unrecorded = OPERATIONS in self.case.tags and self.variant.grad != "enabled"
        spared = {Capability.TRAINING} if is_unrecorded else set[Capability]()
        return (self.case.requires - spared) | self.variant.requires

    @property
    def moves(self) -> tuple[str, ...]:
        """The names of the moves to be made, where they apply, in their order."""
        return chosen(self.variant.moves, self.case.id, is_slow=SLOW_COMPILE in self.backend.tags)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The restrictions that a user put on a run; a field with its default restricts nothing.

    `cases` are globs, `variants` like `grad=disabled,dynamic=true`; `timeout_s` is the limit of each request.
    `function` is the reference of the user's function that is checked in place of cases. `allow_mixed`: workers of a
    cluster may differ from each other.
    """

    cases: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()
    tier: Extent = Extent.DEFAULT
    timeout_s: float | None = None
    function: str = ""
    allow_mixed: bool = False

    @property
    def given(self) -> dict[str, object]:
        """The fields that do not have their default, by name."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) != each.default
        }

    @property
    def restrictions(self) -> list[str]:
        """The names of the fields by which fewer requests are run."""
        return sorted(self.given.keys() - {"timeout_s"})

    @property
    def is_on_request(self) -> bool:
        """Whether it is of cases that run only when they are asked for."""
        return bool(self.tags) and ON_REQUEST.issuperset(self.tags)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One known failure of a backend, for `cases` except `excluded`.

    `checks` fail, `also` may fail too, no other check may. It applies where the versions of torch and of the backend's
    `packages` and the `platform` (a glob) match.
    """

    cases: str
    outcome: Outcome
    kind: Kind
    reason: str
    location: Location
    excluded: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    checks: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    raises: str | None = None
    torch: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    issue: str | None = None

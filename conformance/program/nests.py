"""Nests of modes: their grammar, the rules that prune its points, and the program of each point.

A point is a sequence of levels, outermost first, under an ambient mode. A level is a mode in a form: `with` (a block),
`def` (a decorated function, called at once) or `call` (a plain call of `set_grad_enabled`, which lasts).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from conformance.model.case import Variant
from conformance.model.device import DEVICE
from conformance.model.enums import Capability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "AMBIENT",
    "FORMS",
    "LEVELS",
    "MODES",
    "RULES",
    "SAYS",
    "Grammar",
    "Mode",
    "NestLevel",
    "Point",
    "level_of",
    "program",
    "requires",
]


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A mode: its Python text, the capabilities that it requires, and whether a plain call sets it."""

    text: str
    requires: frozenset[Capability]
    callable: bool = False


_GRAD = frozenset({Capability.GRAD_MODE})
_INFERENCE = frozenset({Capability.INFERENCE_MODE})
_AUTOCAST = frozenset({Capability.AUTOCAST})

MODES = {
    "no_grad": Mode(text="torch.no_grad()", requires=_GRAD),
    "enable_grad": Mode(text="torch.enable_grad()", requires=_GRAD),
    "set_true": Mode(text="torch.set_grad_enabled(True)", requires=_GRAD, callable=True),
    "set_false": Mode(text="torch.set_grad_enabled(False)", requires=_GRAD, callable=True),
    "inference": Mode(text="torch.inference_mode()", requires=_INFERENCE),
    "inference_false": Mode(text="torch.inference_mode(False)", requires=_INFERENCE),
    "bfloat16": Mode(
        text=f'torch.autocast("{DEVICE}", dtype=torch.bfloat16)', requires=_AUTOCAST | {Capability.BFLOAT16}
    ),
    "float16": Mode(text=f'torch.autocast("{DEVICE}", dtype=torch.float16)', requires=_AUTOCAST | {Capability.FLOAT16}),
    "autocast_off": Mode(text=f'torch.autocast("{DEVICE}", enabled=False)', requires=_AUTOCAST),
}
"""The modes of the grammar, by their names in ids."""

FORMS = {"with": "block", "def": "decorator", "call": "call"}
"""The forms of a level, and their names in titles."""

AMBIENT = {
    "enabled": Variant(),
    "disabled": Variant(grad="disabled"),
    "inference": Variant(grad="inference"),
    "bfloat16": Variant(autocast="bfloat16"),
    "float16": Variant(autocast="float16"),
}
"""The ambient modes that the caller may set around a point."""

RULES = {
    "exchange": "deeper than one level, bfloat16 and float16 are taken for symmetric: of two points that differ by"
    " exchanging them, the one with bfloat16 first is run",
    "spelling": "deeper than one level, set_grad_enabled is used only as a call: as a block or a decorator it does what"
    " enable_grad and no_grad do",
    "forms": "three levels deep, or two under an ambient mode, levels that are no call share one form",
    "no_effect": "three levels deep, autocast is switched off only where it is on",
}
"""Why a point is pruned; of several reasons the first one counts, going inwards, in this order at each level."""

_DEEP = 3
_SYMMETRIC = ("bfloat16", "float16")
SAYS = {"set_true": "enable_grad", "set_false": "no_grad"}
"""Modes that are equivalent to another mode."""


class NestLevel(NamedTuple):
    """One mode in one form."""

    mode: str
    form: str

    def __str__(self) -> str:
        return f"{self.mode}_{self.form}"


LEVELS = tuple(
    NestLevel(name, form) for name, mode in MODES.items() for form in FORMS if form != "call" or mode.callable
)
"""Every mode in every form it has."""


class Point(NamedTuple):
    """A nest under an ambient mode."""

    levels: tuple[NestLevel, ...]
    ambient: str


class _State(NamedTuple):
    """What the rules need to know of the outer levels: `form` is the form that a deep nest has taken, or ''."""

    depth: int
    mixed: bool
    form: str
    seen_bfloat16: bool
    autocast: bool


@dataclass(frozen=True)
class Grammar:
    """Every sequence of these levels, under each of these ambient modes."""

    levels: tuple[NestLevel, ...] = LEVELS
    ambient: tuple[str, ...] = tuple(AMBIENT)

    def size(self, depth: int) -> int:
        """Return the number of points of exactly this depth."""
        return int(len(self.levels) ** depth) * len(self.ambient)

    def pruned(self, depth: int) -> dict[str, int]:
        """Return how many points of exactly this depth each rule prunes."""
        left_out = dict.fromkeys(RULES, 0)
        states: Counter[_State] = Counter()
        for ambient in self.ambient:
            if isinstance(state := self._start(depth, ambient), str):
                left_out[state] += len(self.levels) ** depth
            else:
                states[state] += 1
        for inside in reversed(range(depth)):
            further: Counter[_State] = Counter()
            for (state, count), level in ((pair, level) for pair in states.items() for level in self.levels):
                if isinstance(after := self._step(state, level), str):
                    left_out[after] += count * len(self.levels) ** inside
                else:
                    further[after] += count
            states = further
        return left_out

    def unpruned(self, depth: int) -> int:
        """Return how many points of exactly this depth no rule prunes."""
        return self.size(depth) - sum(self.pruned(depth).values())

    def points(self, depth: int) -> Iterator[Point]:
        """Yield every point of exactly this depth that no rule prunes, by ambient mode, outer levels first."""
        for ambient in self.ambient:
            state = self._start(depth, ambient)
            if not isinstance(state, str):
                yield from (Point(levels, ambient) for levels in self._below(state, depth))

    def sample(self, depth: int, count: int, seed: int) -> list[Point]:
        """Draw `count` different points that no rule prunes, uniformly; sorted, and the same for the same seed.

        Raises:
            ValueError: `count` is more than half of them.
        """
        if 2 * count > (total := self.unpruned(depth)):
            message = f"a sample of {count} is more than half of the {total} points that are {depth} deep"
            raise ValueError(message)
        draw = random.Random(seed).random  # noqa: S311 - a sample, no secret; the one method that never changes
        found: set[Point] = set()
        while len(found) < count:
            ambient = self.ambient[int(draw() * len(self.ambient))]
            state, levels = self._start(depth, ambient), list[NestLevel]()
            while not isinstance(state, str) and len(levels) < depth:
                levels.append(self.levels[int(draw() * len(self.levels))])
                state = self._step(state, levels[-1])
            if not isinstance(state, str):
                found.add(Point(tuple(levels), ambient))
        return sorted(found)

    def _below(self, state: _State, depth: int) -> Iterator[tuple[NestLevel, ...]]:
        if not depth:
            yield ()
            return
        for level in self.levels:
            after = self._step(state, level)
            if not isinstance(after, str):
                yield from ((level, *inner) for inner in self._below(after, depth - 1))

    @cached_property
    def _exchangeable(self) -> bool:
        """Whether exchanging bfloat16 and float16 maps points of this grammar to points of it."""
        first, second = ({level.form for level in self.levels if level.mode == mode} for mode in _SYMMETRIC)
        return first == second and len({*_SYMMETRIC} & {*self.ambient}) != 1

    def _start(self, depth: int, ambient: str) -> _State | str:
        """Return the state before the first level, or the rule that prunes every point."""
        if depth > 1 and ambient == _SYMMETRIC[1] and self._exchangeable:
            return "exchange"
        on = ambient in _SYMMETRIC
        mixed = depth < _DEEP - (ambient != "enabled")
        return _State(depth=depth, mixed=mixed, form="", seen_bfloat16=ambient == _SYMMETRIC[0], autocast=on)

    def _step(self, state: _State, level: NestLevel) -> _State | str:
        """Return the state after one more level, or the rule that prunes it."""
        depth, mixed, form, seen, on = state
        mode, own = level
        if depth > 1 and mode == _SYMMETRIC[1] and not seen and self._exchangeable:
            return "exchange"
        if depth > 1 and own != "call" and NestLevel(SAYS.get(mode, ""), own) in self.levels:
            return "spelling"
        if not mixed and own != "call":
            if form and form != own:
                return "forms"
            form = own
        if mode == "autocast_off":
            if depth >= _DEEP and not on:
                return "no_effect"
            on = False
        elif mode in _SYMMETRIC:
            seen, on = seen or mode == _SYMMETRIC[0], True
        return _State(depth, mixed, form, seen, on)


def level_of(text: str) -> NestLevel | None:
    """Return the level that is written `<mode>_<form>`, or None."""
    mode, _, form = text.rpartition("_")
    return NestLevel(mode, form) if (mode, form) in LEVELS else None


def requires(levels: Sequence[NestLevel]) -> frozenset[Capability]:
    """Return the capabilities that a nest requires, without those of the ambient mode, which the variant requires."""
    return frozenset[Capability]().union(*(MODES[level.mode].requires for level in levels))


def program(levels: Sequence[NestLevel], probe: str, *, innermost: bool = False) -> str:
    """Write the program of a nest: the expression `probe` before it, on the way into and out of each level, and after.

    With `innermost`, only in the innermost level and after the nest.
    """
    observe = f"seen.append({probe})"
    lines = _lines(levels, 1, observe, every=not innermost)
    # Whether a nest restores the modes is visible only after its end.
    after = [observe] if innermost else []
    return "\n".join(["seen = []", *lines, *after, "return seen", ""])


def _lines(levels: Sequence[NestLevel], number: int, observe: str, *, every: bool) -> list[str]:
    if not levels:
        return [observe]
    text, form = MODES[levels[0].mode].text, levels[0].form
    inner = _lines(levels[1:], number + 1, observe, every=every)
    if form == "call":  # it lasts, so the last observation inside is the one after it
        return [*([observe] if every else []), text, *inner]
    head = [f"with {text}:"] if form == "with" else ["", f"@{text}", f"def level{number}():"]
    tail = [] if form == "with" else ["", f"level{number}()"]
    inner = inner if inner[0] else inner[1:]  # no blank line below the head
    lines = [*head, *(line and f"    {line}" for line in inner), *tail]
    return [observe, *lines, observe] if every else lines

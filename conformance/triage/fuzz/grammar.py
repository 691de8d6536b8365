"""Small programs drawn at random: nests of modes with operations inside, which rules keep valid where they can.

As many as are drawn afresh vary a program that reached something new, once there is one. Of all these a chunk takes the
programs with the most consecutive parts that were never reached together, then those that show the most pairs of parts
that no other one of the chunk shows.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from importlib import resources
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

from conformance.isolation import torch_release
from conformance.model.case import CALLS, Call, Case, InputSpec, Location, Variant
from conformance.model.enums import Capability
from conformance.model.moves import MOVES, NO_MOVES, SEPARATOR
from conformance.oracle.modes import Modes, ambient
from conformance.program.nest_reader import levels_of
from conformance.program.nests import AMBIENT, LEVELS, MODES
from conformance.triage.fuzz.choices import Choices, varied
from conformance.triage.fuzz.draft import ASKED, BINARY, DEEPEST, UNARY, VIEWS, WRITES, Draft
from conformance.triage.fuzz.finding import code
from conformance.triage.fuzz.guidance import Drawn, Guide, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["CHUNK", "FEATURES", "chunk", "features", "program", "version"]

CHUNK = 36
"""How many programs are run at a time, at most."""

_SURPLUS = 2  # times as many are drawn, and as many again that vary what is kept

_MADE_OF = (
    "model/moves",
    "program/nests",
    "program/nest_reader",
    "observation/reached",
    "triage/fuzz/campaign",
    "triage/fuzz/choices",
    "triage/fuzz/draft",
    "triage/fuzz/finding",
    "triage/fuzz/grammar",
    "triage/fuzz/guidance",
    "triage/fuzz/known",
    "triage/fuzz/result",
    "triage/shrink/candidates",
    "triage/shrink/search",
    "verdict/first_seen",
    "verdict/ladder",
    "verdict/symptom",
)
_SHAPES = frozenset({Capability.DYNAMIC_SHAPES})
_LOW = {"bfloat16": Capability.BFLOAT16, "float16": Capability.FLOAT16}
_CALLS = {
    "default": CALLS,
    "one": (Call(),),
    "then disabled": (Call(), Call(grad="disabled")),
    "disabled first": (Call(grad="disabled"), Call()),
    "then inference": (Call(), Call(grad="inference")),
    "then bfloat16": (Call(), Call(autocast="bfloat16")),
    "flag changed": (Call(requires_grad={"a": True}), Call(requires_grad={"a": False})),
    "there and back": (Call(), Call(grad="disabled"), Call(perturb=True)),
}
# Modes and flags that change between calls compile anew, which takes as long again.
_USUAL = ("default", "one") * 12
_HALVED = """
class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 0.5

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.cos()
"""
_DYNAMIC = {"dynamic": True, "dynamic by itself": None}

FEATURES = (
    *(f"op {name}" for name in (*UNARY, *BINARY)),
    *(f"view {name}" for name in VIEWS),
    *(f"in place {name}" for name in WRITES),
    *(f"level {level}" for level in LEVELS),
    *(f"depth {depth}" for depth in range(DEEPEST + 1)),
    *(f"ambient {name}" for name in AMBIENT),
    *(f"calls {name}" for name in _CALLS),
    *(f"branch on {name}" for name in ASKED),
    *(f"move {name}" for name in MOVES),
    *_DYNAMIC,
    *("graph break", "input bfloat16", "input without grad", "input not a leaf", "weight changed", "several results"),
)
"""The parts of the grammar; each program uses some."""


def features(case: Case) -> frozenset[str]:
    """Which of `FEATURES` a case that was drawn here uses."""
    text, levels = case.program, list(levels_of(case.program))
    found = {f"op {name}" for name, op in (UNARY | BINARY).items() if _occurs(op.text, text)}
    found |= {f"view {name}" for name, view in VIEWS.items() if _occurs(view, text)}
    found |= {f"in place {name}" for name in WRITES if f".{name}(" in text}
    found |= {f"level {level}" for _, level in levels}
    found |= {f"depth {max((depth for depth, _ in levels), default=0)}"}
    plain = replace(case.variants[0], moves=NO_MOVES, dynamic=False)
    found |= {f"ambient {name}" for name, variant in AMBIENT.items() if variant == plain}
    found |= {name for name, dynamic in _DYNAMIC.items() if case.variants[0].dynamic is dynamic}
    found |= {f"move {name}" for name in case.variants[0].moves.split(SEPARATOR) if name in MOVES}
    found |= {f"calls {name}" for name, calls in _CALLS.items() if calls == case.calls}
    found |= {f"branch on {name}" for name, asked in ASKED.items() if asked in text}
    parts = {
        "graph break": "graph_break()" in text,
        "input bfloat16": any(spec.dtype == "bfloat16" for spec in case.inputs.values()),
        "input without grad": not all(spec.requires_grad for spec in case.inputs.values()),
        "input not a leaf": not all(spec.leaf for spec in case.inputs.values()),
        "weight changed": any(f"net.weight.{name}(" in text for name in WRITES),
        "several results": "," in text.rstrip().rpartition("\n")[2],
    }
    return frozenset(found | {name for name, holds in parts.items() if holds})


def _occurs(template: str, text: str) -> bool:
    """Whether a text has a template with names for its operands."""
    pattern = r"[a-z][\w.]*".join(map(re.escape, template.split("{}")))
    return re.search(rf"(?<![\w.)\]]){pattern}", text) is not None


def chunk(number: int, of_seed: int, guide: Guide) -> list[Drawn]:
    """The programs of a chunk, at most `CHUNK`: the same ones for the same arguments, each once.

    Args:
        number: which chunk, from 0.
        of_seed: the seed of this sequence of chunks.
        guide: the programs that are varied.
    """
    random = Random(f"{of_seed}/{number}")  # noqa: S311 - repeatable is what it must be
    count = _SURPLUS * CHUNK
    drawn = [program(Choices(random)) for _ in range(count)]
    parents = random.choices(guide.kept, k=count) if guide.kept else []
    drawn += [program(Choices(random, varied(parent.choices, random))) for parent in parents]
    distinct = {code(one.case): one for one in reversed(drawn)}
    chosen = _diverse(list(reversed(distinct.values())), CHUNK, guide.reached)
    return [_named(drawn, of_seed, place) for place, drawn in enumerate(chosen, start=number * CHUNK)]


def _named(drawn: Drawn, of_seed: int, place: int) -> Drawn:
    return replace(drawn, case=replace(drawn.case, id=f"fuzz.s{of_seed}.p{place}", title=f"Program {place}"))


def _diverse(drawn: Sequence[Drawn], count: int, reached: AbstractSet[str]) -> list[Drawn]:
    """Choose programs, at most so many, always the first of those that show the most not shown by one before."""
    fresh = [set(one.pairs - reached) for one in drawn]
    shown = [set(combinations(sorted(features(one.case)), 2)) for one in drawn]
    left = set(range(len(drawn)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda place: (len(fresh[place]), len(shown[place]), -place))
        left.remove(best)
        chosen.append(best)
        for place in left:
            fresh[place] -= fresh[best]
            shown[place] -= shown[best]
    return [drawn[place] for place in chosen]


def version() -> str:
    """A digest, in twelve digits, of what programs and findings depend on: their modules and PyTorch."""
    texts = [(resources.files("conformance") / f"{name}.py").read_text(encoding="utf-8") for name in _MADE_OF]
    return hashlib.sha256("\n".join([torch_release.installed().version, *texts]).encode()).hexdigest()[:12]


def program(choices: Choices) -> Drawn:
    """A case with one variant and one or two calls, whose program is two to twelve lines long."""
    around = choices.pick(("enabled", "enabled", "enabled", *AMBIENT))
    moves = _moves(choices) if AMBIENT[around].grad == "enabled" else NO_MOVES  # as in a case that is written down
    # Before moves, the first call is made twice, whatever the calls of a case.
    calls = _CALLS[choices.pick(_USUAL + tuple(_CALLS))] if moves == NO_MOVES else CALLS
    inputs = {name: _input(choices) for name in "abc"[: choices.pick((1, 2, 2, 3))]}
    weights = choices.pick((False, False, True))
    dynamic = _DYNAMIC.get(choices.pick((*_DYNAMIC, *("",) * 18)), False)
    variant = replace(AMBIENT[around], moves=moves, dynamic=dynamic)
    draft = Draft(choices, _worlds(variant, calls), calls, inputs, weights=weights)
    draft.statements(choices.pick((1, 1, 2, 2, 3)), 0)
    case = Case(
        id="fuzz.any.p0",
        title="Program",
        topic="Programs drawn at random",
        location=Location(file="fuzz.yaml"),
        inputs=inputs,
        setup="net = torch.nn.Linear(4, 4)\n" * weights + _HALVED * ("Halved." in draft.text()),
        program=draft.text(),
        variants=(variant,),
        calls=calls,
        graph_breaks=draft.breaks,
        requires=_requires(draft, inputs, calls, weights=weights) | (_SHAPES if dynamic is not False else set()),
    )
    made = [f"move {name}" for name in moves.split(SEPARATOR) if name in MOVES]
    return Drawn(case=case, choices=tuple(choices.made), pairs=pairs([f"ambient {around}", *draft.parts, *made]))


def _moves(choices: Choices) -> str:
    """None, in four of seven programs, else one to three, in the order in which they are made."""
    count = choices.pick((0, 0, 0, 0, 1, 2, 3))
    names = {choices.pick(MOVES) for _ in range(count)}
    return SEPARATOR.join(name for name in MOVES if name in names) or NO_MOVES


def _input(choices: Choices) -> InputSpec:
    requires_grad = choices.pick((True, True, False))
    return InputSpec(
        shape=choices.pick(((4, 4), (4, 4), (4, 4), (4,))),
        dtype=choices.pick((None, None, None, "bfloat16")),
        requires_grad=requires_grad,
        leaf=not (requires_grad and choices.pick((False,) * 7 + (True,))),
        distribution="uniform",
        low=-1.0,
        high=1.0,
    )


def _worlds(variant: Variant, calls: Sequence[Call]) -> list[Modes]:
    return [ambient(call.grad or variant.grad, call.autocast or variant.autocast) for call in calls]


def _requires(
    draft: Draft, inputs: dict[str, InputSpec], calls: Sequence[Call], *, weights: bool
) -> frozenset[Capability]:
    needed = {each for _, level in levels_of(draft.text()) for each in MODES[level.mode].requires}
    needed |= {
        each for call in calls for each in Variant(grad=call.grad or "", autocast=call.autocast or "off").requires
    }
    needed |= {_LOW[spec.dtype] for spec in inputs.values() if spec.dtype in _LOW}
    flags = any(spec.requires_grad for spec in inputs.values()) or any(True in c.requires_grad.values() for c in calls)
    if flags or weights:
        needed.add(Capability.TRAINING)
    if draft.reaches_inputs:
        needed.add(Capability.INPUT_MUTATION)
    return frozenset(needed)

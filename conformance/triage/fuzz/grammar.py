"""Strategies of small programs: nests of modes with operations inside, which rules keep valid where they can.

Of what is drawn, half is run: the programs that show the most pairs of parts of the grammar that no other one of their
chunk shows.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import replace
from importlib import metadata, resources
from itertools import combinations
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.isolation import torch_release
from conformance.model.case import CALLS, Call, Case, InputSpec, Location, Variant
from conformance.model.enums import Capability
from conformance.model.moves import MOVES, NO_MOVES, SEPARATOR
from conformance.oracle.modes import Modes, ambient
from conformance.program.nest_reader import levels_of
from conformance.program.nests import AMBIENT, LEVELS, MODES
from conformance.triage.fuzz.draft import ASKED, BINARY, DEEPEST, UNARY, VIEWS, WRITES, Draft
from conformance.triage.fuzz.finding import code

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHUNK", "FEATURES", "chunk", "features", "programs", "version"]

CHUNK = 36
"""How many programs are asked for at a time; those that are the same count once."""

_SURPLUS = 2  # times as many are drawn
_AT_ONCE = 9  # up to ten hypothesis draws afresh each time; beyond, it varies what it has drawn, which is less diverse

_MADE_OF = (
    "model/moves",
    "program/nests",
    "program/nest_reader",
    "triage/fuzz/campaign",
    "triage/fuzz/draft",
    "triage/fuzz/finding",
    "triage/fuzz/grammar",
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


def chunk(number: int, of_seed: int) -> list[Case]:
    """The programs of a chunk, at most `CHUNK`: the same ones for the same number and seed, each once.

    Args:
        number: which chunk, from 0.
        of_seed: the seed of this sequence of chunks.
    """
    found: dict[object, Case] = {}
    for part in range(_SURPLUS * CHUNK // _AT_ONCE):
        for case in _drawn(zlib.crc32(f"{of_seed}/{number}/{part}".encode())):
            found.setdefault(code(case), case)
    named = enumerate(_diverse(list(found.values()), CHUNK), start=number * CHUNK)
    return [replace(case, id=f"fuzz.s{of_seed}.p{place}", title=f"Program {place}") for place, case in named]


def _diverse(cases: Sequence[Case], count: int) -> list[Case]:
    """Choose cases, at most so many, always the first of those that show the most pairs not shown by one before."""
    pairs = [set(combinations(sorted(features(case)), 2)) for case in cases]
    left = set(range(len(cases)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda place: (len(pairs[place]), -place))
        left.remove(best)
        chosen.append(best)
        shown = pairs[best]
        for place in left:
            pairs[place] = pairs[place] - shown
    return [cases[place] for place in chosen]


def _drawn(of_seed: int) -> list[Case]:
    found: list[Case] = []

    @seed(of_seed)
    @settings(
        database=None,
        phases=[Phase.generate],
        max_examples=_AT_ONCE,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def version() -> str:
    """A digest, in twelve digits, of what programs and findings depend on: their modules, PyTorch and hypothesis."""
    versions = [torch_release.installed().version, metadata.version("hypothesis")]
    texts = [(resources.files("conformance") / f"{name}.py").read_text(encoding="utf-8") for name in _MADE_OF]
    return hashlib.sha256("\n".join([*versions, *texts]).encode()).hexdigest()[:12]


@st.composite
def programs(draw: st.DrawFn) -> Case:
    """Cases with one variant and one or two calls, whose programs are two to twelve lines long."""
    around = draw(st.sampled_from(("enabled", "enabled", "enabled", *AMBIENT)))
    moves = draw(_moves()) if AMBIENT[around].grad == "enabled" else NO_MOVES  # as in a case that is written down
    # Before moves, the first call is made twice, whatever the calls of a case.
    calls = _CALLS[draw(st.sampled_from(_USUAL + tuple(_CALLS)))] if moves == NO_MOVES else CALLS
    inputs = {name: draw(_inputs()) for name in "abc"[: draw(st.sampled_from((1, 2, 2, 3)))]}
    weights = draw(st.sampled_from((False, False, True)))
    dynamic = _DYNAMIC.get(draw(st.sampled_from((*_DYNAMIC, *("",) * 18))), False)
    variant = replace(AMBIENT[around], moves=moves, dynamic=dynamic)
    draft = Draft(draw, _worlds(variant, calls), calls, inputs, weights=weights)
    draft.statements(draw(st.sampled_from((1, 1, 2, 2, 3))), 0)
    return Case(
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


@st.composite
def _moves(draw: st.DrawFn) -> str:
    """None, in four of seven programs, else one to three, in the order in which they are made."""
    count = draw(st.sampled_from((0, 0, 0, 0, 1, 2, 3)))
    names = {draw(st.sampled_from(tuple(MOVES))) for _ in range(count)}
    return SEPARATOR.join(name for name in MOVES if name in names) or NO_MOVES


@st.composite
def _inputs(draw: st.DrawFn) -> InputSpec:
    requires_grad = draw(st.sampled_from((True, True, False)))
    return InputSpec(
        shape=draw(st.sampled_from(((4, 4), (4, 4), (4, 4), (4,)))),
        dtype=draw(st.sampled_from((None, None, None, "bfloat16"))),
        requires_grad=requires_grad,
        leaf=not (requires_grad and draw(st.sampled_from((False,) * 7 + (True,)))),
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

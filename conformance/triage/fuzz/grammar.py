"""Strategies of small programs: nests of modes with operations inside, which rules keep valid where they can."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import replace
from importlib import metadata, resources
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conformance.isolation import torch_release
from conformance.model.case import CALLS, Call, Case, InputSpec, Location, Variant
from conformance.model.enums import Capability
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

_AT_ONCE = 9  # up to ten hypothesis draws afresh each time; beyond, it varies what it has drawn, which is less diverse

_MADE_OF = (
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
_LOW = {"bfloat16": Capability.BFLOAT16, "float16": Capability.FLOAT16}
_CALLS = {
    "default": CALLS,
    "one": (Call(),),
    "then disabled": (Call(), Call(grad="disabled")),
    "disabled first": (Call(grad="disabled"), Call()),
    "then inference": (Call(), Call(grad="inference")),
    "then bfloat16": (Call(), Call(autocast="bfloat16")),
    "flag changed": (Call(requires_grad={"a": True}), Call(requires_grad={"a": False})),
}
# Modes and flags that change between calls compile anew, which takes as long again.
_USUAL = ("default", "one") * 12

FEATURES = (
    *(f"op {name}" for name in (*UNARY, *BINARY)),
    *(f"view {name}" for name in VIEWS),
    *(f"in place {name}" for name in WRITES),
    *(f"level {level}" for level in LEVELS),
    *(f"depth {depth}" for depth in range(DEEPEST + 1)),
    *(f"ambient {name}" for name in AMBIENT),
    *(f"calls {name}" for name in _CALLS),
    *(f"branch on {name}" for name in ASKED),
    *("graph break", "input bfloat16", "input without grad", "weight changed", "several results"),
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
    found |= {f"ambient {name}" for name, variant in AMBIENT.items() if variant == case.variants[0]}
    found |= {f"calls {name}" for name, calls in _CALLS.items() if calls == case.calls}
    found |= {f"branch on {name}" for name, asked in ASKED.items() if asked in text}
    parts = {
        "graph break": "graph_break()" in text,
        "input bfloat16": any(spec.dtype == "bfloat16" for spec in case.inputs.values()),
        "input without grad": not all(spec.requires_grad for spec in case.inputs.values()),
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
    for part in range(CHUNK // _AT_ONCE):
        for case in _drawn(zlib.crc32(f"{of_seed}/{number}/{part}".encode())):
            found.setdefault(code(case), case)
    named = enumerate(found.values(), start=number * CHUNK)
    return [replace(case, id=f"fuzz.s{of_seed}.p{place}", title=f"Program {place}") for place, case in named]


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
    calls = _CALLS[draw(st.sampled_from(_USUAL + tuple(_CALLS)))]
    inputs = {name: draw(_inputs()) for name in "abc"[: draw(st.sampled_from((1, 2, 2, 3)))]}
    weights = draw(st.sampled_from((False, False, True)))
    variant = AMBIENT[around]
    draft = Draft(draw, _worlds(variant, calls), calls, inputs, weights=weights)
    draft.statements(draw(st.sampled_from((1, 1, 2, 2, 3))), 0)
    return Case(
        id="fuzz.any.p0",
        title="Program",
        topic="Programs drawn at random",
        location=Location(file="fuzz.yaml"),
        inputs=inputs,
        setup="net = torch.nn.Linear(4, 4)\n" if weights else "",
        program=draft.text(),
        variants=(variant,),
        calls=calls,
        graph_breaks=draft.breaks,
        requires=_requires(draft, inputs, calls, weights=weights),
    )


@st.composite
def _inputs(draw: st.DrawFn) -> InputSpec:
    return InputSpec(
        shape=draw(st.sampled_from(((4, 4), (4, 4), (4, 4), (4,)))),
        dtype=draw(st.sampled_from((None, None, None, "bfloat16"))),
        requires_grad=draw(st.sampled_from((True, True, False))),
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

"""A program as it is drawn, statement by statement, followed in every mode that a call of its case begins with.

Each such mode is a *world*. The facts of a variable in each determine which tensors may be changed in place, which
dtypes may be mixed, and what is an inference tensor, so that the program runs uncompiled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from conformance.model.case import InputSpec
from conformance.model.device import DEVICE
from conformance.oracle.modes import Autocast, Context, Grad, Inference, Modes
from conformance.program.nests import LEVELS, MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conformance.model.case import Call
    from conformance.triage.fuzz.choices import Choices

__all__ = ["ASKED", "BINARY", "DEEPEST", "UNARY", "VIEWS", "WRITES", "Draft"]

DEEPEST = 3
_LINES = 9
_LARGEST = 128.0  # what a number may become, so that none overflows float16
_CASTABLE = frozenset({"float32", "bfloat16", "float16"})
_CONTEXTS: dict[str, Context] = {
    "no_grad": Grad(enabled=False),
    "enable_grad": Grad(enabled=True),
    "set_true": Grad(enabled=True),
    "set_false": Grad(enabled=False),
    "inference": Inference(mode=True),
    "inference_false": Inference(mode=False),
    "bfloat16": Autocast(dtype="bfloat16"),
    "float16": Autocast(dtype="float16"),
    "autocast_off": Autocast(enabled=False),
}


class _Op(NamedTuple):
    """How an operation is written, which list of autocast it is on, what its backward needs, how large it makes 1."""

    text: str
    listed: str = ""  # lower, float32, promote
    keeps: str = ""  # arguments, result
    bound: Callable[..., float] = max


UNARY = {
    "sin": _Op("{}.sin()", keeps="arguments", bound=lambda _: 1.0),
    "cos": _Op("torch.cos({})", keeps="arguments", bound=lambda _: 1.0),
    "tanh": _Op("{}.tanh()", keeps="result", bound=lambda _: 1.0),
    "sigmoid": _Op("torch.sigmoid({})", keeps="result", bound=lambda _: 1.0),
    "relu": _Op("F.relu({})", keeps="result", bound=lambda a: a),
    "square": _Op("{}.square()", keeps="arguments", bound=lambda a: a * a),
    "scale": _Op("{} * 0.5", bound=lambda a: a / 2),
    "shift": _Op("{} + 1", bound=lambda a: a + 1),
    "neg": _Op("-{}", bound=lambda a: a),
    "clone": _Op("{}.clone()", bound=lambda a: a),
    "function": _Op("Halved.apply({})", keeps="arguments", bound=lambda a: a / 2),
    "linear module": _Op("net({})", listed="lower", keeps="arguments", bound=lambda a: 2 * a + 1),
}
BINARY = {
    "add": _Op("{} + {}", bound=lambda a, b: a + b),
    "sub": _Op("torch.sub({}, {})", bound=lambda a, b: a + b),
    "mul": _Op("{} * {}", keeps="arguments", bound=lambda a, b: a * b),
    "matmul": _Op("{} @ {}", listed="lower", keeps="arguments", bound=lambda a, b: 4 * a * b),
    "mm": _Op("torch.mm({}, {})", listed="lower", keeps="arguments", bound=lambda a, b: 4 * a * b),
    "linear": _Op("F.linear({}, {})", listed="lower", keeps="arguments", bound=lambda a, b: 4 * a * b),
    "mse_loss": _Op(
        'F.mse_loss({}, {}, reduction="none")',
        listed="float32",
        keeps="arguments",
        bound=lambda a, b: (a + b) * (a + b),
    ),
    "cat": _Op("torch.cat(({}, {}))[1:5]", listed="promote", bound=max),
}
VIEWS = {"t": "{}.t()", "rows": "{}[:2]", "row": "{}[0]", "unsqueeze": "{}.unsqueeze(0)", "detach": "{}.detach()"}
WRITES = {"mul_": "{}.mul_(0.5)", "sin_": "{}.sin_()", "add_": "{}.add_({})", "copy_": "{}.copy_({})"}
ASKED = {"grad": "torch.is_grad_enabled()", "autocast": f'torch.is_autocast_enabled("{DEVICE}")'}
_OFF = tuple(level for level in LEVELS if level.mode == "autocast_off")
_KINDS = tuple(
    ("op " * 14 + "lower " * 10 + "level " * 36 + "write " * 11 + "view " * 8 + "branch " * 5 + "break").split()
)


class _Facts(NamedTuple):
    """The facts of a tensor in one world; `requires_grad` may be true too often, never too rarely."""

    dtype: str
    requires_grad: bool = False
    inference: bool = False


@dataclass(eq=False)
class _Memory:
    """What tensors that are views of each other share; worlds by their number.

    In worlds in `kept` some backward needs it, so that it must not change; in those in `quiet` views were made with
    grad disabled, which autograd refuses to change. A `leaf` that requires grad changes only with grad disabled.
    """

    given: bool = False
    leaf: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    quiet: set[int] = field(default_factory=set)


@dataclass(eq=False)
class _Variable:
    name: str
    shape: tuple[int, ...]
    memory: _Memory
    facts: list[_Facts]
    bound: float = 1.0


class Draft:
    """A program as it is drawn: its lines, and what is known of its variables in each world.

    Attributes:
        parts: the parts of the grammar in their order, the end of a level included.
        breaks: how many graph breaks it has.
        reaches_inputs: whether it changes or returns an input.
    """

    def __init__(
        self,
        choices: Choices,
        worlds: list[Modes],
        calls: Sequence[Call],
        inputs: dict[str, InputSpec],
        *,
        weights: bool,
    ) -> None:
        self.parts: list[str] = []
        self.breaks, self.reaches_inputs = 0, False
        self._pick, self._worlds, self._weights = choices.pick, worlds, weights
        self._lines: list[str] = []
        self._made = self._functions = 0
        self._variables = [
            _given(name, spec, [call.requires_grad.get(name, spec.requires_grad) for call in calls])
            for name, spec in inputs.items()
        ]
        self._results = len(self._variables)
        weight = InputSpec(shape=(4, 4))
        self._outside = [_given("net.weight", weight, [True] * len(calls))] if weights else []

    def text(self) -> str:
        """The program so far."""
        return "\n".join([*self._lines, ""])

    def statements(self, count: int, depth: int) -> None:
        """Draw statements, at the outermost level with the return behind them."""
        for _ in range(count):
            self._statement(depth)
        if depth:
            return
        if len(self._variables) == self._results:
            self._operation(depth)
        own = self._variables[self._results :]
        returned = {id(own[-1]), *(id(variable) for variable in own if self._pick((True, False)))}
        chosen = [variable for variable in own if id(variable) in returned]
        self.reaches_inputs = self.reaches_inputs or any(variable.memory.given for variable in chosen)
        self._lines.append(f"return {', '.join(variable.name for variable in chosen)}")

    def _statement(self, depth: int) -> None:
        kind = self._pick(_KINDS)
        if kind == "level" and depth < DEEPEST and len(self._lines) < _LINES:
            self._level(depth)
        elif kind == "write":
            self._write(depth)
        elif kind == "view":
            self._view(depth)
        elif kind == "branch":
            self._branch(depth)
        elif kind == "break":
            self._put(depth, "torch._dynamo.graph_break()")
            self.parts.append("graph break")
            self.breaks += 1
        elif kind == "lower":
            self._operation(depth, listed={"lower", "float32", "promote"})
        else:
            self._operation(depth)

    def _level(self, depth: int) -> None:
        # Switching autocast off matters where it is on.
        level = self._pick((*LEVELS, *_OFF, *_OFF) if any(modes.autocast for modes in self._worlds) else LEVELS)
        context, text = _CONTEXTS[level.mode], MODES[level.mode].text
        self.parts.append(f"level {level}")
        if level.form == "call":
            self._put(depth, text)
            self._worlds = [context.enter(modes) for modes in self._worlds]
            return
        before, first = self._worlds, len(self._variables)
        self._functions += level.form == "def"
        function = f"level{self._functions}"
        head = [f"with {text}:"] if level.form == "with" else [f"@{text}", f"def {function}():"]
        for line in head:
            self._put(depth, line)
        self._worlds = [context.enter(modes) for modes in before]
        self.statements(self._pick((1, 1, 1, 2)), depth + 1)
        self._worlds = [context.leave(*modes) for modes in zip(before, self._worlds, strict=True)]
        self.parts.append(f"end {level}")
        if level.form == "def":
            self._call(depth, function, [variable.name for variable in self._variables[first:]])

    def _call(self, depth: int, function: str, names: list[str]) -> None:
        listed = ", ".join(names)
        if names:
            self._put(depth + 1, f"return {listed}")
        self._put(depth, f"{listed} = {function}()" if names else f"{function}()")

    def _operation(self, depth: int, listed: Iterable[str] = ("", "lower", "float32", "promote")) -> None:
        fitting = [(name, op) for name, op in (UNARY | BINARY).items() if op.listed in listed]
        name, op = self._pick([one for one in fitting if self._weights or one[0] != "linear module"])
        first = self._operand()
        operands = [first]
        if name in BINARY:
            others = [one for one in self._readable() if self._fits(op, (first, one))]
            operands += [self._pick(others)] if others else []
        complete = len(operands) > (name in BINARY) and self._fits(op, operands)
        self._assign(depth, name if complete else "sin", operands if complete else [first])

    def _fits(self, op: _Op, operands: Sequence[_Variable]) -> bool:
        """Whether shapes, dtypes, sizes of numbers and inference tensors allow an operation in every world."""
        shape = _shape(op, [operand.shape for operand in operands])
        if shape is None or op.bound(*(operand.bound for operand in operands)) > _LARGEST:
            return False
        for world, modes in enumerate(self._worlds):
            facts = [operand.facts[world] for operand in operands]
            dtypes = {each.dtype for each in facts} | ({"float32"} if op.text.startswith("net") else set())
            if op.listed in {"lower", "float32"} and len(dtypes) > 1 and not modes.autocast:
                return False
            if op.listed == "promote" and modes.autocast and not dtypes <= {"float32", modes.dtype}:
                return False
            recorded = modes.records and (any(each.requires_grad for each in facts) or op.text.startswith("net"))
            if recorded and op.keeps == "arguments" and any(each.inference for each in facts):
                return False
        return True

    def _assign(self, depth: int, name: str, operands: Sequence[_Variable]) -> None:
        op = (UNARY | BINARY)[name]
        made = self._result(op, operands)
        self.parts.append(f"op {name}")
        self._put(depth, f"{made.name} = {op.text.format(*(operand.name for operand in operands))}")
        self._variables.append(made)

    def _result(self, op: _Op, operands: Sequence[_Variable], name: str = "") -> _Variable:
        """A new variable with the result of an operation on its operands, which backward may keep."""
        shape = _shape(op, [operand.shape for operand in operands])
        bound = op.bound(*(operand.bound for operand in operands))
        made = _Variable(name or self._name(), shape or (), _Memory(), [], bound)
        for world, modes in enumerate(self._worlds):
            facts, weighs = [operand.facts[world] for operand in operands], op.text.startswith("net")
            recorded = modes.records and (weighs or any(each.requires_grad for each in facts))
            dtypes = [each.dtype for each in facts] + (["float32"] if weighs else [])
            made.facts.append(_Facts(_dtype(op, dtypes, modes), recorded, modes.inference))
            if op.listed == "promote" and not modes.records:  # it ends in a view
                made.memory.quiet.add(world)
            if recorded and op.keeps:
                kept = [operand.memory for operand in operands] if op.keeps == "arguments" else [made.memory]
                kept += [operand.memory for operand in self._outside] if weighs else []
                for memory in kept:
                    memory.kept.add(world)
        return made

    def _branch(self, depth: int) -> None:
        first = self._operand()
        arms = [self._pick(list(UNARY.values())[:10]) for _ in range(2)]
        arms = [op if self._fits(op, [first]) else UNARY["sin"] for op in arms]
        asked = self._pick(ASKED)
        self.parts.append(f"branch on {asked}")
        # Both arms are followed in every world: what either keeps is kept.
        name = self._name()
        chosen, alternative = (self._result(op, [first], name) for op in arms)
        chosen.memory.kept |= alternative.memory.kept
        chosen.bound = max(chosen.bound, alternative.bound)
        then, otherwise = (f"    {name} = {op.text.format(first.name)}" for op in arms)
        for line in (f"if {ASKED[asked]}:", then, "else:", otherwise):
            self._put(depth, line)
        self._variables.append(chosen)

    def _view(self, depth: int) -> None:
        name, base = self._pick(VIEWS), self._operand()
        shape = _viewed(name, base.shape)
        if shape is None:
            return self._operation(depth)
        facts = [each._replace(requires_grad=each.requires_grad and name != "detach") for each in base.facts]
        made = _Variable(self._name(), shape, base.memory, facts, base.bound)
        base.memory.quiet |= {world for world, modes in enumerate(self._worlds) if not modes.records}
        self._put(depth, f"{made.name} = {VIEWS[name].format(base.name)}")
        self.parts.append(f"view {name}")
        self._variables.append(made)
        return None

    def _write(self, depth: int) -> None:
        targets = [variable for variable in self._readable() if self._writable(variable)]
        if not targets:
            return self._operation(depth)
        target, name = self._pick(targets), self._pick(WRITES)
        sources = [variable for variable in self._readable() if self._copyable(variable, target)]
        if WRITES[name].count("{}") > 1 and not sources:
            name = "mul_"
        operands = [target, self._pick(sources)] if WRITES[name].count("{}") > 1 else [target]
        self._put(depth, WRITES[name].format(*(variable.name for variable in operands)))
        self.parts.append(f"in place {name}")
        target.bound = sum(variable.bound for variable in operands)
        self.reaches_inputs = self.reaches_inputs or target.memory.given
        for variable in [variable for variable in self._readable() if variable.memory is target.memory]:
            variable.bound = max(variable.bound, target.bound)
            self._now_recorded(variable, operands[-1])
        return None

    def _now_recorded(self, changed: _Variable, source: _Variable) -> None:
        for world, modes in enumerate(self._worlds):
            if modes.records and source.facts[world].requires_grad:
                changed.facts[world] = changed.facts[world]._replace(requires_grad=True)

    def _writable(self, target: _Variable) -> bool:
        """Whether autograd lets a tensor be changed in place, in every world, and no backward needs it as it is."""
        memory = target.memory
        return all(
            world not in memory.kept
            and (modes.inference or not target.facts[world].inference)
            and not (modes.records and world in memory.quiet | memory.leaf)
            for world, modes in enumerate(self._worlds)
        )

    def _copyable(self, source: _Variable, target: _Variable) -> bool:
        apart = source.memory is not target.memory
        return apart and _broadcast(source.shape, target.shape) == target.shape and source.bound < _LARGEST / 2

    def _operand(self) -> _Variable:
        """Any variable, the last ones more often."""
        every = self._readable()
        return self._pick([*every, *every[-2:], *every[-2:]])

    def _readable(self) -> list[_Variable]:
        return [*self._outside, *self._variables]

    def _name(self) -> str:
        self._made += 1
        return f"v{self._made}"

    def _put(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)


def _given(name: str, spec: InputSpec, flags: Sequence[bool]) -> _Variable:
    """An argument or a weight: a leaf of the caller's, which requires grad in the worlds with a flag."""
    facts = [_Facts(spec.dtype or "float32", flag) for flag in flags]
    memory = _Memory(given=True, leaf={world for world, flag in enumerate(flags) if flag})
    return _Variable(name, tuple(map(int, spec.shape)), memory, facts)


def _dtype(op: _Op, dtypes: Sequence[str], modes: Modes) -> str:
    """The dtype of a result; where dtypes are mixed, float32 is all that they have in common."""
    if modes.autocast and op.listed in {"lower", "float32"}:
        return modes.dtype if op.listed == "lower" else "float32"
    return dtypes[0] if len({*dtypes}) == 1 else "float32"


def _shape(op: _Op, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of a result, or None where the operands do not fit."""
    first, last = shapes[0], shapes[-1]
    match op.listed:
        case "lower" if "net" in op.text:
            return first if first[-1] == 4 else None  # noqa: PLR2004 - what the module takes
        case "lower" if "linear" in op.text:
            return (*first[:-1], last[0]) if len(last) == 2 and last[1] == first[-1] else None  # noqa: PLR2004 - a matrix
        case "lower":
            fits = len(first) == len(last) == 2 and first[1] == last[0]  # noqa: PLR2004 - matrices
            return (first[0], last[1]) if fits else None
        case "promote":
            return first if first == last and first[0] == 4 else None  # noqa: PLR2004 - as many rows as are taken
        case "float32":
            return first if first == last else None
    return _broadcast(first, last)


def _broadcast(first: tuple[int, ...], last: tuple[int, ...]) -> tuple[int, ...] | None:
    longest = max(len(first), len(last))
    pairs = zip(*((1,) * (longest - len(shape)) + shape for shape in (first, last)), strict=True)
    sizes = [max(pair) if 1 in pair or pair[0] == pair[1] else 0 for pair in pairs]
    return tuple(sizes) if all(sizes) else None


def _viewed(name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a view, or None where there is none."""
    matrix = len(shape) == 2  # noqa: PLR2004 - rows and columns
    shapes = {
        "t": shape[::-1] if matrix else None,
        "rows": (2, *shape[1:]) if matrix and shape[0] > 2 else None,  # noqa: PLR2004 - rows that are taken
        "row": shape[1:] if matrix else None,
        "unsqueeze": (1, *shape) if len(shape) <= 2 else None,  # noqa: PLR2004 - of no use beyond
        "detach": shape,
    }
    return shapes[name]

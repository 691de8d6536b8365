"""A failing record as a Python script of its own: PyTorch, the program, uncompiled and compiled, and what differs."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations at run time
from dataclasses import dataclass, field
from textwrap import fill, indent
from typing import TYPE_CHECKING

from conformance.isolation import tasks
from conformance.model.enums import Outcome
from conformance.model.errors import BackendError, UsageError
from conformance.model.moves import move_of
from conformance.triage.repro.move_text import MoveText
from conformance.triage.repro.observable import Moment, Observable, difference, first_broken, observable
from conformance.triage.repro.program_text import ProgramText, arguments, as_twin, clause, helpers, local, modes
from conformance.triage.repro.user_program import program_text
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.case import Call
    from conformance.model.request import BackendInfo
    from conformance.triage.lookup import Found

__all__ = ["Compiler", "compiler", "one_line_summary", "render_script"]

_LIMIT_S = 60.0
_MESSAGE = 200  # characters of a message
_WIDTH = 110
_STANDARD = (
    *("concurrent.futures.thread", "contextlib", "io", "logging", "math", "os", "random"),
    *("sys", "threading", "warnings", "zlib"),
)


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """How a script names a backend.

    Args:
        expression: the argument of `torch.compile(backend=...)`, as Python.
        imports: lines that it needs before it.
        options: further keyword arguments of `torch.compile`, by name, as Python.
        patches: configuration by dotted name under torch, as Python.
        imports_of_random: lines that the settings to draw the same random numbers need.
        env: environment variables to be set before torch is imported.
    """

    expression: str
    imports: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    patches: Mapping[str, str] = field(default_factory=dict)
    imports_of_random: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def compiler(info: BackendInfo) -> Compiler:
    """Ask a child how a script names a backend.

    Raises:
        UsageError: a script without this project cannot name it.
        BackendError: nothing has that name, or it cannot be loaded.
        HarnessError: the fork server does not start, or died twice.
    """
    end = tasks.run_task("conformance.triage.repro.backend_name:describe", info.ref, env=info.env, timeout_s=_LIMIT_S)
    if refused := tasks.refusal(end):
        raise UsageError(refused)
    found = tasks.result(Compiler, end)
    if isinstance(found, Compiler):
        return found
    message = f"{info.ref} cannot be loaded: {found}"
    raise BackendError(message)


def render_script(found: Found, how: Compiler) -> str:
    """Write the script of a failing record. It exits with 1 where the difference is there, with 0 where it is not.

    Args:
        found: the record, with its run and its request.
        how: how to name the backend.

    Raises:
        UsageError: the record is of no failure, or of one that a script by itself cannot show.
    """
    return _Script(found, how, observable(found)).text()


def one_line_summary(found: Found) -> str:
    """Describe what goes wrong, in one line.

    Raises:
        UsageError: the record is of no failure.
    """
    record, first = found.record, difference(found)
    if record.raised is not None:
        message = re.sub(r"^backend='[^']*' raised:\s*", "", record.raised.message).partition("\n")[0][:_MESSAGE]
        return f"{record.raised.type} where uncompiled raises nothing: {message}"
    if record.outcome is Outcome.VACUOUS:
        return "nothing is compiled"
    if first is None:
        return record.message.partition("\n")[0][:_MESSAGE]
    if first.max_abs:
        return f"numbers of {first.place} are off by up to {first.max_abs:.4g}"
    return f"{first.kind} of {first.place} is {first.actual}, uncompiled {first.expected}"


class _Script:
    """A script while it is written."""

    def __init__(self, found: Found, how: Compiler, compared: Observable) -> None:
        self.found, self.how, self.compared = found, how, compared
        self.request = found.request
        self.case, self.seed = self.request.case, self.request.seed
        self.program = program_text(self.request)
        first = difference(found)
        self.under = first.under if first else {}
        broken = first_broken(found) if found.record.outcome is Outcome.FAIL else None
        move = move_of(broken.check) if broken else None
        self.move = MoveText(move, first, self.request, self.program) if move and first else None
        self.is_twin = first is not None and first.twin
        self.is_vacuous = found.record.outcome is Outcome.VACUOUS or (first is not None and first.kind == "evidence")

    def text(self) -> str:
        """All of it, in the order in which Python needs it."""
        driver = self._blocks(self._run(), self._end())
        caller = self.move.helpers().replace("BACKEND", self.how.expression) if self.move else ""
        own = helpers(driver + caller, self.program.cotangent).replace("BACKEND", self.how.expression)
        if not self.how.expression.startswith('"'):
            own = own.replace(f"torch._dynamo.lookup_backend({self.how.expression})", self.how.expression)
        body = self._blocks(own, self._program(), self.program.setup(self.seed), caller, driver)
        return f"{self._docstring()}\n{self._imports(body)}\n\n{body}"

    def _blocks(self, *texts: str) -> str:
        return "\n\n\n".join(text.strip("\n") for text in texts if text) + "\n"

    def _docstring(self) -> str:
        record, versions = self.found.record, self.found.run.header.environment
        compiled = f"torch.compile(backend={self.how.expression})"
        title = f"{compiled} does not do what the uncompiled program does: {one_line_summary(self.found)}"
        facts = [
            f"backend: {record.backend}",
            f"torch:   {versions.torch}",
            f"symptom: {Symptom.of_record(record)}",
            f"case:    {record.case_id} [{record.variant}], seed {record.seed}",
            *(f"clause:  {name}: {clause(name)}" for name in record.clauses),
        ]
        filled = [_filled(fact, " " * 9) for fact in facts]
        exits = "Exits with 1 where they differ, with 0 where they do not."
        text = "\n".join([_filled(title), "", *filled, "", exits])
        return '"""' + text.replace("\\", "\\\\").replace('"""', "'''") + '\n"""\n'

    def _imports(self, body: str) -> str:
        text = body + "".join(self.how.imports)
        standard = [name for name in _STANDARD if f"{name}." in text]
        if self.how.env:
            standard = sorted({*standard, "os"})
        lines = [f"import {name}" for name in standard] + [""]
        lines += [f"os.environ[{name!r}] = {value!r}" for name, value in self.how.env.items()]
        lines += ["import torch"]
        lines += ["import torch.nn.functional as F"] if re.search(r"\bF\.", body) else []
        lines += ["from torch.utils import _pytree as pytree"] if "pytree." in body else []
        lines += self.how.imports
        lines += self.how.imports_of_random if self.under else ()
        lines += [f"torch.{name} = {value}" for name, value in {**self.how.patches, **self.under}.items()]
        return "\n".join(dict.fromkeys(lines)) + "\n"

    def _program(self) -> str:
        if not self.is_twin:
            return self._blocks(self.program.fixed, self.program.function)
        other = ProgramText.of(as_twin(self.request)).function.replace("def program(", "def twin(", 1)
        return self._blocks(self.program.fixed, self.program.function, other)

    def _run(self) -> str:
        lines = ["setup()"] if self.program.state else []
        if self.move:
            lines += self.move.run("\n".join(self._plain_call())).splitlines()
            return "def run(function):\n" + indent("\n".join(lines), "    ")
        for index in range(self.compared.index + 1):
            lines += [*([""] if index else []), *self._call(index)]
        text = "\n".join(lines)
        if not re.search(r"\boutput\b(?! = )", text):
            text = text.replace("output = None\n", "").replace("output = ", "")
        return "def run(function):\n" + indent(text, "    ")

    def _plain_call(self) -> Iterator[str]:
        """The lines of the first call, of which nothing is compared."""
        call = self._made(0)
        yield from self._arguments(call, 0)
        yield from [f"torch.manual_seed({self.seed})"] if self.program.draws else []
        yield from self._called(call, 0)
        if call.backward:
            yield self._backward(0)

    def _call(self, index: int) -> Iterator[str]:
        """The lines of one call; those of the last end with what is compared."""
        call = self._made(index)
        is_last = index == self.compared.index
        yield from self._arguments(call, index)
        yield from self._weights(call, index)
        if self.program.draws or "rng" in self.compared.expression:
            seed = self.seed + (index if index < len(self.case.calls) else 0)
            yield f"torch.manual_seed({seed})"
            yield from [f"random.seed({seed})"] if self.program.is_opaque else []
        if is_last and self.compared.before:
            yield self.compared.before
        if is_last and self.compared.caught and self.compared.moment is not Moment.END:
            yield from self._caught(call, index)
            return
        yield from self._called(call, index)
        if is_last and self.compared.moment in {Moment.INSIDE, Moment.CALLED}:
            # What is read inside the caller's modes was returned there.
            yield from [] if self.compared.moment is Moment.INSIDE else self._read()
            return
        if call.inplace:
            yield "double_in_place(output)"
        if index == self.compared.earlier:
            yield "earlier = output"
            yield from [f"kept = {self.compared.kept}.detach().clone()"] if self.compared.kept else []
        if self._goes_backward(call, index):
            raises = self.case.raises is not None and not is_last
            yield from _within(["contextlib.suppress(Exception)"] if raises else [], [self._backward(index)])
        if is_last:
            yield from self._read()

    def _made(self, index: int) -> Call:
        """The call; one more than the case has is the first again."""
        calls = self.case.calls
        return calls[index] if index < len(calls) else calls[0]

    def _arguments(self, call: Call, index: int) -> Iterator[str]:
        # What is measured is measured in one call more.
        number = len(self.case.calls) if self._measures and index == self.compared.index else index
        if any(spec.maker for spec in self.case.inputs.values()):
            yield f'given = made("{self.seed}/{number}")'
        yield from arguments(self.request, call, number)

    @property
    def _measures(self) -> bool:
        return self.compared.expression == "sizes"

    def _weights(self, call: Call, index: int) -> Iterator[str]:
        weights = ", ".join(self.program.parameters())
        if weights and index and (self._goes_backward(self._made(index - 1), index - 1) or self.program.differentiates):
            yield f"for parameter in [{weights}]:"
            yield "    parameter.grad = None"
        if weights and call.perturb:
            yield f'perturb("{self.seed}/{index}/perturb", {weights})'

    def _called(self, call: Call, index: int) -> Iterator[str]:
        contexts = modes(self.request, call, self.program.text)
        if self.case.raises and not (index == self.compared.index and self.found.record.raised):
            contexts = [*contexts, "contextlib.suppress(Exception)"]
            yield "output = None"
        line = f"output = function({', '.join(map(local, self.case.inputs))})"
        if index < self.compared.index or self.compared.moment is not Moment.INSIDE:
            yield from _within(contexts, [line])
        elif self._measures:
            yield from _MEASURING
            yield from _within([*contexts, "torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept)"], [line])
            yield "return sum(sizes.values())"
        else:
            # Not within what catches an exception: what it left behind is compared too.
            inner = [each for each in contexts if each.startswith("contextlib")]
            outer = [each for each in contexts if each not in inner]
            yield from _within(outer, [*_within(inner, [line.removeprefix("output = ")]), *self._read()])

    def _caught(self, call: Call, index: int) -> Iterator[str]:
        """A call of which the exception is compared."""
        backward = self._backward(index) if self._goes_backward(call, index) else ""
        line = f"output = function({', '.join(map(local, self.case.inputs))})"
        if "stage" in self.compared.expression:
            yield 'stage = "at the call"'
        yield "try:"
        yield from ("    " + each for each in _within(modes(self.request, call, self.program.text), [line]))
        if call.inplace:
            yield "    double_in_place(output)"
        if backward:
            yield from ['    stage = "in backward"'] if "stage" in self.compared.expression else []
            yield f"    {backward}"
        yield "except Exception as error:"
        yield f"    return {self.compared.expression}"
        yield 'return "no exception"'

    def _goes_backward(self, call: Call, index: int) -> bool:
        """As the case does in every call before the last: what backward leaves behind may show in a later call."""
        if not call.backward or self._measures:
            return False
        return index < self.compared.index or self.compared.moment >= Moment.BACKWARD

    def _backward(self, index: int) -> str:
        if "double_backward" not in self.case.checks:
            made = f'backward(output, "{self.seed}/{index}")'
            return (
                f"handed = {made}" if index == self.compared.index and "handed[" in self.compared.expression else made
            )
        leaves = ", ".join(map(_leaves, [*map(local, self._tensors()), *self.program.parameters()]))
        return f'first, second = backward_twice(output, "{self.seed}/{index}", {{{leaves}}})'

    def _tensors(self) -> list[str]:
        return [name for name, spec in self.case.inputs.items() if spec.scalar is None]

    def _read(self) -> Iterator[str]:
        if self.compared.caught:
            yield "try:"
            yield f"    {self.compared.after.strip()}"
            yield "except Exception as error:"
            yield f"    return {self.compared.expression}"
            yield 'return "no exception"'
            return
        yield from self.compared.after.splitlines()
        yield f"return {self.compared.expression}"

    def _end(self) -> str:
        record = self.found.record
        if record.outcome is Outcome.ERROR:
            return self._end_of_error()
        if self.is_vacuous:
            return self._end_of_vacuous()
        if self.is_twin:
            both = f"{self._compiled('program')}, {self._compiled('twin')}"
            return (
                f"expected, compiled = [run(each) for each in ({both})]\n"
                'print("compiled program:", expected)\nprint("compiled twin:   ", compiled)\n'
                f"sys.exit(1 if {self.compared.differs} else 0)\n"
            )
        return (
            'uncompiled = run(program)\nprint("uncompiled:", uncompiled)\n'
            f"compiled = run({self._compiled('program')})\n"
            f'print("compiled:  ", compiled)\n{self._leave}(1 if {self._differs} else 0)\n'
        )

    @property
    def _leave(self) -> str:
        """What ends the script; threads that the compiled function left would keep it from ending as usual."""
        return "sys.stdout.flush()\nos._exit" if "threading." in self.compared.expression else "sys.exit"

    @property
    def _differs(self) -> str:
        return self.move.differs if self.move else self.compared.differs

    def _end_of_error(self) -> str:
        raised = self.found.record.raised
        name = raised.type if raised else ""
        return (
            'print("uncompiled:", run(program))\n'
            f'try:\n    print("compiled:  ", run({self._compiled("program")}))\n'
            "except Exception as error:\n"
            f'    if type(error).__name__ != "{name}":\n        raise\n'
            f'    print("compiled:  ", type(error).__name__, error)\n    sys.exit(1)\n'
        )

    def _end_of_vacuous(self) -> str:
        return (
            'print("uncompiled:", run(program))\n'
            f"run({self._compiled('program', 'watched')})\n"
            'print(f"compiled:   {graphs} graphs, {calls} calls of them, {returned_unchanged} returned unchanged")\n'
            f"sys.exit(1 if {self.compared.differs} else 0)\n"
        )

    def _compiled(self, function: str, backend: str = "") -> str:
        settings = {"backend": backend or self.how.expression}
        if self.request.variant.dynamic is not None:
            settings["dynamic"] = str(self.request.variant.dynamic)
        words = [f"{name}={value}" for name, value in {**settings, **self.how.options}.items()]
        return f"torch.compile({', '.join([function, *words])})"


_MEASURING = (
    "sizes = {}",
    "",
    "def keep(tensor):",
    "    storage = tensor.untyped_storage()",
    "    sizes[storage.data_ptr()] = storage.nbytes()",
    "    return tensor",
    "",
)


def _filled(text: str, margin: str = "") -> str:
    return fill(text, _WIDTH, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False)


def _within(contexts: Sequence[str], lines: Sequence[str]) -> list[str]:
    if not contexts:
        return list(lines)
    return [f"with {', '.join(contexts)}:", *(f"    {line}" for line in lines)]


def _leaves(expression: str) -> str:
    """An item of a dictionary of leaves by name."""
    name = expression.removeprefix("*").partition(".")[0]
    if expression == name:
        return f'"{name}": {name}'
    return f'**{{f"{name}.{{each}}": leaf for each, leaf in {name}.named_parameters()}}'

from __future__ import annotations

import inspect
import linecache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.model.case import InputSpec, Variant
from conformance.program.build import Program, generate, placeholders, problems, substitute
from conformance.tests.programs import AUTOGRAD_FUNCTION, MODULE, PROGRAM, case_of, found


def test_a_fault_of_the_setup_that_only_the_compiler_sees_has_its_place() -> None:
    """A return outside a function is found in the setup, at its line."""
    assert found("return a", "c = 1\nreturn c\n") == ["11:7: not Python: 'return' outside function"]


def test_columns_count_characters_not_bytes() -> None:
    """A letter of two bytes before the fault does not shift its column."""
    assert found("b = 'éé'; c = z\nreturn a")[0].startswith("20:21: unknown name 'z'")


def test_a_fault_after_a_param_is_placed_in_the_text_as_written() -> None:
    """Columns are those of the YAML file, whatever the value's length; a fault within a value is its placeholder's."""
    variants = tuple(Variant(params={"op": value}) for value in ("a", "a.cos()", "(a + zz)"))

    places = {text.split(": ")[0] for text in found("return x, ${op} + ${op} + y", variants=variants)}
    assert places == {"20:14", "20:17", "20:25", "20:33"}


def test_a_fault_of_several_variants_is_reported_once() -> None:
    """Variants that differ only in their modes, or that fail alike, give one problem."""
    variants = (Variant(), Variant(grad="disabled"), Variant(params={"n": 1}), Variant(params={"n": 2}))

    assert len(found("return x", variants=variants)) == 1


def test_params_are_put_into_setup_and_program() -> None:
    """Every ${name} is replaced by its value; an unknown one stays."""
    assert substitute("a.${op}(${n}) ${x}", {"op": "sum", "n": 1}) == "a.sum(1) ${x}"
    assert placeholders("a.${op}(${n})") == {"op", "n"}


def test_generated_source_is_a_module_with_one_function() -> None:
    """The layout is fixed: imports, the setup, then the function of the inputs with the program as its body."""
    case = case_of(
        "b = a\n\nreturn b * ${n}\n", "def f(x):\n    return ${n}\n", inputs={"a": InputSpec(), "b": InputSpec()}
    )
    generated = generate(case, Variant(params={"n": 3}))

    assert generated.inputs == ("a", "b")
    assert generated.source == (
        "import math\n\nimport torch\nimport torch.nn.functional as F\n\n\n"
        "def f(x):\n    return 3\n\n\n"
        "def program(a, b):\n    b = a\n\n    return b * 3\n"
    )


def test_generated_names_are_stable_and_distinguish_variants() -> None:
    """The file name is made of the ids, so that tracebacks and caches are the same in every process."""
    case = case_of("return a")

    assert generate(case, Variant()).filename == "<demo.first.one [grad=enabled]>"
    assert generate(case, Variant()) == generate(case, Variant())


operands = st.sampled_from(["a", "b", "torch.pi", "math.e", "2", "torch.ones(4)"])
expressions = st.recursive(
    operands,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "-", "@", "<"]), inner)
        | st.builds(
            "{}.{}()".format, inner.map("({})".format), st.sampled_from(["sin", "clone", "detach", "foo", "_x"])
        )
        | st.builds("torch.{}({})".format, st.sampled_from(["relu", "cat", "load"]), inner)
        | st.builds("[{} for c in {}]".format, inner, inner)
    ),
    max_leaves=5,
)
blocks = st.sampled_from(
    ["with torch.no_grad():", "if a is b:", "for c in a:", "while b:", "def f(x):", "class C:", "try:", "with b:"]
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A few statements, some of them outside the subset."""
    lines, depth = [], 0
    for _ in range(draw(st.integers(1, 6))):
        margin = "    " * depth
        if draw(st.booleans()):
            lines.append(f"{margin}{draw(st.sampled_from(['b', 'd', 'torch']))} = {draw(expressions)}")
        else:
            lines.append(f"{margin}{draw(blocks)}")
            depth += 1
            lines.append(f"{'    ' * depth}e = {draw(expressions)}")
            depth -= draw(st.integers(0, 1))
    return "\n".join([*lines, f"return {draw(expressions)}"])


@settings(deadline=None)  # other work on the machine is no failure
@given(programs())
def test_an_accepted_program_compiles_and_a_refused_one_has_places_within_it(text: str) -> None:
    """Either nothing is wrong and the generated source compiles, or every place is within the text."""
    case = case_of(text)
    wrong = problems(case)

    lines = text.split("\n")
    if not wrong:
        compile(generate(case, Variant()).source, "<generated>", "exec")
    for problem in wrong:
        line = problem.location.line - PROGRAM.line
        assert 0 <= line < len(lines)
        assert 0 <= problem.location.column - PROGRAM.column <= len(lines[line])


def test_a_loaded_program_has_source() -> None:
    """The function runs, and inspect shows its lines also after a check of the cache."""
    text = "def program(a):\n    return a * 2\n"
    module = Program(filename="<demo.loaded [grad=enabled]>", source=text, inputs=("a",)).load()
    linecache.checkcache()

    assert module.program(3) == 6
    assert inspect.getsource(module.program) == text


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_dynamo_compiles_a_loaded_program_whole() -> None:
    """A program with a module, a context class and a function of autograd is one graph to Dynamo."""
    import torch  # noqa: PLC0415

    setup = MODULE + AUTOGRAD_FUNCTION
    module = generate(case_of("return Double.apply(net(a))", setup), Variant()).load()
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph

    compiled: Any = torch.compile(module.program, backend=backend, fullgraph=True)
    a = torch.ones(4)

    assert torch.equal(compiled(a), module.program(a))
    assert len(graphs) == 1

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.loader import load_cases
from conformance.model.case import Call, ExpectedRaise, InputSpec, Variant
from conformance.model.enums import Capability, Level, Stage
from conformance.model.errors import CaseError
from conformance.tests.case_files import load, one, refused

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.errors import Problem

FULL = """
topic: Everything at once
cases:
  - id: demo.all.one
    title: a case with every key, ${op}
    clauses: [GM-4]
    source: https://example.org/x
    inputs:
      a: {shape: [2, 3], requires_grad: true, stride: [1, 2]}
      b: {shape: [2], dtype: int64, distribution: integers, low: 0, high: 3}
      c: {shape: [2], values: [1, .inf]}
      n: {scalar: 3}
    setup: |
      def double(x):
          return x * 2
    program: |
      y = double(a).${op}()
      return y * n + c[b].sum()
    axes: {grad: [enabled, inference], autocast: [off, bfloat16], dynamic: [auto], params: {op: [sin, cos]}}
    calls:
      - {}
      - {grad: disabled, autocast: float16, dtype: float64, shapes: {a: [4, 3]}, requires_grad: {a: false},
         scalars: {n: 4}, backward: false, perturb: true, inplace: true}
    raises: {stage: backward, type: _LinAlgError}
    requires: [training, autocast]
    checks: {double_backward: must}
    graph_breaks: 1
    recompiles: 2
    tolerance: {float32: 1e-4}
    tags: [smoke]
    torch: ">=2.13"
    timeout_s: 30
"""

PLAIN = """
topic: Demonstration
cases:
  - id: demo.one
    title: doubles
    inputs:
      a: {shape: [4]}
    program: |
      return a * 2
    moves: none
"""


def test_a_case_with_every_key_becomes_a_case(tmp_path: Path) -> None:
    """Each key arrives at its field with its type."""
    (case,) = load(tmp_path, demo_all=FULL)

    assert (case.id, case.area, case.topic) == ("demo.all.one", "demo", "Everything at once")
    assert case.inputs["a"] == InputSpec(shape=(2, 3), requires_grad=True, stride=(1, 2))
    assert case.inputs["b"] == InputSpec(shape=(2,), dtype="int64", distribution="integers", low=0, high=3)
    assert case.inputs["c"] == InputSpec(shape=(2,), values=(1, float("inf")))
    assert case.inputs["n"] == InputSpec(scalar=3)
    assert case.calls == (
        Call(),
        Call(
            grad="disabled",
            autocast="float16",
            dtype="float64",
            shapes={"a": (4, 3)},
            requires_grad={"a": False},
            scalars={"n": 4},
            backward=False,
            perturb=True,
            inplace=True,
        ),
    )
    assert case.raises == ExpectedRaise(stage=Stage.BACKWARD, type="_LinAlgError")
    assert case.requires == {Capability.TRAINING, Capability.AUTOCAST}
    assert case.checks == {"double_backward": Level.MUST}
    assert (case.graph_breaks, case.recompiles, case.timeout_s) == (1, 2, 30)
    assert (dict(case.tolerance), set(case.tags), case.torch) == ({"float32": 1e-4}, {"smoke"}, ">=2.13")
    assert (case.clauses, case.source) == (("GM-4",), "https://example.org/x")


def test_variants_are_the_product_of_the_axes(tmp_path: Path) -> None:
    """Each combination of axis values and params is one variant, with an id of its own."""
    (case,) = load(tmp_path, demo_all=FULL)

    assert len({variant.id for variant in case.variants}) == 8
    assert case.variants[0] == Variant(grad="enabled", autocast="off", dynamic=None, params={"op": "sin"})


def test_a_plain_case_has_defaults(tmp_path: Path) -> None:
    """What is not given has the default of the model: one variant, two calls, no setup."""
    (case,) = load(tmp_path, demo=PLAIN)

    assert case.variants == (Variant(),)
    assert case.calls == (Call(), Call(perturb=True))
    assert (case.setup, case.setup_location) == ("", None)


def test_places_of_a_case_are_those_of_its_file(tmp_path: Path) -> None:
    """A case knows where it, its setup and its program start."""
    (case,) = load(tmp_path, demo_all=FULL)

    text = (tmp_path / "demo_all.yaml").read_text().splitlines()
    assert case.program_location is not None
    assert case.setup_location is not None
    assert text[case.location.line - 1][case.location.column - 1 :] == "id: demo.all.one"
    assert text[case.program_location.line - 1][case.program_location.column - 1 :] == "y = double(a).${op}()"
    assert text[case.setup_location.line - 1][case.setup_location.column - 1 :] == "def double(x):"


def test_cases_keep_the_order_of_files_and_of_each_file(tmp_path: Path) -> None:
    """Files are read by name, cases in their order."""
    other = PLAIN.replace("demo.one", "abc.two")
    more = PLAIN + PLAIN.partition("cases:\n")[2].replace("demo.one", "demo.a")

    assert [case.id for case in load(tmp_path, demo_x=more, abc_y=other)] == ["abc.two", "demo.one", "demo.a"]


def test_one_file_can_be_loaded_alone(tmp_path: Path) -> None:
    """A path to a file is as good as a folder."""
    load(tmp_path, demo=PLAIN, demo_b=PLAIN.replace("demo.one", "demo.two"))

    assert [case.id for case in load_cases([tmp_path / "demo_b.yaml"])] == ["demo.two"]


def test_the_cases_of_the_suite_are_sound() -> None:
    """Every case that comes with the suite loads, and calls its file cases/<name>.yaml."""
    cases = load_cases()

    names = {entry.name for entry in files("conformance.cases").iterdir() if entry.name.endswith(".yaml")}
    assert {case.location.file for case in cases} == {f"cases/{name}" for name in names}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "demo.yaml:1:1: this must be a mapping of keys to values, not None in a file of cases"),
        ("- 1\n", "demo.yaml:1:1: this must be a mapping of keys"),
        ("topic: x\n", "demo.yaml:1:1: a file of cases needs the key 'cases' or 'families'"),
        ("topic: x\ncases: []\n", "demo.yaml:2:8: cases"),
        ("topic: x\ncases: {}\n", "demo.yaml:2:8: cases"),
        ("topic: x\ncases: [1]\n", "demo.yaml:2:9: this must be a mapping of keys to values, not 1"),
        ("topic: x\ntopics: y\n", "demo.yaml:1:1: a file of cases needs the key 'cases' or 'families'"),
        ("topic: [\n", "demo.yaml:2:1: malformed YAML"),
    ],
)
def test_a_file_that_holds_no_cases_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The outermost form of a file is checked like the rest."""
    assert refused(tmp_path, demo=text)[0].startswith(message)


def test_an_unknown_key_of_a_file_is_refused(tmp_path: Path) -> None:
    """A misspelt topic is reported, and its cases are still read."""
    (first, second) = refused(tmp_path, demo=PLAIN.replace("topic", "topci"))

    assert first.startswith("demo.yaml:1:1: the key 'topic' is missing")
    assert second.startswith("demo.yaml:1:1: unknown key 'topci'")


def test_every_problem_of_every_file_comes_at_once(tmp_path: Path) -> None:
    """Malformed YAML in one file hides nothing of another, a bad case nothing of its neighbour, a key no program."""
    neighbours = one("foo: 1\ninputs: {a: {shape: [1]}}\nprogram: return eval(a)\n") + (
        "  - id: demo.two\n    title: x\n    inputs: {b: {shape: [1]}}\n    program: return torch.load(b)\n"
    )
    problems = refused(tmp_path, abc="topic: [", demo_one=neighbours, demo_two="topic: x\ntopic: y\ncases: [1]\n")

    assert [problem.split(": ")[0] for problem in problems] == [
        "abc.yaml:2:1",
        "demo_one.yaml:5:5",
        "demo_one.yaml:7:21",
        "demo_one.yaml:11:21",
        "demo_two.yaml:2:1",
        "demo_two.yaml:3:9",
    ]


def test_an_id_is_unique_over_all_files(tmp_path: Path) -> None:
    """The second of two cases with one id is refused, with the place of the first."""
    (problem,) = refused(tmp_path, demo_a=PLAIN, demo_b=PLAIN)

    assert problem.startswith("demo_b.yaml:3:5: duplicate case 'demo.one'")
    assert f"The first one is at {tmp_path}/demo_a.yaml:3:5." in problem


def test_a_case_belongs_in_the_file_of_its_area(tmp_path: Path) -> None:
    """An id whose area is not how the file's name starts is refused."""
    (problem,) = refused(tmp_path, demonstration=PLAIN)

    assert problem.startswith("demonstration.yaml:3:9: the case 'demo.one' does not belong in")


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are reported with the file's name."""
    (tmp_path / "demo.yaml").write_bytes(b"topic: \xff\n")

    assert refused(tmp_path)[0].startswith("demo.yaml:1:1: cannot be read")


def test_a_folder_without_cases_is_a_problem(tmp_path: Path) -> None:
    """An empty folder, or one that does not exist, is not silently nothing."""
    with pytest.raises(CaseError, match="no case file"):
        load_cases([tmp_path])
    with pytest.raises(CaseError, match="no case file"):
        load_cases([tmp_path / "nowhere"])


@settings(deadline=None)  # other work on the machine is no failure
@given(data=st.data())
def test_any_damage_to_a_file_is_a_case_error_within_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut, doubled or replaced lines either load or give problems whose places are within the file."""
    lines = FULL.strip("\n").splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    lines[index : index + data.draw(st.integers(0, 2))] = data.draw(
        st.lists(st.sampled_from(lines) | st.text(st.characters(codec="utf-8"), max_size=20), max_size=2)
    )
    text = "\n".join(lines)
    path = tmp_path_factory.mktemp("damaged") / "demo_all.yaml"
    path.write_text(text, encoding="utf-8", newline="")

    places = [problem.location for problem in _problems(path)]
    assert all(1 <= place.line <= len(text.splitlines()) + 1 for place in places)


def _problems(path: Path) -> tuple[Problem, ...]:
    try:
        load_cases([path])
    except CaseError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        ("", ["grad=enabled", "grad=enabled,moves=usual"]),
        ("moves: all", ["grad=enabled", "grad=enabled,moves=all"]),
        ("moves: none", ["grad=enabled"]),
        ("moves: [leaf_hooks, each_result]", ["grad=enabled", "grad=enabled,moves=leaf_hooks+each_result"]),
        ("axes: {grad: [disabled]}", ["grad=disabled"]),
        ("raises: {type: ValueError}", ["grad=enabled"]),
    ],
)
def test_the_caller_makes_moves_in_a_variant_of_its_own(tmp_path: Path, lines: str, ids: list[str]) -> None:
    """It is that of the first that records, unless there is none or the program raises."""
    text = f"inputs: {{a: {{shape: [4]}}}}\nprogram: |\n  return a * 2\n{lines}\n"
    (case,) = load(tmp_path, demo=one(text))
    assert [variant.id for variant in case.variants] == ids


def test_an_unknown_move_is_refused(tmp_path: Path) -> None:
    """With its place, and a suggestion."""
    text = "inputs: {a: {shape: [4]}}\nprogram: |\n  return a * 2\nmoves: [leaf_hook]\n"
    (problem,) = refused(tmp_path, demo=one(text))
    assert problem.startswith("demo.yaml:8:12: unknown move 'leaf_hook' in case 'demo.one'")
    assert "Did you mean 'leaf_hooks'?" in problem

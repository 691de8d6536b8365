from __future__ import annotations

import inspect
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.model.request import BackendInfo
from conformance.tests.fakes import a_case, a_request
from conformance.tests.jobs import mutants
from conformance.tests.jobs.mutants import draw, hunt, page, quarry, reach, readings, sources
from conformance.tests.jobs.mutants.__main__ import main
from conformance.tests.jobs.mutants.codes import compiled, differing, is_within_functions, lines_around, lines_of
from conformance.tests.jobs.mutants.operators import OPERATORS, Mutant, mutant_of, mutants_at, mutated, places_of
from conformance.tests.jobs.mutants.quarry import Quarry
from conformance.tests.jobs.mutants.reach import Reach
from conformance.tests.jobs.mutants.result import Fate, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''
"""A docstring."""
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

log = logging.getLogger(__name__)


@staticmethod
def work(a: int, b=1, *, c=None):
    """Another one."""
    log.debug("at %s", a)
    _step_logger()(a, "log.debug")
    EventLogger.add(a, "log.debug")
    assert a is not None, "no a"
    if not a or b > 2:
        raise ValueError(a, b)
    total = [a, b, 3]
    total += list(map(len, total, strict=True))
    total.clear()
    for each in total:
        if each is None:
            break
    return total if c in total else -a
'''
PARTITIONER = {"partitioner": ("torch/_functorch/partitioners.py",)}
SAVING = "out * torch.ones_like(out)"


UNSEEN = """
class Kept:
    size: int = 3

    def __repr__(self):
        return "a" * 2

    def format_kept(self, width=4):
        return [width, 5]


def work(a, limit=6, *, deep=False):
    first: str | None = None
    if a is None or limit < 7:
        raise AssertionError(f"no {a}")
    with dynamo_timed("work", log=True):
        if sys.version_info >= (3, 12) and a:
            first
    return a if sys.platform == "linux" else a
"""


def every(text: str) -> Iterator[Mutant]:
    """Every mutant of a text."""
    for place in places_of(text):
        yield from mutants_at("work.py", text, place)


def changed(operator: str) -> list[tuple[str, str]]:
    """The texts of what an operator makes."""
    return [(each.before, each.after) for each in every(TEXT) if each.operator == operator]


@pytest.mark.parametrize(
    ("operator", "before", "after"),
    [
        ("swap_operator", "not a or b > 2", "not a and b > 2"),
        ("drop_statement", "total.clear()", "pass"),
        ("return_early", "@staticmethod def work(", "@staticmethod def work(a: int, b=1, *, c=None): return "),
        ("swap_arguments", "map(len, total, strict=True)", "map(total, len, strict=True)"),
        ("delete_element", "[a, b, 3]", "[a, b, ]"),
        ("drop_argument", "map(len, total, strict=True)", "map(len, total, )"),
        ("number_off_by_one", "3", "4"),
        ("flip_constant", "True", "False"),
        ("assign_none", "total = [a, b, 3]", "total = None"),
        ("drop_not", "not a", "a"),
        ("swap_keyword", "is", "is not"),
        ("force_condition", "total if c in total else -a", "total if (c in total) and False else -a"),
    ],
)
def test_each_operator_makes_its_change(operator: str, before: str, after: str) -> None:
    """The text of the place and of what it becomes."""
    made = changed(operator)
    assert any(first.startswith(before) and second.startswith(after) for first, second in made), made


def test_a_condition_is_negated() -> None:
    """Whatever its operators are: it is put in parentheses."""
    assert any("if not (not a or b > 2):" in after for _, after in changed("negate_condition"))


def test_what_cannot_change_a_result_is_left_alone() -> None:
    """Docstrings, imports, annotations, log calls, assertions, decorators and what is raised."""
    lines = {
        number for number, line in enumerate(TEXT.splitlines(), 1) if line.strip().startswith(('"""', "import", "@"))
    }
    lines |= {number for number, line in enumerate(TEXT.splitlines(), 1) if "log.debug" in line or "assert" in line}
    lines |= {number for number, line in enumerate(TEXT.splitlines(), 1) if "raise" in line}
    assert not [mutant for mutant in every(TEXT) if mutant.line in lines]


def test_what_only_people_read_or_no_line_shows_is_left_alone() -> None:
    """Defaults, assertions in other words, texts for people, and questions after the release of Python."""
    assert {(each.line, each.operator) for each in every(UNSEEN)} == {(12, "return_early"), (19, "drop_statement")}


def test_every_mutant_is_python_of_another_meaning_or_none() -> None:
    """The text differs, and what it compiles to; a mutant is found again by its id."""
    for mutant in every(TEXT):
        text = mutated(TEXT, mutant_of(mutant.id))
        assert text != TEXT
        assert text is None or compile(text, "work.py", "exec") is not None


def test_the_same_bytecode_is_no_mutant() -> None:
    """The argument of a call after a return."""
    text = "def work():\n    return 1\n    len(2)\n"
    dead = [mutant for mutant in every(text) if mutant.line == 3 and mutant.operator != "drop_statement"]
    assert dead
    assert [mutated(text, mutant) for mutant in dead] == [None] * len(dead)


def test_a_mutant_of_another_release_is_refused() -> None:
    """No place has its id."""
    with pytest.raises(LookupError, match="another release of torch"):
        mutated(TEXT, Mutant(file="work.py", line=1000, column=0, operator="drop_not", number=0))
    with pytest.raises(ValueError, match="no operator 'drop_it'"):
        mutant_of("work.py:1:0:drop_it:0")


def test_a_draw_is_the_same_for_its_seed_and_takes_the_operators_in_turn() -> None:
    """A larger draw with another seed has other mutants."""
    first, again = [*draw.draw(13, 0, PARTITIONER)], [*draw.draw(13, 0, PARTITIONER)]
    assert first == again
    assert len({mutant.operator for mutant in first}) > 10
    assert not {mutant.id for mutant in first} & {mutant.id for mutant in draw.draw(13, 1, PARTITIONER)}


def test_every_group_has_files() -> None:
    """A glob that matches nothing any longer would hide a part of the compiler."""
    assert all(sources.files().values())
    assert sources.module_of("torch/_decomp/__init__.py") == "torch._decomp"


def test_a_module_is_loaded_with_the_changed_text(tmp_path: Path) -> None:
    """In a Python that starts with the folder on its path; its own file stays as it is."""
    tmp_path.joinpath("work.py").write_text("answer = 1\n", encoding="utf-8")
    tmp_path.joinpath("mutant").write_text("work\nanswer = 2\n", encoding="utf-8")
    site = Path(mutants.__file__).parent / "site"
    paths = os.pathsep.join([str(site), str(tmp_path)])
    for variables, answer in (({"CONFORMANCE_MUTANT": str(tmp_path / "mutant")}, "2"), ({}, "1")):
        given = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **variables}
        command = [sys.executable, "-c", "import work; print(work.answer)"]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == answer


def test_requests_take_turns_by_way_and_area() -> None:
    """So that a few of them take what ways there are through the function that differs."""
    requests = [a_request(a_case(name)) for name in ("a.x.1", "a.x.2", "a.x.3", "b.y.1")]
    ways = {requests[2].key: frozenset({1, 2})}
    chosen = quarry.varied(requests, ways, 3)
    assert [request.case.id for request in chosen] == ["a.x.1", "a.x.3", "b.y.1"]


def test_requests_of_one_backend_follow_each_other() -> None:
    """So that several run in one process, the backend first that came first."""
    backends = [BackendInfo(ref=name, name=name) for name in ("eager", "inductor")]
    requests = [a_request(a_case(name), backend) for backend in backends for name in ("a.x.1", "b.y.1")]
    ways = {requests[2].key: frozenset({1})}
    assert quarry.varied(requests, ways, 2) == [requests[0], requests[2]]
    assert quarry.varied(requests, ways, 3) == requests[:3]


def test_what_nothing_reaches_is_counted_as_such() -> None:
    """Nothing is started for it."""
    mutant = next(draw.draw(1, 0, PARTITIONER))
    found = quarry.find(mutant, seed=0, most=9, reached=Reach([]), requests={})
    assert found == Result(id=mutant.id, fate=Fate.UNREACHED, seed=0, before=mutant.before, after=mutant.after)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("after", "is_live", "expected"),
    [
        ("return lambda *args: [out + 1 for out in gm.forward(*args)]", True, (Fate.KILLED, "values")),
        ("return lambda *args: [out + 1 for out in gm.forward(*args)]", False, (Fate.KILLED, "values")),
        ("return lambda *args: gm.forward(*args)", True, (Fate.SURVIVED, "")),
        (f"return lambda *args: [{SAVING} for out in gm.forward(*args)]", True, (Fate.NOTICED, "saved_bytes")),
    ],
)
def test_a_mutant_is_killed_by_what_it_gets_wrong(after: str, is_live: bool, expected: tuple[Fate, str]) -> None:
    """Whether a child of a warm server becomes it, or it has a server of its own; what only keeps more is noticed."""
    file = "torch/_dynamo/backends/debugging.py"
    text = (sources.home() / file).read_text(encoding="utf-8").replace("return gm.forward", after, 1)
    mutant = Mutant(file=file, line=1, column=0, operator="drop_not", number=0)
    chosen = [a_request(a_case(), BackendInfo(ref="eager", name="eager"))]
    found = hunt.hunt(
        Quarry(mutant=mutant, seed=0, text=text, is_live=is_live, chosen=chosen, seeds=chosen, reaching=1)
    )
    assert (found.fate, found.by[0] if found.by else "") == expected
    assert found.by_seed is (found.fate is Fate.KILLED)


MODULE = """
LIMIT = 1


def outer(a):
    b = LIMIT

    def inner(c):
        return (
            b + c +
            a
        )

    return inner


class Holder:
    size = 2

    def get(self):
        return self.size
"""


@pytest.mark.parametrize(
    ("before", "after", "is_within", "lines"),
    [
        ("LIMIT = 1", "LIMIT = 2", False, {2}),
        ("size = 2", "size = 3", False, {18}),
        ("def outer(a)", "def outer(a=1)", False, {5}),
        ("b = LIMIT", "b = None", True, {6}),
        ("b + c +", "b + c -", True, {10}),
        ("            a\n", "            None\n", False, {11}),  # `inner` closes over another name
        ("return self.size", "return None", True, {21}),
        ("def outer(a):", "def outer(a):\n    return", True, {6, 8, 14}),
    ],
)
def test_a_loaded_module_can_become_what_differs_within_functions(
    before: str, after: str, is_within: bool, lines: set[int]
) -> None:
    """Not where other statements are run when it is loaded; a line that is run shows that the place is."""
    pair = compiled(MODULE), compiled(MODULE.replace(before, after))
    line = MODULE[: MODULE.index(before)].count("\n") + 1
    assert is_within_functions(*pair) is is_within
    assert lines_of(*pair, line) == lines
    assert lines_of(*pair, line) <= lines_around(*pair) | {line}


def test_functions_that_only_move_do_not_differ() -> None:
    """A line more before them changes nothing that they do."""
    assert not [*differing(compiled(MODULE), compiled("\n" + MODULE))]


BECOMING = """
import sys
from pathlib import Path
from conformance.tests.jobs.mutants.live import become
import work
kept, made = work.outer, work.outer(1)
become(Path(sys.argv[1]))
print(made(1), kept(1)(1), work.Holder().get(), work.answer)
"""
LOADED = """
answer = 1


def outer(a):
    def inner(c):
        return a + c

    return inner


class Holder:
    def get(self):
        return 1
"""


@pytest.mark.parametrize(
    ("module", "before", "after", "printed"),
    [
        ("work", "a + c", "a - c", "0 0 1 1"),
        ("work", "return inner", "return [].append", "2 None 1 1"),
        ("work", "        return 1", "        return 7", "2 2 7 1"),
        ("elsewhere", "a + c", "a - c", "2 2 1 1"),
    ],
)
def test_a_process_becomes_a_mutant(tmp_path: Path, module: str, before: str, after: str, printed: str) -> None:
    """Functions that somebody keeps, those that they made before, and methods; another module is left as it is."""
    tmp_path.joinpath("work.py").write_text(LOADED, encoding="utf-8")
    mutant = tmp_path / "mutant"
    mutant.write_text(f"{module}\n{LOADED.replace(before, after)}", encoding="utf-8")
    command = [sys.executable, "-c", BECOMING, str(mutant)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed


def test_a_module_that_is_not_loaded_will_be_the_mutant(tmp_path: Path) -> None:
    """The statements of the module itself too."""
    tmp_path.joinpath("work.py").write_text(LOADED, encoding="utf-8")
    mutant = tmp_path / "mutant"
    mutant.write_text(f"work\n{LOADED.replace('answer = 1', 'answer = 5')}", encoding="utf-8")
    text = BECOMING.replace("import work\nkept, made = work.outer, work.outer(1)\n", "").replace(
        "print(", "import work\nprint("
    )
    text = text.replace("made(1), kept(1)(1), ", "")
    done = subprocess.run(
        [sys.executable, "-c", text, str(mutant)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1 5"


def test_the_page_counts_what_was_reached(tmp_path: Path) -> None:
    """Killed of those reached, by part, file, operator and check; survivors with their lines."""
    del tmp_path
    file = PARTITIONER["partitioner"][0]
    results = [
        Result(id=f"{file}:1:0:drop_not:0", fate=Fate.KILLED, seed=0, by=("values",), backend="eager", kind="case"),
        Result(id=f"{file}:2:0:drop_not:0", fate=Fate.SURVIVED, seed=0, before="not a", after="a", requests=7),
        Result(id=f"{file}:3:0:drop_not:0", fate=Fate.UNREACHED, seed=1),
        Result(id=f"{file}:4:0:drop_not:0", fate=Fate.NOTICED, seed=0, by=("graph_count",), backend="eager"),
    ]
    assert str(page.rate(results, Fate.KILLED)) == "1 of 3 (33%)"
    assert str(page.rate([], Fate.KILLED)) == ""
    text = page.page(results, "2.13.0")
    assert "They are mutants of torch 2.13.0. Not run yet: Dynamo, AOTAutograd, decompositions, Inductor" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    rates = ["1 of 3 (33%)", "2 of 3 (67%)", "0 of 3 (0%)"]
    assert ["partitioner", "4", "1", "1", "1", "1", "", "", *rates] in rows
    assert ["killed", "case", "eager", "values", "1"] in rows
    assert ["an advisory alone", "", "eager", "graph_count", "1"] in rows
    assert [f"{file}:2:0:drop_not:0", "not a", "a", "7", "0"] in rows


def test_survivors_that_were_read_say_what_can_be_shown(tmp_path: Path) -> None:
    """The share of those that no case could show has its interval, and so has the rate of the others."""
    file = tmp_path / "readings.yaml"
    assert readings.read(file) == {}
    survivors = [Result(id=f"work.py:{line}:0:drop_not:0", fate=Fate.SURVIVED, seed=0) for line in range(10, 14)]
    killed = [Result(id=f"work.py:{line}:0:drop_not:0", fate=Fate.KILLED, seed=0) for line in range(20, 26)]
    kinds = ["equivalent", "cost", "outside", "gap"]
    rows = [f"{one.id}: {{kind: {kind}, why: so it is}}" for one, kind in zip(survivors, kinds, strict=True)]
    file.write_text("\n".join(rows), encoding="utf-8")
    text = page.page([*survivors, *killed], "2.13.0", readings.read(file))
    assert "3 of 4 (75%) are none that a case could show (95 % interval 30% to 95%, Wilson)." in text
    assert "68% to 97% of what can be shown is; and cases of whatever kind could show 62% to 88% of\nthose" in text
    assert "## Survivors read" not in page.page([*survivors, *killed], "2.13.0")
    assert readings.drawn([*killed, *survivors], 2) == readings.drawn([*survivors, *killed], 2)


def test_the_reach_is_of_what_passes(tmp_path: Path) -> None:
    """A request that fails on the unchanged compiler shows no mutant; a line that was cut short is left out."""
    rows = [
        '{"key": ["eager", "a.x.1", "v"], "traced": {"passed": true, "lines": {"f.py": [1, 2]}}}',
        '{"key": ["eager", "a.x.2", "v"], "traced": {"passed": false, "lines": {"f.py": [2]}}}',
        '{"key": ["eager", "a.x.3"',
    ]
    file = tmp_path / "reach.jsonl"
    file.write_text("\n".join(rows), encoding="utf-8")
    found = reach.read(file)
    assert found.of("f.py", {2}) == [("eager", "a.x.1", "v")]
    assert found.of("f.py", {3}) == found.of("g.py", {1}) == []
    assert found.ways("f.py", {1, 2, 3}) == {("eager", "a.x.1", "v"): {1, 2}}


def test_a_packed_reach_is_unpacked(tmp_path: Path) -> None:
    """The file that is kept in a repository; what is there already counts."""
    row = '{"key": ["eager", "a.x.1", "v"], "traced": {"passed": true, "lines": {"f.py": [1]}}}\n'
    file = tmp_path / "reach.jsonl"
    file.with_name("reach.jsonl.xz").write_bytes(lzma.compress(row.encode()))
    assert reach.read(file).of("f.py", {1}) == [("eager", "a.x.1", "v")]
    file.write_text("", encoding="utf-8")
    assert reach.read(file).of("f.py", {1}) == []


def test_whatever_reaches_a_file_reaches_what_runs_when_a_process_starts(tmp_path: Path) -> None:
    """It runs once, before any request is there."""
    rows = [
        '{"key": ["", "", ""], "traced": {"passed": true, "lines": {"f.py": [1, 9]}}}',
        '{"key": ["eager", "a.x.1", "v"], "traced": {"passed": true, "lines": {"f.py": [2]}}}',
        '{"key": ["eager", "a.x.2", "v"], "traced": {"passed": true, "lines": {"g.py": [2]}}}',
    ]
    file = tmp_path / "reach.jsonl"
    file.write_text("\n".join([*rows, ""]), encoding="utf-8")
    found = reach.read(file)
    assert found.of("f.py", {9}) == [("eager", "a.x.1", "v")]
    assert (found.is_at_start("f.py", {9, 2}), found.is_at_start("f.py", {2})) == (True, False)


def test_operators_have_names_for_ids() -> None:
    """A colon separates the parts of an id."""
    assert not [name for name in OPERATORS if ":" in name]


def test_the_command_takes_what_it_declares() -> None:
    """Its options are those of the function; a whole run takes too long for a test."""
    assert main.callback
    assert {one.name for one in main.params} == set(inspect.signature(main.callback).parameters)

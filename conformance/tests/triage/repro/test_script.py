from __future__ import annotations

import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.execution import attempts
from conformance.model.case import Call, InputSpec
from conformance.model.enums import Outcome
from conformance.model.errors import BackendError, UsageError
from conformance.model.ladder import LADDER
from conformance.model.request import BackendInfo, Request
from conformance.records import record_file
from conformance.tests.fakes import a_backend, a_case, a_difference, a_record, a_request, failed, raised
from conformance.tests.jobs import scripts
from conformance.tests.saboteurs import SABOTEURS, ref
from conformance.tests.trial import CASES, requiring
from conformance.triage.lookup import Found
from conformance.triage.repro import bug_report, script
from conformance.triage.repro.script import Compiler
from conformance.verdict.judge import judge, outcome
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.result import Attempt, Difference
    from conformance.records.record_file import RunFile

pytestmark = pytest.mark.torch

EAGER = Compiler(expression='"eager"')
AOT_EAGER = Compiler(expression='"aot_eager"')


@pytest.fixture(scope="session")
def published() -> RunFile:
    """The records of the backends in this repository."""
    (path,) = scripts.of_this_release()
    return record_file.read(path)


@pytest.fixture(scope="session")
def by_symptom(published: RunFile) -> Mapping[Symptom, Found]:
    """One failure of each symptom, on the lowest rung of the ladder that has it: the soonest compiled.

    Of the symptoms of a move it is one.
    """
    downwards = sorted(scripts.failing(published), key=lambda each: -LADDER.index(each.record.backend))
    found = {Symptom.of_record(each.record): each for each in downwards}
    moves = {symptom.check: symptom for symptom in found if symptom.check.startswith("move.")}
    return {symptom: each for symptom, each in found.items() if moves.get(symptom.check, symptom) == symptom}


def named(published: RunFile, backend: str, case: str) -> Found:
    """The failure of a backend in a case."""
    names = (backend, case)
    return next(f for f in scripts.failing(published) if (f.record.backend, f.record.case_id) == names)


def recorded(published: RunFile, request: Request, attempt: Attempt, first: str = "") -> Found:
    """The record of a request; the named check is first."""
    happened = outcome(attempt)
    made = a_record(
        request.case.id,
        request.backend.name,
        variant=request.variant.id,
        outcome=happened,
        checks=tuple(sorted(attempt.checks, key=lambda check: check.check != first)),
        raised=attempt.raised,
        message=judge(happened, attempt, None)[1],
    )
    return Found(record=made, run=published, request=request)


def made_up(published: RunFile, case: Case, difference: Difference, check: str = "values") -> Found:
    """A failure with one difference, of a case that no backend has run."""
    broken = failed(check)
    checks = tuple(replace(each, differences=(difference,)) if each.check == check else each for each in broken.checks)
    return recorded(published, a_request(case), replace(broken, checks=checks), check)


def imported(text: str) -> set[str]:
    """The packages that a script imports."""
    nodes = list(ast.walk(ast.parse(text)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}}


def body(text: str) -> str:
    """A script without its docstring."""
    return text.split('"""', 2)[2]


def test_every_symptom_of_the_published_records_is_shown(by_symptom: Mapping[Symptom, Found]) -> None:
    """A script exits with 1 where the backend still behaves as its record does."""
    texts = [
        script.render_script(found, Compiler(expression=f'"{found.record.backend}"')) for found in by_symptom.values()
    ]
    with ThreadPoolExecutor(2) as executor:
        ends = list(executor.map(scripts.run, texts))
    assert not {str(symptom): end for symptom, end in zip(by_symptom, ends, strict=True) if end.status != 1}


def test_scripts_need_torch_and_nothing_else(by_symptom: Mapping[Symptom, Found]) -> None:
    """Whoever reads one has PyTorch, and need not have this project."""
    for found in by_symptom.values():
        text = script.render_script(found, Compiler(expression=f'"{found.record.backend}"'))
        assert "torch" in imported(text)
        assert imported(text) - {"torch"} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "case",
    [
        "aliasing.views.view_from_no_grad",
        "autocast.backward.no_overflow",
        "autograd.transforms.saved_operand_changed",
        "calls.modes.every_mode_in_turn",
        "inference_mode.regions.view",
        "mutation.state.version_counter",
    ],
)
def test_an_honest_backend_shows_nothing(published: RunFile, case: str) -> None:
    """The script of what AOTAutograd does wrong exits with 0 on Dynamo alone, as it would once that is mended."""
    assert scripts.run(script.render_script(named(published, "aot_eager", case), EAGER)).status == 0


@pytest.mark.parametrize(
    ("backend", "case"),
    [
        ("eager", "exceptions.modes.failing_operation"),
        ("aot_eager", "calls.modes.every_mode_in_turn"),
        ("aot_eager", "inference_mode.regions.view"),
    ],
)
def test_python_runs_a_script(published: RunFile, tmp_path: Path, backend: str, case: str) -> None:
    """Its output and exit code are for readers who have only the file."""
    path = tmp_path / "reproduction.py"
    path.write_text(
        script.render_script(named(published, backend, case), Compiler(expression=f'"{backend}"')), encoding="utf-8"
    )
    done = subprocess.run([sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()][:2] == ["uncompiled", "compiled"]


@pytest.mark.parametrize(
    ("saboteur", "case"),
    [
        ("asks_for_eager", "aliasing.views.as_strided"),
        ("backward_draws", "aliasing.views.as_strided"),
        ("cotangents_zeroed", "base.inputs.strided"),
        ("inputs_zeroed_in_backward", "training.steps.frozen_backbone"),
        ("drifts_with_each_compilation", "laws.decorated.no_grad_def"),
        ("exception_replaced", "exceptions.modes.bad_index"),
        ("hangs_at_compile", "aliasing.views.as_strided"),
        ("layout_lost", "aliasing.views.as_strided"),
        ("more_saved", "autograd.functions.nothing_saved"),
        ("no_second_derivative", "autograd.functions.second_derivative"),
        ("python_rng_consumed", "aliasing.views.as_strided"),
        ("returned_overwritten", "aliasing.views.as_strided"),
        ("second_derivatives_scaled", "autograd.functions.second_derivative"),
        ("segfaults_at_run", "aliasing.views.as_strided"),
        ("talkative", "aliasing.views.as_strided"),
        ("thread_left", "aliasing.views.as_strided"),
    ],
)
def test_a_saboteur_is_shown(published: RunFile, saboteur: str, case: str) -> None:
    """Defects that no backend of this repository has are shown on saboteurs, and not on Dynamo alone."""
    known = SABOTEURS[saboteur]
    info = BackendInfo(ref=ref(known.home, saboteur), name=saboteur)
    chosen = next(each for each in (requiring(known.meant) if known.is_of_advisory else CASES) if each.id == case)
    limit_s = 6.0 if known.meant == Outcome.TIMEOUT else 120.0
    request = Request(case=chosen, backend=info, variant=chosen.variants[0], timeout_s=limit_s)
    found = recorded(published, request, attempts.run(request), known.meant)
    assert scripts.run(script.render_script(found, script.compiler(info)), limit_s).shows(found.record.outcome)
    assert scripts.run(script.render_script(found, EAGER)).status == 0


def test_a_write_that_reaches_less_is_shown(published: RunFile) -> None:
    """What changes when the caller writes into a result, shown by one object that changes on one side alone."""
    name = "aliases_lost"
    case = a_case(program="b = a * 2\nreturn b, b.view(-1)\n")
    difference = a_difference(
        path="writing into output[0]",
        kind="reach",
        actual="call[1].output[0]",
        expected="call[1].output[0], call[1].output[1]",
    )
    found = made_up(published, case, difference, "aliasing")
    broken = script.compiler(a_backend(ref=ref(SABOTEURS[name].home, name)))
    assert scripts.run(script.render_script(found, broken)).status == 1
    assert scripts.run(script.render_script(found, EAGER)).status == 0


def test_a_script_has_only_the_parts_it_needs(published: RunFile) -> None:
    """An immediate difference is read after one call, without backward."""
    difference = a_difference(path="output", kind="dtype", actual="torch.float64 x", expected="torch.float32 x")
    text = script.render_script(made_up(published, a_case(), difference), EAGER)
    assert [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)] == [
        "stream",
        "program",
        "run",
    ]
    assert body(text).count("function(") == 1
    assert "setup" not in text


def test_a_later_call_is_reached_by_those_before_it(published: RunFile) -> None:
    """With the modes, inputs and weights that the case gives each call, and backward where gradients are compared."""
    case = a_case(
        setup="net = torch.nn.Linear(4, 4)\nw = torch.nn.Parameter(torch.ones(4))\n",
        program="return net(a) * w\n",
        calls=(Call(grad="disabled", inplace=True), Call(autocast="bfloat16", perturb=True), Call()),
    )
    difference = a_difference(path="call[1].grad(net.weight)", kind="values", max_abs=1.0, ulp=8.0)
    text = body(script.render_script(made_up(published, case, difference, "calls"), EAGER))
    assert text.count("output = function(a)") == 2
    assert "    with torch.no_grad():\n        output = function(a)\n    double_in_place(output)\n" in text
    assert 'with torch.autocast("cpu", dtype=torch.bfloat16):' in text
    assert 'perturb("0/1/perturb", *net.parameters(), w)' in text
    assert "global net, w" in text
    assert "return net.weight.grad" in text
    assert "> 0.5).any()" in text


def test_the_docstring_says_what_where_and_why(published: RunFile) -> None:
    """Backend, version of PyTorch, symptom, and the clause with its text."""
    found = named(published, "aot_eager", "calls.modes.every_mode_in_turn")
    text = ast.get_docstring(ast.parse(script.render_script(found, AOT_EAGER))) or ""
    words = [
        "aot_eager",
        published.header.environment.torch,
        *found.record.clauses,
        "call[2].output[1]",
        "Exits with 1",
    ]
    assert not [word for word in words if word not in text]
    assert str(Symptom.of_record(found.record)) in " ".join(text.split())


def test_names_of_the_script_do_not_meet_those_of_the_program(published: RunFile) -> None:
    """An input may be called as a variable of the script is; a name of the setup may not."""
    difference = a_difference(path="output", max_abs=None)
    case = a_case(
        program="return output * function\n", inputs={"output": InputSpec(shape=(2,)), "function": InputSpec()}
    )
    assert "output = function(output_, function_)" in script.render_script(made_up(published, case, difference), EAGER)
    with pytest.raises(UsageError, match="the script has its own stream"):
        script.render_script(made_up(published, a_case(setup="stream = torch.ones(4)\n"), difference), EAGER)


def test_settings_of_a_backend_stand_in_the_script(published: RunFile) -> None:
    """Environment before torch is imported, configuration after it, options where it is compiled."""
    how = Compiler(
        expression="mine",
        imports=("from elsewhere import mine",),
        options={"mode": "'reduce-overhead'"},
        patches={"_inductor.config.fallback_random": "True"},
        env={"FLAG": "1"},
    )
    text = script.render_script(made_up(published, a_case(), a_difference(path="output")), how)
    assert text.index("os.environ['FLAG'] = '1'") < text.index("import torch\n") < text.index("from elsewhere")
    assert "torch._inductor.config.fallback_random = True" in text
    assert "torch.compile(program, backend=mine, dynamic=False, mode='reduce-overhead')" in text


def test_what_shows_under_a_configuration_alone_is_shown_under_it(published: RunFile) -> None:
    """The script sets it before anything is compiled, and imports what it belongs to."""
    how = Compiler(expression='"inductor"', imports_of_random=("import torch._inductor.config",))
    under = {"_inductor.config.fallback_random": "True"}
    text = script.render_script(made_up(published, a_case(), a_difference(path="output", under=under)), how)
    assert "import torch._inductor.config\ntorch._inductor.config.fallback_random = True\n" in text
    assert "fallback_random" not in script.render_script(made_up(published, a_case(), a_difference(path="output")), how)


@pytest.mark.parametrize(("number", "status"), [("torch.nan", 1), ("-torch.inf", 1), ("torch.inf", 0)])
def test_which_numbers_are_not_finite_is_shown(published: RunFile, number: str, status: int) -> None:
    """NaN or minus infinity in the place of infinity differ; a function of these numbers alone is the backend."""
    case = a_case(program="return a / 0\n", inputs={"a": InputSpec(shape=(2,), values=(1.0, 2.0))})
    giving = f"giving = lambda graph, inputs: lambda *given: (torch.full((2,), {number}),)"
    text = script.render_script(
        made_up(published, case, a_difference(path="output", kind="nonfinite")),
        Compiler(expression="giving", imports=(giving,)),
    )
    assert scripts.run(text).status == status


def test_autocast_that_a_program_leaves_on_is_not_there_in_the_next_run(published: RunFile) -> None:
    """The script shows that Dynamo puts it back, which it could not if the uncompiled program had left it on."""
    case = a_case(program='b = a * 2\ntorch.set_autocast_enabled("cpu", True)\nreturn b\n')
    first = a_difference(path="call[0].after_call.autocast", kind="state", actual="False", expected="True")
    assert scripts.run(script.render_script(made_up(published, case, first, "ambient"), EAGER)).status == 1


@pytest.mark.parametrize(("how", "status"), [(AOT_EAGER, 1), (EAGER, 0)], ids=["aot_eager", "eager"])
def test_a_move_is_made_by_its_own_source(published: RunFile, how: Compiler, status: int) -> None:
    """The function of the move stands in the script as the suite runs it, with a caller that needs torch alone."""
    case = a_case(
        setup="scale = torch.nn.Parameter(torch.ones(4))\n",
        program="first = a.sin() * scale\nreturn first, first * 2\n",
        inputs={"a": InputSpec(shape=(4,), requires_grad=True)},
    )
    first = a_difference(path="grad(output[1], output[0])", kind="value", actual="None", expected="a tensor")
    text = script.render_script(made_up(published, case, first, "move.between_results"), how)
    assert "def between_results(caller):" in text
    assert imported(text) <= {*sys.stdlib_module_names, "torch"}
    assert scripts.run(text).status == status


def test_a_move_that_does_not_apply_is_no_error_of_the_call(published: RunFile) -> None:
    """Where the uncompiled call raises and the compiled one gives what no backward can begin from, they differ."""
    hessian = "def energy(x):\n    return (x.sin() * x.flip(0)).sum()\n"
    case = a_case(setup=hessian, program="return torch.func.hessian(energy)(a)\n", inputs={"a": InputSpec(shape=(3,))})
    first = a_difference(path="caller", kind="exception", actual="Exception in backward", expected="RuntimeError")
    text = script.render_script(made_up(published, case, first, "move.checkpointed"), AOT_EAGER)
    assert scripts.run(text).status == 1


def test_a_call_without_backward_makes_its_moves_without(published: RunFile) -> None:
    """The caller of the script goes backward as seldom as that of the suite."""
    case = a_case(inputs={"a": InputSpec(shape=(4,), requires_grad=True)}, calls=(Call(backward=False),))
    first = a_difference(path="output", kind="values", max_abs=0.5, ulp=9.0)
    text = script.render_script(made_up(published, case, first, "move.each_result"), EAGER)
    assert "        return  # as the call of the case does\n" in text


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        (a_difference(path="output", kind="values", max_abs=0.5, ulp=9.0), "(compiled - uncompiled).abs() > 0.25"),
        (a_difference(path="output", kind="values", max_abs=0.0), "torch.equal(compiled, uncompiled)"),
        (a_difference(path="output", kind="nonfinite"), "not torch.equal(nonfinite(compiled), nonfinite(uncompiled))"),
        (a_difference(path="output", kind="dtype"), "value.dtype if isinstance"),
        (a_difference(path="after.grad_mode", kind="state"), "return torch.is_grad_enabled()"),
        (a_difference(path="caller", kind="exception"), "{kind(error)} {caller.stage}"),
    ],
)
def test_each_kind_of_difference_of_a_move_has_its_script(
    published: RunFile, difference: Difference, shown: str
) -> None:
    """Numbers, facts, state and exceptions are each read where the caller sees them."""
    made = {"a": InputSpec(shape=(4,), requires_grad=True, leaf=False), "b": InputSpec(view_of="a", shape=(2,))}
    found = made_up(published, a_case(inputs=made), difference, "move.each_result")
    text = script.render_script(found, EAGER)
    assert shown in text
    assert "    a.retain_grad()\n    b = a.as_strided((2,), (1,), 0)\n" in text
    assert imported(text) <= {*sys.stdlib_module_names, "torch"}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("after_call.warning_filters", 'if before == repr(warnings.filters) else "changed"'),
        ("after_call.python_rng", "random.seed(0)"),
        ("after_call.lasting_threads", "sys.stdout.flush()\nos._exit(1 if compiled != uncompiled else 0)"),
        ("after_backward.saved_tensor_hooks_allowed", "torch._C._autograd._saved_tensors_hooks_is_enabled()"),
    ],
)
def test_the_state_of_the_process_has_its_script(published: RunFile, path: str, shown: str) -> None:
    """What a process can have of its own is told by whether it changed."""
    found = made_up(published, a_case(), a_difference(path=f"call[0].{path}", kind="state"), "ambient")
    assert shown in script.render_script(found, EAGER)


def test_what_no_script_can_show_is_refused(published: RunFile) -> None:
    """A pass, and an observable that has no Python."""
    request = a_request()
    passed = Found(record=a_record(), run=published, request=request)
    with pytest.raises(UsageError, match="is a pass: there is nothing to reproduce"):
        script.render_script(passed, EAGER)
    with pytest.raises(UsageError, match="no script can show this of fake/"):
        script.render_script(made_up(published, a_case(), a_difference(kind="flavour")), EAGER)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("aot_eager", AOT_EAGER),
        ("torch:inductor", Compiler(expression='"inductor"')),
        (
            "torch._dynamo.backends.debugging:eager_noexcept",
            Compiler(
                expression="eager_noexcept", imports=("from torch._dynamo.backends.debugging import eager_noexcept",)
            ),
        ),
    ],
)
def test_a_backend_is_named_without_this_project(name: str, how: Compiler) -> None:
    """By the name that torch has for it, or imported from where it is."""
    assert script.compiler(a_backend(ref=name)) == how


def test_a_backend_in_a_file_is_loaded_from_it(published: RunFile, tmp_path: Path) -> None:
    """Who has the file and the script has all there is to it."""
    path = tmp_path / "mine.py"
    path.write_text("def doubles(gm, inputs):\n    return lambda *args: [2 * each for each in gm.forward(*args)]\n")
    how = script.compiler(a_backend(ref=f"{path}:doubles"))
    found = made_up(published, a_case(), a_difference(path="output", max_abs=0.25, ulp=1.0))
    assert scripts.run(script.render_script(found, how)).status == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend = Backend(name='x', factory=lambda: print)", "it is no plain callable"),
        ("backend = Backend(name='eager', compile={'options': {'x': print}})", "cannot be written down"),
    ],
)
def test_a_backend_that_only_this_project_can_name_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Its script would not be one by itself."""
    path = tmp_path / "mine.py"
    path.write_text(f"from conformance.backend import Backend\n\n{text}\n")
    with pytest.raises(UsageError, match=message):
        script.compiler(a_backend(ref=f"{path}:backend"))


def test_a_backend_that_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    """Nothing is known of it, so nothing can be written."""
    path = tmp_path / "mine.py"
    path.write_text("raise ValueError('not today')\n")
    with pytest.raises(BackendError, match="cannot be loaded: ValueError: not today"):
        script.compiler(a_backend(ref=f"{path}:backend"))


def test_a_bug_report_has_what_the_form_asks_for(published: RunFile) -> None:
    """Title, what is done uncompiled and compiled, the clause, the script and the versions."""
    text = bug_report.of(named(published, "aot_eager", "calls.modes.every_mode_in_turn"), "import torch\n", "torch: 2")
    assert text.startswith("**Title:** [aot_eager] requires_grad of call[2].output[1] is True, uncompiled False")
    for part in (
        "### 🐛 Describe the bug",
        "- uncompiled: requires_grad of `call[2].output[1]` is `False`",
        "> **GM-",
        "```python\nimport torch\n```",
        "### Versions",
        "torch: 2",
    ):
        assert part in text
    assert "### Error logs" not in text


def test_a_bug_report_of_an_exception_has_its_log(published: RunFile) -> None:
    """Where it was raised, and its message."""
    attempt = raised(type="KeyError", message="no ``` here", traceback=("a.py:1 in f",))
    text = bug_report.of(recorded(published, a_request(), attempt), "```\n", "")
    assert "- uncompiled: runs without an exception\n- compiled: raises `KeyError` at stage forward; see" in text
    assert "### Error logs\n\n````\n  a.py:1 in f\nKeyError: no ``` here\n````" in text
    assert "````python\n```\n````" in text


def test_the_environment_is_what_torch_collects() -> None:
    """The form asks for it word for word."""
    assert "PyTorch version: 2." in bug_report.environment()

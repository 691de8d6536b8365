from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.catalogue.selection import select
from conformance.catalogue.sources import collect
from conformance.cli.main import main
from conformance.execution import attempts
from conformance.execution.runner import records as records_of
from conformance.model.ladder import LADDER
from conformance.model.request import Selection
from conformance.records import record_file
from conformance.tests.fakes import a_record, a_request, an_environment
from conformance.tests.runs import a_run, red
from conformance.tests.saboteurs import ref
from conformance.triage.explain.command import Explanation, text
from conformance.triage.lookup import Found
from conformance.verdict.ladder import Rung
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch


def explained(path: Path, name: str) -> tuple[int, str]:
    """Exit code and output of `conformance explain`."""
    result = CliRunner().invoke(main, ["explain", name, "--records", str(path)])
    return result.exit_code, result.output


def recorded(path: Path, backend: str, case: str, variant: str = "") -> Path:
    """The records of one case on one backend."""
    info = attempts.describe(backend)
    plan = select(collect(), [info], case_globs=[case], variants=[variant] if variant else [])
    found = list(records_of(plan, an_environment()))
    return a_run(path, *found, requests=plan.requests, backends=(info,))


def test_a_defect_is_explained_down_to_the_node_and_its_line(tmp_path: Path) -> None:
    """The program is marked where the first node that differs comes from; no rung below shows it."""
    case = "grad_mode.nesting.enable_in_no_grad"
    path = recorded(tmp_path / "r.jsonl", ref("modes", "grad_modes_dropped"), case, "grad=enabled")
    code, output = explained(path, f"grad_modes_dropped/{case}")
    assert code == 0, output
    assert [line.split()[0] for line in output.splitlines() if line.startswith(LADDER)] == list(LADDER)
    assert "This failure is first seen in grad_modes_dropped" in output
    marked = [line for line in output.splitlines() if line.startswith("> ")]
    assert len(marked) == 1
    assert "b = a.cos()" in marked[0]
    assert "The first node that differs, with each value returned: b (cos)" in output
    assert "requires_grad True, uncompiled False" in output
    assert "GM-3  Inside `enable_grad`" in output


def test_a_failure_in_backward_names_its_stage(tmp_path: Path) -> None:
    """The values are right, the gradient of a node is not."""
    path = recorded(tmp_path / "r.jsonl", "aot_eager", "autocast.backward.disabled_inside", "autocast=bfloat16")
    code, output = explained(path, "aot_eager/autocast.backward.disabled_inside")
    assert code == 0, output
    assert "This failure is first seen in aot_eager, backward." in output
    assert "matmul (matmul), line" in output
    assert ", backward: gradient" in output


def test_what_raises_while_it_is_compiled_is_explained_without_a_node(tmp_path: Path) -> None:
    """The graph that the backend was given is there all the same."""
    path = recorded(tmp_path / "r.jsonl", "aot_eager", "inference_mode.regions.view")
    code, output = explained(path, "aot_eager/inference_mode.regions.view")
    assert code == 0, output
    assert "l_a_.view(-1)" in output
    assert "No node was found that differs: the graph was never run." in output


def test_graph_breaks_and_guards_are_reported(tmp_path: Path) -> None:
    """Reasons of breaks are Dynamo's, guards those of the program."""
    path = recorded(tmp_path / "r.jsonl", "aot_eager", "grad_mode.contexts.across_graph_break")
    code, output = explained(path, "aot_eager/grad_mode.contexts.across_graph_break")
    assert code == 0, output
    assert "Captured graph 2 of " in output
    assert "Graph breaks\n------------\n- " in output
    assert "TENSOR_MATCH: check_tensor(L['" in output


def test_a_child_that_dies_leaves_the_rest_of_the_explanation(tmp_path: Path) -> None:
    """A failed dissection is reported."""
    case = "base.smoke.arithmetic"
    path = recorded(tmp_path / "r.jsonl", ref("process", "segfaults_at_compile"), case, "grad=enabled")
    code, output = explained(path, f"segfaults_at_compile/{case}")
    assert code == 0, output
    assert "It could not be looked at: killed by SIGSEGV" in output


@pytest.mark.parametrize("mixed", [False, True])
def test_where_workers_differ_the_environment_of_a_record_is_shown(tmp_path: Path, mixed: bool) -> None:
    """With that of its run; where all had to agree, there is nothing to show."""
    record = red(fingerprint="0ther0ther00")
    path = a_run(tmp_path / "r.jsonl", record, selection=Selection(allow_mixed=mixed))
    found = Found(record=record, run=record_file.read(path), request=a_request(), path=path)
    rung = Rung(backend="fake", symptom=Symptom.of_record(record), same=True)
    shown = text(Explanation(found=found, dissection="it died", rungs=(rung,)))
    own = found.run.header.fingerprint
    assert (f"It was run in environment 0ther0ther00; that of the run is {own}." in shown) is mixed


def test_a_pass_has_nothing_to_explain(tmp_path: Path) -> None:
    """The record is named with its outcome."""
    path = a_run(tmp_path / "r.jsonl", a_record("grad_mode.nesting.enable_in_no_grad"))
    code, output = explained(path, "fake/grad_mode.nesting.enable_in_no_grad")
    assert (code, "pass; there is nothing to explain" in output) == (2, True)

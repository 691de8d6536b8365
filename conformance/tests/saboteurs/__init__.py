"""Backends that are broken on purpose, one defect each, and a few that are right: what the suite itself is tested on.

Each is a plain callable `(graph, example_inputs) -> callable` in a module of this package, named for its defect, which
its docstring states. Each runs as a stranger's backend would: `--backend conformance/tests/saboteurs/modes.py:NAME`.
This module imports no torch.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from conformance.model.attribution import Cause
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Capability, Level, Outcome
from conformance.model.moves import move_of

__all__ = ["HONEST", "SABOTEURS", "Honest", "Saboteur", "defects", "ref"]


_HANGING_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Saboteur:
    """A broken backend.

    Args:
        home: the module of this package that it is in.
        meant: the check that is meant to catch it, or the outcome where nothing can be checked.
        cases: where it has to show.
        state: the field of `conformance.observation.ambient.AmbientState` that it changes alone, if it changes one.
        kin: the backend of this repository that it is made from; what that one shows too is no sign of the defect.
        causes: what its failures are to be attributed to, by its docstring; two where that says two things.
    """

    home: str
    meant: str
    cases: str
    state: str = ""
    kin: str = "eager"
    causes: frozenset[Cause] = frozenset({Cause.BASE})

    @property
    def limit_s(self) -> float | None:
        """The time limit of its requests, seconds: a short one if it hangs, else that of each case."""
        return _HANGING_S if self.meant == Outcome.TIMEOUT else None

    @property
    def is_of_advisory(self) -> bool:
        """Whether what is meant to catch it decides no verdict unless a case says so."""
        return self.meant in CATALOGUE and CATALOGUE[self.meant].level is Level.SHOULD

    @property
    def move(self) -> str:
        """The name of the move that it is wrong about; empty if it is wrong about something else."""
        move = move_of(self.meant)
        return move.name if move else ""


@dataclass(frozen=True, kw_only=True)
class Honest:
    """A backend that is right.

    Args:
        kin: the backend of this repository that stands on the same parts of PyTorch, and on the same bugs.
        lacks: what it does not claim.
    """

    kin: str
    lacks: frozenset[Capability] = frozenset()

    @property
    def claims(self) -> frozenset[Capability]:
        """What it does claim."""
        return Capability.all() - self.lacks


def ref(home: str, name: str) -> str:
    """What `--backend` takes for a callable of this package."""
    return f"{Path(__file__).parent / home}.py:{name}"


def defects() -> dict[str, str]:
    """What each callable of the modules here says of itself; they are read, since importing them takes torch."""
    homes = {saboteur.home for saboteur in SABOTEURS.values()} | {"honest"}
    trees = [ast.parse((Path(__file__).parent / f"{home}.py").read_text(encoding="utf-8")) for home in sorted(homes)]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions if not node.name.startswith("_")}


def _in(home: str, kin: str = "eager", /, **names: tuple[str, str]) -> dict[str, Saboteur]:
    return {
        name: Saboteur(home=home, meant=meant, cases=cases, kin=kin, causes=_causes(home, name))
        for name, (meant, cases) in names.items()
    }


_OF_MODULE = {"modes": Cause.MODE, "derivatives": Cause.BACKWARD, "backward_moves": Cause.BACKWARD}
"""What the defects of a module are about; those of the others are about what a call computes, returns or leaves."""

_OTHERWISE = {
    Cause.MODE: (
        "grad_mode_always_restored",  # only where the program sets the mode
        "forward_graph_casts_dropped",  # autocast does nothing
        "autocast_obeyed_in_backward",
        "inference_inputs_spoiled",
        "two_modes_spoiled",
    ),
    Cause.BASE: (
        # What a call returns, whether the caller goes backward or not.
        *("results_detached", "results_recorded", "arithmetic_recorded", "inference_tensors_returned", "more_saved"),
    ),
    Cause.BACKWARD: ("backward_graph_scaled", "backward_graph_signs_lost", "saved_values_swapped"),
    Cause.HARNESS: (
        *("returned_overwritten", "one_buffer_reused"),  # memory of results
        *("asks_for_eager", "hands_back"),  # something else does the work
    ),
}
"""The defects that are about something else than their module."""


def _causes(home: str, name: str) -> frozenset[Cause]:
    if name == "order_by_data_alone":  # modes, and in-place writes
        return frozenset({Cause.MODE, Cause.BASE})
    own = [cause for cause, names in _OTHERWISE.items() if name in names]
    return frozenset(own or [_OF_MODULE.get(home, Cause.BASE)])


def _leaving(**states: str) -> dict[str, Saboteur]:
    return {
        name: Saboteur(home="state", meant="ambient", cases="base.*", state=state) for name, state in states.items()
    }


SABOTEURS = (
    _in(
        "modes",
        grad_modes_dropped=("autograd_flags", "grad_mode.nesting.*"),
        inner_grad_modes_dropped=("autograd_flags", "grad_mode.nesting.*"),
        ambient_grad_mode_assumed=("autograd_flags", "grad_mode.nesting.*"),
        callers_no_grad_ignored=("autograd_flags", "grad_mode.nesting.*"),
        inference_mode_dropped=("autograd_flags", "inference_mode.regions.*"),
        inference_mode_weakened=("autograd_flags", "inference_mode.regions.*"),
        autocast_dropped=("values", "autocast.regions.*"),
        autocast_disable_ignored=("values", "autocast.regions.disabled_inside"),
        autocast_dtype_swapped=("values", "autocast.regions.*"),
        callers_autocast_ignored=("values", "autocast.regions.ambient"),
        autocast_left_open=("ambient", "autocast.regions.*"),
        order_by_data_alone=("values", "mutation.*"),
    )
    | _in(
        "state",
        grad_mode_left_off_by_exception=("ambient", "exceptions.modes.bad_index_outside"),
        grad_mode_always_restored=("ambient", "grad_mode.setting.lasts"),
    )
    | _leaving(
        grad_mode_left_off="grad_mode",
        autocast_dtype_left="autocast_dtype",
        autocast_cache_left_off="autocast_cache",
        default_dtype_left="default_dtype",
        saved_tensor_hooks_left="saved_tensor_hooks",
        anomaly_detection_left_on="anomaly_mode",
        function_mode_left="function_modes",
        dispatch_mode_left="dispatch_modes",
        flush_denormal_left_on="flush_denormal",
        threads_left="threads",
        matmul_precision_left="matmul_precision",
        python_rng_consumed="python_rng",
        saved_tensor_hooks_forbidden="saved_tensor_hooks_allowed",
        forward_ad_level_left="forward_ad_level",
        compiled_autograd_left_on="compiled_autograd",
    )
    | _in("state", default_device_left=("ambient", "base.*"))
    | _leaving(
        default_device_claimed="default_device",
        determinism_left_on="deterministic",
        determinism_only_warned_of="deterministic_warns",
        memory_no_longer_filled="fills_memory",
        configuration_left="configuration",
        environment_changed="environment",
        warning_filters_changed="warning_filters",
        exception_hook_replaced="exception_hook",
        log_handler_added="log_handlers",
        thread_left="lasting_threads",
        rng_consumed="rng",
    )
    | _in(
        "state",
        rng_not_advanced=("ambient", "rng.*"),
        rng_of_its_own=("values", "rng.modes.dropout"),
    )
    | _in(
        "results",
        values_off=("values", "base.*"),
        values_off_in_the_graph=("values", "base.*"),
        drifts_with_each_compilation=("metamorphic", "laws.decorated.no_grad_def"),
        first_results_off=("values", "base.*"),
        later_results_off=("calls", "base.*"),
        one_element_off=("values", "base.*"),
        casts_elided=("values", "autocast.training.round_trip_*"),
        float64_computed_in_float32=("values", "base.inputs.float64"),
        integers_through_float=("values", "base.inputs.large_integers"),
        nonfinite_replaced=("values", "base.outputs.not_finite"),
        denormals_flushed=("values", "base.outputs.denormal_numbers"),
        small_numbers_flushed=("values", "base.outputs.small_numbers"),
        dtype_lost=("values", "base.inputs.*"),
        zero_dimensions_lost=("values", "base.outputs.zero_dimensional"),
        layout_lost=("layout", "aliasing.*"),
        columns_first=("layout", "base.*"),
        subclass_returned=("values", "base.*"),
        aliases_lost=("aliasing", "aliasing.*"),
        integer_views_copied=("aliasing", "aliasing.views.integers"),
        copies_elided=("aliasing", "aliasing.views.copies"),
        results_packed=("aliasing", "aliasing.*"),
        inputs_copied=("mutation", "mutation.*"),
        input_overwritten=("mutation", "base.*"),
        integer_inputs_overwritten=("mutation", "base.*"),
        inputs_recorded=("autograd_flags", "base.*"),
        inputs_written_back=("mutation", "graph_breaks.modes.shared_memory"),
        inputs_assumed_contiguous=("values", "base.inputs.strided"),
        input_offsets_ignored=("values", "graph_breaks.modes.view_across"),
        run_at_compile=("mutation", "mutation.*"),
        first_result_kept=("calls", "base.*"),
        weights_kept=("calls", "calls.sequences.weights_changed"),
        last_compiled_run=("calls", "calls.*"),
        sizes_baked_in=("calls", "calls.sequences.shapes"),
        returned_overwritten=("retention", "base.*"),
        one_buffer_reused=("retention", "base.*"),
        result_dropped=("error", "base.*"),
        tuple_forgotten=("values", "base.*"),
    )
    | _in(
        "derivatives",
        results_detached=("autograd_flags", "base.*"),
        results_recorded=("autograd_flags", "base.*"),
        arithmetic_recorded=("autograd_flags", "base.*"),
        inference_tensors_returned=("autograd_flags", "base.*"),
        gradients_scaled=("gradients", "base.*"),
        gradients_off=("gradients", "base.*"),
        first_gradients_off=("gradients", "base.*"),
        second_derivatives_scaled=("double_backward", "autograd.functions.second_derivative"),
        cotangents_ignored=("gradients", "base.*"),
        cotangents_assumed_contiguous=("gradients", "graph_breaks.modes.transposed_gradient"),
        cotangents_zeroed=("mutation", "base.*"),
        inputs_zeroed_in_backward=("mutation", "training.steps.*"),
        every_result_wanted=("error", "graph_breaks.modes.only_one_result_differentiated"),
        gradient_dtype_lost=("gradients", "base.*"),
        zero_for_none=("gradients", "autograd.gradients.*"),
        none_for_zero=("gradients", "autograd.gradients.*"),
        gradients_overwritten=("gradients", "training.steps.accumulated_gradients"),
        first_gradients_kept=("calls", "base.*"),
        no_second_derivative=("double_backward", "autograd.functions.second_derivative*"),
        backward_under_autocast=("gradients", "autocast.*"),
        backward_leaves_default_dtype=("ambient", "base.*"),
        backward_draws=("ambient", "base.*"),
        more_saved=("saved_bytes", "autograd.functions.nothing_saved"),
        raises_in_backward=("error", "base.*"),
    )
    | _in(
        "aot",
        "aot_eager",
        backward_graph_scaled=("gradients", "base.*"),
        backward_graph_signs_lost=("gradients", "autograd.*"),
        saved_values_swapped=("gradients", "grad_mode.*"),
        forward_graph_casts_dropped=("values", "autocast.regions.*"),
        forward_graph_writes_dropped=("mutation", "mutation.*"),
        forward_graph_made_contiguous=("layout", "aliasing.*"),
    )
    | _in(
        "backward_moves",
        second_result_spoiled=("move.each_result", "caller.moves.*"),
        first_result_presumed=("move.one_after_another", "caller.moves.*"),
        second_backward_allowed=("move.backward_twice", "caller.moves.*"),
        kept_graph_spoiled=("move.retain_graph", "caller.moves.*"),
        inputs_differentiated_with_weights=("move.inputs_only", "caller.moves.*"),
        results_cut_from_each_other=("move.between_results", "caller.moves.*"),
        second_derivative_spoiled=("move.create_graph", "caller.moves.*"),
        batched_cotangents_spoiled=("move.batched_cotangents", "caller.moves.*"),
        expanded_cotangents_spoiled=("move.expanded_cotangents", "caller.moves.*"),
        transposed_cotangents_spoiled=("move.transposed_cotangents", "caller.moves.*"),
        autocast_obeyed_in_backward=("move.backward_in_autocast", "caller.moves.*"),
        only_one_thread=("move.backward_in_thread", "caller.moves.*"),
        no_anomaly_detection=("move.anomaly_mode", "caller.moves.*"),
        gradient_objects_replaced=("move.accumulated_gradients", "caller.moves.*"),
        result_hooks_run_twice=("move.result_hooks", "caller.moves.*"),
        leaf_hooks_run_twice=("move.leaf_hooks", "caller.moves.*"),
        accumulation_hooks_forgotten=("move.accumulation_hooks", "caller.moves.*"),
        retained_gradients_spoiled=("move.retained_gradients", "caller.moves.*"),
        saved_tensor_hooks_spoiled=("move.saved_tensor_hooks", "caller.moves.*"),
        overwritten_results_used=("move.doubled_through_detach", "caller.moves.*"),
        written_views_spoiled=("move.doubled_through_view", "caller.moves.*"),
        order_of_calls_presumed=("move.results_out_of_order", "caller.moves.*"),
        one_element_spoiled=("move.jacobian", "caller.moves.*"),
    )
    | _in(
        "call_moves",
        checkpoint_spoiled=("move.checkpointed", "caller.moves.*"),
        results_not_taken_as_inputs=("move.results_as_inputs", "caller.moves.*"),
        trained_inputs_stale=("move.optimizer_steps", "caller.moves.*"),
        computed_inputs_spoiled=("move.computed_inputs", "caller.moves.*"),
        given_gradients_spoiled=("move.inputs_with_gradients", "caller.moves.*"),
        views_spoiled=("move.views_of_leaves", "caller.moves.*"),
        shared_base_spoiled=("move.views_of_one_base", "caller.moves.*"),
        twice_given_input_spoiled=("move.same_input_twice", "caller.moves.*"),
        expanded_inputs_spoiled=("move.expanded_inputs", "caller.moves.*"),
        transposed_inputs_spoiled=("move.transposed_inputs", "caller.moves.*"),
        inference_inputs_spoiled=("move.inference_inputs", "caller.moves.*"),
        parameters_spoiled=("move.parameters_as_inputs", "caller.moves.*"),
        frozen_inputs_spoiled=("move.frozen_inputs", "caller.moves.*"),
        frozen_weights_spoiled=("move.frozen_weights", "caller.moves.*"),
        another_shape_spoiled=("move.other_shape", "caller.moves.*"),
        another_dtype_spoiled=("move.other_dtype", "caller.moves.*"),
        two_modes_spoiled=("move.two_modes", "caller.moves.*"),
        default_dtype_baked_in=("move.other_default_dtype", "caller.moves.*"),
        deterministic_mode_spoiled=("move.deterministic_mode", "caller.moves.*"),
        compiled_autograd_spoiled=("move.compiled_autograd", "caller.moves.*"),
        evaluation_mode_ignored=("move.evaluation_mode", "caller.moves.*"),
        compiled_caller_spoiled=("move.compiled_within", "caller.moves.*"),
        tangents_forgotten=("move.dual_numbers", "caller.moves.*"),
    )
    | _in(
        "process",
        errors_swallowed=("exceptions", "exceptions.*"),
        exception_replaced=("exceptions", "exceptions.*"),
        changes_rolled_back=("mutation", "exceptions.modes.changed_before"),
        talkative=("printed", "base.*"),
        raises_at_compile=("error", "base.*"),
        raises_at_second_call=("error", "base.*"),
        nothing_callable=("error", "base.*"),
        asks_for_eager=("compiled", "base.*"),
        hands_back=("compiled", "base.*"),
        segfaults_at_compile=("crash", "base.*"),
        segfaults_at_run=("crash", "base.*"),
        varies_under_anomaly_mode=("crash", "caller.moves.*"),
        exits_at_run=("crash", "base.*"),
        takes_random_numbers_away=("crash", "base.*"),
        hangs_at_compile=("timeout", "base.*"),
    )
)

HONEST = {
    "interpreter": Honest(kin="eager"),
    "rebuilt": Honest(kin="eager"),
    "dispatched": Honest(kin="eager"),
    "instrumented": Honest(kin="eager"),
    "loud": Honest(kin="eager"),
    "aot_common_subexpressions": Honest(
        kin="aot_eager_default_partitioner",
        lacks=frozenset({Capability.DOUBLE_BACKWARD, Capability.RETAIN_GRAPH, Capability.INFERENCE_MODE}),
    ),
}

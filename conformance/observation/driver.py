"""Run one role of a program (uncompiled, its repetition, fp64, compiled) through the calls of its case.

The driver is never compiled: it sets ambient modes, makes the calls, writes to results and runs backward.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from conformance.model.enums import Stage
from conformance.model.user_function import STATE
from conformance.observation import ambient, inputs, seeding, snapshot
from conformance.observation.evidence import has_compiled_backward
from conformance.observation.exceptions import describe
from conformance.observation.parts import copied
from conformance.observation.printed import noting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from conformance.model.case import Call
    from conformance.model.request import Request
    from conformance.model.result import Raised
    from conformance.observation.ambient import AmbientState
    from conformance.observation.snapshot import Leaves

__all__ = [
    "CallObservation",
    "MoveObservation",
    "Role",
    "RoleObservation",
    "arguments_of",
    "differentiable",
    "leaves_of",
    "modes_of",
    "perform",
    "saved_bytes",
]


@dataclass(kw_only=True)
class CallObservation:
    """Snapshots of one call of the sequence. Paths: `output...`, input names, `module.weight`.

    `handed` is what the caller passed in, as it is after backward: inputs and state as `after_backward.a`, and the
    gradients passed to backward as `cotangent(output)`; `cotangents` are those before backward. `printed` is the
    beginning of what the call and its backward printed, by stream.
    """

    outputs: Leaves = field(default_factory=dict)
    tracked: Leaves = field(default_factory=dict)
    gradients: Leaves = field(default_factory=dict)
    second_gradients: Leaves = field(default_factory=dict)
    cotangents: Leaves = field(default_factory=dict)
    handed: Leaves = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    before: AmbientState | None = None
    rng_before: str = ""
    after_call: AmbientState | None = None
    after_backward: AmbientState | None = None
    raised: Raised | None = None
    compiled_backward: bool = False
    printed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def draws(self) -> bool:
        """Whether the call or its backward advanced PyTorch's generator."""
        return any(
            state is not None and state.rng != self.rng_before for state in (self.after_call, self.after_backward)
        )


@dataclass(kw_only=True)
class MoveObservation:
    """What a caller saw when it made a move: leaves by path, what was raised, and the state before and after."""

    leaves: Leaves = field(default_factory=dict)
    raised: Raised | None = None
    before: AmbientState | None = None
    after: AmbientState | None = None


@dataclass(kw_only=True)
class RoleObservation:
    """Snapshots of a role over all calls.

    `retained` are the outputs of every call, read again after the last one. `reaches` lists what changed when the
    caller wrote into each output of the last call. `moves` are by name. `complete` is False when an exception ended
    the sequence.
    """

    calls: list[CallObservation] = field(default_factory=list)
    moves: dict[str, MoveObservation] = field(default_factory=dict)
    retained: Leaves = field(default_factory=dict)
    reaches: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True, kw_only=True)
class Role:
    """A program ready to run: its namespace, the function to call, and how its inputs are prepared.

    `prepare` maps each input tensor to what this role gets (fp64 gets it in float64), None passes them on as made;
    `cotangent` maps each cotangent. The program runs call `i`, forward and backward, within `around(i)`; the driver's
    own operations do not. `stops(i)` is whether an exception in call `i` ends the sequence, because later calls could
    not be compared with ones made without it. `reseed` is added only to the seed of the program's random draws.
    `compile` compiles another function as `function` was compiled; None where that is uncompiled.
    """

    request: Request
    module: ModuleType
    function: Callable[..., object]
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None
    cotangent: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor
    around: Callable[[int], AbstractContextManager[object]] = lambda _: nullcontext()
    stops: Callable[[int], bool] = lambda _: False
    reseed: int = 0
    report: Callable[[Stage], None] = lambda _: None
    compile: Callable[[Callable[..., object]], Callable[..., object]] | None = None

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters, buffers and tensors of the program's setup, and of what a user's function reaches, by name."""
        found: dict[str, torch.Tensor] = {}
        reached = vars(self.module).get(STATE, dict)()
        for name, value in {**vars(self.module), **reached}.items():
            if name.startswith("__"):  # such as what Dynamo compiled, which it keeps beside the program
                continue
            if isinstance(value, torch.nn.Module):
                found |= {f"{name}.{key}": tensor for key, tensor in value.named_parameters()}
                found |= {f"{name}.{key}": tensor for key, tensor in value.named_buffers()}
            elif isinstance(value, torch.Tensor):
                found[name] = value
        return found


def perform(role: Role) -> RoleObservation:
    """Run a role through its calls, then read again what the calls returned."""
    observation = RoleObservation()
    returned: dict[str, object] = {}
    for index, call in enumerate(role.request.case.calls):
        driver = _Driver(role, call, index)
        observed = driver.run(returned)
        observation.calls.append(observed)
        if observed.raised and role.stops(index):
            return observation
        returned |= {f"call[{index}].{path}": value for path, value in driver.results.items()}
    observation.retained = snapshot.take_all(returned)
    observation.reaches = _write_to_outputs(driver.results, returned | driver.arguments | role.state())
    observation.complete = True
    return observation


class _Driver:
    """One call: its arguments, its results, and what the caller does with them."""

    def __init__(self, role: Role, call: Call, index: int) -> None:
        self.role, self.call, self.index = role, call, index
        self.request = role.request
        self.arguments = arguments_of(role, call, index)
        self._keep_gradients()
        self.results: dict[str, object] = {}
        self.cotangents: dict[str, torch.Tensor] = {}
        self.observed = CallObservation()

    def run(self, earlier: Mapping[str, object]) -> CallObservation:
        """Call, observe, run backward, observe."""
        self._renew_weights()
        base, versions = ambient.capture(), {name: _version(tensor) for name, tensor in self._tracked().items()}
        self.role.report(Stage.COMPILE if self.index == 0 else Stage.FORWARD)
        with noting(self.observed.printed):
            self._forward()
        ambient.restore(base)
        observed, tracked = self.observed, self._tracked()
        observed.before = base
        observed.versions = {name: _version(tensor) - versions.get(name, 0) for name, tensor in tracked.items()}
        observed.tracked = snapshot.take_all(tracked)
        observed.relations = snapshot.relations(self.results, tracked | dict(earlier))
        if observed.raised is None and self.call.inplace:
            self._write_into_results()
        observed.outputs = snapshot.take_all(self.results)
        if observed.raised is None and self.call.backward:
            with noting(observed.printed):
                self._backward(tracked)
            ambient.restore(base)
        return observed

    def _keep_gradients(self) -> None:
        """Let inputs that were computed from other tensors keep their gradients, as leaves do."""
        for name, value in self.arguments.items():
            for _, leaf in leaves_of(name, value):
                if leaf.requires_grad and not leaf.is_leaf and leaf.grad_fn is not None:
                    leaf.retain_grad()

    def _tracked(self) -> dict[str, object]:
        leaves = {path: leaf for name, value in self.arguments.items() for path, leaf in leaves_of(name, value)}
        return {**leaves, **self.role.state()}

    def _renew_weights(self) -> None:
        state = self.role.state().values()
        for tensor in state:
            tensor.grad = None
        if self.call.perturb:
            weights = [tensor for tensor in state if isinstance(tensor, torch.nn.Parameter)]
            inputs.perturb(weights, seeding.stream(self.request.seed, self.index, "perturb"))

    def _forward(self) -> None:
        seeding.seed_default(self.request.seed + self.index + self.role.reseed)
        self.observed.rng_before = ambient.rng()
        with modes_of(self.request, self.call):
            start = time.perf_counter()
            try:
                with self.role.around(self.index):
                    result = self.role.function(*self.arguments.values())
                self.results = snapshot.flatten(result, "output")
            except Exception as error:  # noqa: BLE001 - what a program or backend raises is the observation
                self.observed.raised = describe(error, Stage.FORWARD)
            self.observed.seconds = time.perf_counter() - start
            self.observed.after_call = ambient.capture()

    def _write_into_results(self) -> None:
        """Scale results in place, as a caller may; autograd must notice it wherever it does uncompiled."""
        try:
            for value in self.results.values():
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    value.mul_(2)
        except Exception as error:  # noqa: BLE001 - where it is refused uncompiled, the backend must refuse it too
            self.observed.raised = describe(error, Stage.FORWARD)

    def _backward(self, tracked: Mapping[str, object]) -> None:
        self.role.report(Stage.BACKWARD)
        try:
            self.observed.compiled_backward = has_compiled_backward(self.results.values())
            self._differentiate(tracked)
        except Exception as error:  # noqa: BLE001 - what backward raises is the observation
            self.observed.raised = describe(error, Stage.BACKWARD)
        self.observed.after_backward = ambient.capture()
        accumulated = {f"grad({name})": value.grad for name, value in _leaves(tracked).items()}
        self.observed.gradients = snapshot.take_all(accumulated) | self.observed.gradients
        afterwards = {f"after_backward.{name}": value for name, value in tracked.items()}
        self.observed.handed = snapshot.take_all(self.cotangents | afterwards)

    def _differentiate(self, tracked: Mapping[str, object]) -> None:
        results = differentiable(self.results)
        if not results:
            return
        cotangents = self._cotangents(results, "first")
        with self.role.around(self.index):
            if "double_backward" in self.request.case.checks:
                leaves = {name: value for name, value in _leaves(tracked).items() if value.requires_grad}
                self._differentiate_twice(list(results.values()), cotangents, leaves)
            else:
                torch.autograd.backward(list(results.values()), cotangents)

    def _differentiate_twice(
        self, values: list[torch.Tensor], cotangents: list[torch.Tensor], leaves: Mapping[str, torch.Tensor]
    ) -> None:
        inputs_ = list(leaves.values())
        found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
            values, inputs_, cotangents, create_graph=True, allow_unused=True
        )
        first = {f"grad({name})": value for name, value in zip(leaves, found, strict=True)}
        self.observed.gradients = snapshot.take_all(first)
        again = {path: value for path, value in first.items() if value is not None and value.requires_grad}
        if again:
            second = torch.autograd.grad(
                list(again.values()), inputs_, self._cotangents(again, "second"), allow_unused=True
            )
            self.observed.second_gradients = snapshot.take_all(
                {f"grad(grad({name}))": value for name, value in zip(leaves, second, strict=True)}
            )

    def _cotangents(self, values: Mapping[str, torch.Tensor], order: str) -> list[torch.Tensor]:
        seed, index = self.request.seed, self.index
        made = {
            f"cotangent({path})": self.role.cotangent(inputs.cotangent(value, seeding.stream(seed, index, order, path)))
            for path, value in values.items()
        }
        self.cotangents |= made
        self.observed.cotangents |= snapshot.take_all(made)
        return list(made.values())


def modes_of(request: Request, call: Call) -> AbstractContextManager[None]:
    """Return the ambient modes of a call: its own, else those of the variant."""
    variant = request.variant
    return ambient.applied(grad=call.grad or variant.grad, autocast=call.autocast or variant.autocast)


def arguments_of(role: Role, call: Call, index: int) -> dict[str, object]:
    """Return the arguments of a call as a role gets them, by name; other ones for each index."""
    request = role.request
    made = inputs.make(request.case, request.variant, call, request.seed, index)
    return inputs.related(request.case, copied(made, role.prepare) if role.prepare else made)


def leaves_of(name: str, value: object) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of an argument by path: its name, or `name[0]['key']` if a user's function made it."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif not isinstance(value, bool | int | float | str):
        yield from (
            (path, leaf) for path, leaf in snapshot.flatten(value, name).items() if isinstance(leaf, torch.Tensor)
        )


def differentiable(results: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Results to run backward from: those with a `grad_fn`.

    A leaf would test nothing, and a view of one made under no_grad requires gradients without a `grad_fn`.
    """
    return {
        path: value
        for path, value in results.items()
        if isinstance(value, torch.Tensor) and value.requires_grad and value.grad_fn is not None
    }


def _leaves(tracked: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Tensors in which gradients accumulate."""
    tensors = {name: value for name, value in tracked.items() if isinstance(value, torch.Tensor)}
    return {name: value for name, value in tensors.items() if value.is_leaf or value.retains_grad}


def _version(tensor: object) -> int:
    """The version counter; inference tensors have none."""
    if not isinstance(tensor, torch.Tensor) or tensor.is_inference():
        return 0
    return tensor._version  # noqa: SLF001 - documented in the autograd notes, without a public name


def _write_to_outputs(results: Mapping[str, object], everything: Mapping[str, object]) -> dict[str, str]:
    """Write into each result, as the caller may, and list what changed."""
    reaches: dict[str, str] = {}
    memory = {name: snapshot.memory(value) for name, value in everything.items() if isinstance(value, torch.Tensor)}
    for path, value in results.items():
        if not isinstance(value, torch.Tensor):
            continue
        own, failure = snapshot.memory(value), None
        near = {name: everything[name] for name in memory if snapshot.may_overlap(own, memory[name])}
        before = snapshot.take_all(near)
        try:
            with torch.inference_mode():
                value.logical_not_() if value.dtype is torch.bool else value.add_(1)
        except Exception as error:  # noqa: BLE001 - a result that refuses to be written is an observation
            failure = f"raises {type(error).__name__}"
        reaches[path] = failure or ", ".join(snapshot.changed(before, snapshot.take_all(near)))
    return reaches


def saved_bytes(role: Role) -> int | None:
    """Bytes of the distinct storages that autograd saves for backward, measured in one more run of the first call."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    request = role.request
    call = request.case.calls[0]
    arguments = arguments_of(role, call, len(request.case.calls))
    seeding.seed_default(request.seed)
    base = ambient.capture()
    try:
        with (
            modes_of(request, call),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            kept = role.function(*arguments.values())
            total = sum(sizes.values())
            del kept
    except Exception:  # noqa: BLE001 - the observed calls were made before; this one only measures
        return None
    finally:
        ambient.restore(base)
    return total

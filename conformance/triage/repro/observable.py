"""The one observable that a reproduction script compares: when it is read, and its Python."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.device import DEVICE
from conformance.model.enums import Outcome, Stage
from conformance.model.errors import UsageError
from conformance.model.process_state import OF_PROCESS
from conformance.model.result import NO_EXCEPTION
from conformance.triage.repro.program_text import local
from conformance.verdict.first_seen import broken_in_order
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from conformance.model.request import Request
    from conformance.model.result import CheckResult, Difference
    from conformance.triage.lookup import Found

__all__ = ["FACTS", "STATE", "Moment", "Observable", "difference", "first_broken", "numbers_differ", "observable"]

_BACKWARD = re.compile(r"grad\((grad\()?(?P<name>.*?)\)+(?P<part>\.[\w.()\[\]]+)?")
_HANDED = re.compile(r"cotangent\((?P<cotangent>.*)\)|after_backward\.(?P<name>.*)")
_CALL = re.compile(r"call\[(\d+)\]\.?")


def first_broken(found: Found) -> CheckResult | None:
    """Return the first check of those that decided the verdict; None where none did.

    Raises:
        UsageError: the record is of no failure.
    """
    if not found.record.outcome.is_failure:
        message = f"{'/'.join(found.record.key)} is a {found.record.outcome}: there is nothing to reproduce"
        raise UsageError(message)
    return next(iter(broken_in_order(found.record.checks)), None)


def difference(found: Found) -> Difference | None:
    """Return the first difference of those that decided the verdict; None where no check has one.

    Raises:
        UsageError: the record is of no failure.
    """
    broken = first_broken(found)
    return broken.differences[0] if broken and broken.differences else None


class Moment(IntEnum):
    """When it is read: in the caller's modes, after them, on results, after backward, after the last call."""

    INSIDE = 0
    CALLED = 1
    RESULTS = 2
    BACKWARD = 3
    END = 4


@dataclass(frozen=True, kw_only=True)
class Observable:
    """What a script compares.

    Args:
        index: of the call in which it is read.
        moment: when in that call.
        expression: its Python.
        differs: whether it differs, as Python.
        before: what comes before the call.
        after: what comes just before the expression.
        earlier: the call whose output the expression names as `earlier`.
        kept: the part of that output that is copied when it is returned.
        caught: whether exceptions of that call are compared; the expression then describes them.
    """

    index: int
    moment: Moment
    expression: str = ""
    differs: str = "compiled != uncompiled"
    before: str = ""
    after: str = ""
    earlier: int | None = None
    kept: str = ""
    caught: bool = False


FACTS = {
    "dtype": "{}.dtype",
    "shape": "tuple({}.shape)",
    "device": "{}.device",
    "tensor_layout": "{}.layout",
    "stride": "[step for size, step in zip({0}.shape, {0}.stride()) if size > 1]",
    "storage_offset": "{}.storage_offset()",
    "channels_last": "{}.is_contiguous(memory_format=torch.channels_last)",
    "conjugated": "{0}.is_conj() or {0}.is_neg()",
    "requires_grad": "{}.requires_grad",
    "is_leaf": "{}.is_leaf",
    "grad_fn": "{}.grad_fn is not None",
    "is_inference": "{}.is_inference()",
}
"""Facts about a tensor by kind of difference, as Python with a place for the tensor."""

STATE = {
    "grad_mode": "torch.is_grad_enabled()",
    "inference_mode": "torch.is_inference_mode_enabled()",
    "autocast": f'torch.is_autocast_enabled("{DEVICE}")',
    "autocast_dtype": f'torch.get_autocast_dtype("{DEVICE}")',
    "autocast_cache": "torch.is_autocast_cache_enabled()",
    "autocast_nesting": "(torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[0] - 1",
    "saved_tensor_hooks": "torch._C._autograd._top_saved_tensors_default_hooks(True) is not None",
    "default_dtype": "torch.get_default_dtype()",
    "anomaly_mode": "torch.is_anomaly_enabled()",
    "deterministic": "torch.are_deterministic_algorithms_enabled()",
    "function_modes": "torch._C._len_torch_function_stack()",
    "dispatch_modes": "torch._C._len_torch_dispatch_stack()",
    "threads": "torch.get_num_threads()",
    "matmul_precision": "torch.get_float32_matmul_precision()",
    "flush_denormal": "sys.float_info.min * 0.5 == 0.0",
    "saved_tensor_hooks_allowed": "torch._C._autograd._saved_tensors_hooks_is_enabled()",
    "forward_ad_level": "torch.autograd.forward_ad._current_level",
    "functorch_level": "torch._C._functorch.maybe_current_level() or 0",
    "compiled_autograd": "torch._dynamo.compiled_autograd.compiled_autograd_enabled",
    "default_device": "torch.get_default_device()",
    "deterministic_warns": "torch.is_deterministic_algorithms_warn_only_enabled()",
    "fills_memory": "torch.utils.deterministic.fill_uninitialized_memory",
    "configuration": (
        "[torch._dynamo.config.get_hash(), torch._functorch.config.get_hash(), torch._inductor.config.get_hash()]"
    ),
    "environment": "sorted(item for item in os.environ.items() if not item[0].startswith('_'))",
    "warning_filters": "repr(warnings.filters)",
    "exception_hook": "sys.excepthook.__qualname__",
    "log_handlers": "len(logging.getLogger().handlers)",
    "lasting_threads": (
        "len([each for each in threading.enumerate()"
        " if not (each.daemon or each in concurrent.futures.thread._threads_queues)])"
    ),
    "rng": "zlib.crc32(torch.get_rng_state().numpy().tobytes())",
    "python_rng": "zlib.crc32(repr(random.getstate()).encode())",
    "works": "(torch.ones(2, dtype=torch.float64) + 1).tolist()",
}
"""The state of a thread by field, as Python."""


def numbers_differ(first: Difference) -> str:
    """Return the Python that says whether the numbers of two tensors differ as those of a difference do."""
    if first.kind == "nonfinite":
        return "not torch.equal(nonfinite(compiled), nonfinite(uncompiled))"
    if first.ulp is not None and first.max_abs:
        return f"((compiled - uncompiled).abs() > {first.max_abs / 2:.2g}).any()"
    return "not torch.equal(compiled, uncompiled)"


def observable(found: Found) -> Observable:
    """Return what the script of a failing record has to compare.

    Raises:
        UsageError: the record is of no failure, or of one that no script can show.
    """
    record, request = found.record, found.request
    last = len(request.case.calls) - 1
    if record.outcome in {Outcome.CRASH, Outcome.TIMEOUT}:
        return Observable(index=last, moment=Moment.BACKWARD, expression='"returned"')
    if record.raised is not None:
        moment = Moment.BACKWARD if record.raised.stage is Stage.BACKWARD else Moment.RESULTS
        return Observable(index=_raising(found), moment=moment, expression='"no exception"')
    first = difference(found)
    if first is None:
        raise UsageError(_unknown(found))
    broken = first_broken(found)
    if broken is not None and CATALOGUE[broken.check].is_move:
        return Observable(index=0, moment=Moment.BACKWARD)
    twin = first.twin
    compared = _of_difference(first, request, last)
    if compared is None:
        raise UsageError(_unknown(found))
    return replace(compared, differs=compared.differs.replace("uncompiled", "expected")) if twin else compared


def _unknown(found: Found) -> str:
    return f"no script can show this of {'/'.join(found.record.key)}: {Symptom.of_record(found.record)}"


def _raising(found: Found) -> int:
    """The call in which the compiled function raised alone."""
    differences = (each for check in found.record.checks if check.check == "exceptions" for each in check.differences)
    return next((_split(each.path)[0] for each in differences if each.expected == NO_EXCEPTION), 0)


def _split(path: str) -> tuple[int, str]:
    """`(1, "output[0]")` of `call[1].output[0]`."""
    match = _CALL.match(path)
    return (int(match[1]), path[match.end() :]) if match else (0, path)


def _of_difference(first: Difference, request: Request, last: int) -> Observable | None:  # noqa: C901, PLR0911 - one a kind
    index, path = _split(first.path)
    match first.kind:
        case "state":
            return _state(index, path, request)
        case "exception" | "exception type":
            return _exception(first, index)
        case "alias":
            return _aliasing(index, path)
        case "reach":
            return _reaching(first, last)
        case "retained":
            return _retained(index, path, last)
        case "version":
            return _version(index, _expression(path))
        case "printed":
            return _printed(index, path)
        case "evidence":
            return _evidence(first, last)
        case "bytes":
            return Observable(index=1, moment=Moment.INSIDE, expression="sizes", differs="compiled > uncompiled")
        case "count" if path == "graph_breaks":
            return _graph_breaks(first, last)
        case _:
            return _leaf(first, index, path, request)


def _state(index: int, path: str, request: Request) -> Observable:
    moment, _, name = path.rpartition(".")
    when = Moment.INSIDE if moment == "after_call" else Moment.BACKWARD
    seeded = f"random.seed({request.seed + index})" if name == "python_rng" else ""
    if name in OF_PROCESS:
        changed = f'"as before the call" if before == {STATE[name]} else "changed"'
        return Observable(index=index, moment=when, expression=changed, before=f"before = {STATE[name]}")
    return Observable(index=index, moment=when, expression=STATE[name], before=seeded)


def _exception(first: Difference, index: int) -> Observable:
    """Its stage decides how far the call has to go; where only the type differs, that may be either."""
    at_call = first.kind == "exception" and first.stage is not Stage.BACKWARD
    expression = 'f"{kind(error)} {stage}"' if first.kind == "exception" else "type(error).__name__"
    moment = Moment.RESULTS if at_call else Moment.BACKWARD
    return Observable(index=index, moment=moment, expression=expression, caught=True)


def _retained(index: int, path: str, last: int) -> Observable:
    held = path.replace("output", "earlier", 1)
    return Observable(
        index=last,
        moment=Moment.END,
        expression=f'"unchanged" if torch.equal(kept, {held}) else "changed by a later call"',
        earlier=index,
        kept=path,
    )


def _version(index: int, name: str) -> Observable:
    before = f"version = {name}._version"
    return Observable(index=index, moment=Moment.CALLED, expression=f"{name}._version - version", before=before)


def _printed(index: int, stream: str) -> Observable:
    return Observable(
        index=index,
        moment=Moment.BACKWARD,
        before=f"sys.{stream} = io.StringIO()",
        after=f"printed, sys.{stream} = sys.{stream}.getvalue(), sys.__{stream}__",
        expression='"something" if printed else "nothing"',
    )


def _graph_breaks(first: Difference, last: int) -> Observable:
    return Observable(
        index=last,
        moment=Moment.BACKWARD,
        expression="count_breaks()",
        differs=f"compiled > {first.limit}",
    )


def _evidence(first: Difference, last: int) -> Observable | None:
    missing = {
        "graphs": "graphs == 0",
        "backend_calls": "calls == 0",
        "returned_unchanged": "returned_unchanged == graphs",
    }
    lacks = missing.get(first.path, "")
    counts = Observable(index=last, moment=Moment.RESULTS, expression='"returned"', differs=lacks)
    return counts if lacks else None


def _aliasing(index: int, path: str) -> Observable:
    first, _, second = path.partition(" ~ ")
    call, inner = _split(second)
    earlier = call if inner != second else None
    name = _expression(second) if earlier is None else inner.replace("output", "earlier", 1)
    expression = f"relation({first}, {name})"
    return Observable(index=index, moment=Moment.CALLED, expression=expression, earlier=earlier)


def _reaching(first: Difference, last: int) -> Observable:
    """Compare one of the objects that a write changed on one side only."""
    written = first.path.removeprefix("writing into ")
    write = f"{written}.logical_not_() if {written}.dtype is torch.bool else {written}.add_(1)"
    end = Observable(index=last, moment=Moment.END)
    if "raises " in first.actual + first.expected:
        return replace(end, expression='f"raises {type(error).__name__}"', after=f"{write}\n", caught=True)
    sides = [set(side.split(", ")) - {"nothing", ""} for side in (first.actual, first.expected)]
    changed = min(sides[0] ^ sides[1])
    call, name = _split(changed)
    is_result = name != changed
    earlier = call if is_result and call != last else None
    where = name if is_result else _expression(name)
    if earlier is not None:
        where = name.replace("output", "earlier", 1)
    return replace(
        end,
        after=f"reached = {where}.detach().clone()\nwith torch.inference_mode():\n    {write}",
        expression=f'"unchanged" if torch.equal(reached, {where}) else "changed"',
        earlier=earlier,
    )


def _leaf(first: Difference, index: int, path: str, request: Request) -> Observable | None:
    gradient = _BACKWARD.fullmatch(path)
    if gradient:
        double = "double_backward" in request.case.checks
        name = gradient["name"]
        held = f'{"second" if gradient[1] else "first"}.get("{name}")' if double else f"{_expression(name)}.grad"
        held += gradient["part"] or ""
        template = Observable(index=index, moment=Moment.BACKWARD)
        if first.kind == "value":
            return replace(template, expression=f'"no gradient" if {held} is None else "a gradient"')
        if first.kind == "presence":
            return replace(
                template, expression=f'"{name}" in second' if gradient[1] else f"{_expression(name)}.is_leaf"
            )
    elif path == "output.structure" or first.kind == "presence":
        shape = "str(pytree.tree_structure(output))"
        return Observable(index=index, moment=Moment.RESULTS, expression=shape)
    elif handed := _HANDED.fullmatch(path):
        if handed["cotangent"] and "double_backward" in request.case.checks:
            return None
        template = Observable(index=index, moment=Moment.BACKWARD)
        held = f'handed["{handed["cotangent"]}"]' if handed["cotangent"] else _expression(handed["name"])
    else:
        is_output = path.startswith("output")
        template = Observable(index=index, moment=Moment.RESULTS if is_output else Moment.CALLED)
        held = path if is_output else _expression(path)
    return _fact(first, template, held)


def _fact(first: Difference, template: Observable, held: str) -> Observable | None:
    if first.kind in FACTS:
        return replace(template, expression=FACTS[first.kind].format(held))
    if first.kind == "value":
        tensors = any(" tensor of shape " in side for side in (first.actual, first.expected))
        return replace(template, expression=f"type({held}).__name__" if tensors else held)
    if "unreadable" in {first.actual, first.expected} or first.kind not in {"values", "nonfinite"}:
        return None
    copied = held if held.endswith(".grad") else f"{held}.detach()"
    return replace(template, expression=copied, differs=numbers_differ(first))


def _expression(path: str) -> str:
    """An argument or a weight as Python: `net[0].weight` of `net.0.weight`."""
    head, *steps = path.split(".")
    return local(head) + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)

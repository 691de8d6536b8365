"""What runs the programs of a fuzzing run, until a deadline: this machine, or the workers of a cluster."""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.isolation.deadline import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from conformance.isolation.deadline import Deadline
    from conformance.model.request import Request
    from conformance.model.result import Attempt

__all__ = ["Runner", "here", "on_cluster"]

_SHARING = 8  # the more of them wait for the compiler, the less of its time each takes
_POLL_S = 0.2  # a deadline may be moved


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Functions that run requests and may be called from any thread.

    Args:
        one: runs a request; raises a StoppedError once the deadline has passed.
        several: runs requests of one backend, as `attempts.sweep` does.
        stop: ends what runs.
        sharing: how many calls of `several` share a compiler where compiling is slow.
    """

    one: Callable[[Request, Deadline], Attempt]
    several: Callable[[Sequence[Request], Deadline], Sequence[Attempt]]
    stop: Callable[[], None]
    sharing: int = 1


def here(kernels: Path) -> Runner:
    """Run requests in children of this process; kernels of those of `several` are compiled together, in a folder."""
    several = partial(attempts.sweep, kernels=kernels)
    return Runner(one=attempts.run, several=several, stop=tasks.shutdown, sharing=_SHARING)


def on_cluster(executor: Executor) -> Runner:
    """Run requests on workers. They know no deadline: what is under way when it passes is given up."""

    def several(requests: Sequence[Request], deadline: Deadline) -> Sequence[Attempt]:
        return _until(deadline, executor, attempts.sweep, requests)

    def one(request: Request, deadline: Deadline) -> Attempt:
        (made,) = _until(deadline, executor, attempts.run_batch, [request])
        return made

    return Runner(one=one, several=several, stop=executor.shutdown)


def _until(
    deadline: Deadline,
    executor: Executor,
    function: Callable[[Sequence[Request]], Sequence[Attempt]],
    requests: Sequence[Request],
) -> Sequence[Attempt]:
    if deadline.has_passed:
        raise StoppedError
    future = executor.submit(function, requests)
    while not future.done():
        if deadline.has_passed:
            raise StoppedError
        wait([future], timeout=min(_POLL_S, deadline.left_s))
    return future.result()

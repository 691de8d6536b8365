"""`conformance check` from Python: a function and backends are objects, and the result is a frame."""

from __future__ import annotations

import html
import inspect
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from rich.text import Text

from conformance.backend import Backend
from conformance.backend.discovery import relative
from conformance.isolation import handover, torch_release
from conformance.model.errors import UsageError
from conformance.model.user_function import INPUTS, PICKLE
from conformance.records import frame
from conformance.triage import check as triage_check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["CheckFrame", "assert_conforms", "check"]

BackendLike = str | Backend | Callable[..., object]

_BACKENDS = (
    "backends are names, references such as 'mine.py:mine', conformance.Backend objects,"
    " or callables (gm, example_inputs) -> callable, one or several"
)


class CheckFrame(pd.DataFrame):
    """The frame of `check`: a pandas frame like any other, which a notebook shows as the table of `conformance check`.

    Frames made from it, such as `frame[...]` or `frame.head()`, are plain frames and shown as such.

    Attributes:
        summary: that table, and below it what differs.
    """

    # A subclass, and no class that has a frame: what reads the frame of `load` reads this one. Slices are plain, for
    # pandas makes them by `_constructor`, so that the table is never shown for rows that it is not of.
    _metadata: ClassVar[list[str]] = ["summary"]
    summary: str = ""

    def _repr_html_(self) -> str | None:
        if not self.summary:
            return super()._repr_html_()  # type: ignore[misc,no-any-return]
        return f"<pre>{html.escape(self.summary)}</pre>"


def check(
    function: Callable[..., object],
    inputs: object,
    *,
    backends: BackendLike | Iterable[BackendLike] = (),
    moves: str | Sequence[str] = (),
    seed: int = 0,
    timeout_s: float | None = None,
) -> CheckFrame:
    """Run a function on backends with all checks; the frame has the columns of `conformance.load`, a row each backend.

    Declarations of `conformance.case` apply; where they name several modes, each has a row, and so have the moves of
    the caller.

    >>> import torch
    >>> found = conformance.check(lambda x: x.sin(), torch.ones(3, requires_grad=True), backends="aot_eager")
    >>> found[["moves", "verdict"]].to_numpy().tolist()
    [['none', 'pass'], ['usual', 'pass']]

    Args:
        function: a function, or a module; it and what it uses are pickled, and unpickled anew for each role.
        inputs: its arguments: a mapping by name, a tuple in order, or the only one; or a function that makes them.
        backends: one or several: backend specs, `conformance.Backend` objects, and callables
            `(gm, example_inputs) -> callable`; default: every installed one that is not for debugging.
        moves: what the caller does besides calling: names, or `none`, `usual` or `all`; default: as declared, or usual.
        seed: what random numbers are seeded with before inputs are made and before each call.
        timeout_s: seconds that each request may compute or sleep; default: 120.

    Raises:
        TypeError: an argument is of another type.
        UsageError: inputs are not what the function takes, it cannot be pickled, or there is no such backend.
        HarnessError: the fork server does not start, or died twice.
    """
    listed = _listed(backends)
    _refuse_other_types(function, seed, timeout_s)
    wanted = (moves,) if isinstance(moves, str) else tuple(moves)
    with tempfile.TemporaryDirectory(prefix="conformance-check-") as folder, _without_paths(folder):
        ref = _handed_over(function, inputs, Path(folder))
        named = _references(listed, Path(folder))
        options = triage_check.CheckOptions(
            ref=ref,
            backends=tuple(named),
            said={"moves": wanted} if wanted else {},
            seed=seed,
            timeout_s=timeout_s,
            records=Path(os.devnull),
        )
        checked = triage_check.run(options, lambda _total, _record: None)
    call = f"{_word(function, 'function')}, {_word(inputs, 'inputs')}"
    given = {"moves": moves or None, "seed": seed or None, "timeout_s": timeout_s}
    settings = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    commands = {
        info.name: f"conformance.check({call}, backends={named.get(info.ref) or repr(relative(info.ref))}{settings})"
        for info in checked.plan.backends
    }
    records = [replace(record, reproduce=commands[record.backend]) for record in checked.records]
    torch = torch_release.installed().version
    found = CheckFrame(frame.of((record, torch) for record in records))
    found.summary = Text.from_ansi(triage_check.summary(records)).plain  # a page and an exception take no colours
    return found


def assert_conforms(
    function: Callable[..., object],
    inputs: object,
    *,
    backends: BackendLike | Iterable[BackendLike] = (),
    moves: str | Sequence[str] = (),
    seed: int = 0,
    timeout_s: float | None = None,
) -> CheckFrame:
    """Check a function as `check` does, in a test, and raise if anything does not conform.

    >>> import torch
    >>> found = conformance.assert_conforms(lambda x: x * 2, torch.ones(3), backends=["eager", "aot_eager"])
    >>> found["green"].all()
    np.True_

    Args:
        function: as in `check`.
        inputs: as in `check`.
        backends: as in `check`.
        moves: as in `check`.
        seed: as in `check`.
        timeout_s: as in `check`.

    Returns:
        The frame of `check`.

    Raises:
        AssertionError: a verdict is red; the text has the table, what differs on each backend, and how to reproduce it.
        TypeError: as `check` raises it; likewise all else that it raises.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    found = check(function, inputs, backends=backends, moves=moves, seed=seed, timeout_s=timeout_s)
    if found["green"].all():
        return found
    counts = Counter(map(str, found.loc[~found["green"], "verdict"]))
    counted = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    message = f"{_name_of(function)} does not conform: {counted}\n\n{found.summary}"
    raise AssertionError(message)


def _listed(backends: object) -> list[BackendLike]:
    """The given backends as a list; a single one may be given by itself."""
    if isinstance(backends, (str, Backend)) or callable(backends):
        return [backends]
    each: list[Any] = list(backends) if isinstance(backends, Iterable) else [backends]
    for backend in each:
        if not isinstance(backend, (str, Backend)) and not callable(backend):
            message = f"backends has {backend!r:.80} ({type(backend).__name__}); {_BACKENDS}"
            raise TypeError(message)
    return each


def _refuse_other_types(function: object, seed: object, timeout_s: object) -> None:
    parameters = {
        "function": (function, callable(function), "a function or an nn.Module"),
        "seed": (seed, isinstance(seed, int), "a whole number"),
        "timeout_s": (timeout_s, timeout_s is None or isinstance(timeout_s, (int, float)), "seconds, or None"),
    }
    for name, (value, is_fine, expected) in parameters.items():
        if not is_fine:
            message = f"{name} is {value!r:.80} ({type(value).__name__}); it must be {expected}"
            raise TypeError(message)


def _name_of(value: object) -> str:
    """`__name__`, or the class of an object that has none; `function` for a lambda."""
    name = getattr(value, "__name__", type(value).__name__)
    return name if name.isidentifier() else "function"


def _word(value: object, otherwise: str) -> str:
    """A variable name for it: a function's own name, else `otherwise`."""
    name = value.__name__ if inspect.isfunction(value) else ""
    return name if name.isidentifier() else otherwise


def _handed_over(function: Callable[..., object], inputs: object, folder: Path) -> str:
    """Write a function and what makes its inputs to a file; return a reference to it."""
    name = _name_of(function)
    name = f"{name}_" if name == INPUTS else name
    path = folder / f"{name}{PICKLE}"
    made = inputs if inspect.isfunction(inputs) else (lambda: inputs)
    handover.write(path, name, {name: function, INPUTS: made})
    return f"{path}:{name}"


def _references(backends: Sequence[BackendLike], folder: Path) -> dict[str, str]:
    """Backend specs, each with the variable name of a backend object, empty for a spec that was given.

    Raises:
        UsageError: an object has the name of another backend, or cannot be pickled.
    """
    named = {given: "" for given in backends if isinstance(given, str)}
    names = set(named)
    for place, given in enumerate(each for each in backends if not isinstance(each, str)):
        backend = given if isinstance(given, Backend) else Backend(name=_name_of(given), compile={"backend": given})
        if backend.name in names:
            message = (
                f"several backends are called {backend.name!r}: their records could not be distinguished\n"
                "  Give one another name: conformance.Backend(name=..., compile={'backend': ...})."
            )
            raise UsageError(message)
        names.add(backend.name)
        path = folder / f"backend{place}{PICKLE}"
        handover.write(path, f"backend {backend.name!r}", {backend.name: backend})
        named[f"{path}:{backend.name}"] = backend.name if backend.name.isidentifier() else "backend"
    return named


@contextmanager
def _without_paths(folder: str) -> Iterator[None]:
    """Within, remove the temporary files of handed-over objects from messages."""
    try:
        yield
    except UsageError as error:
        message = re.sub(rf"{re.escape(folder)}/\w+{re.escape(PICKLE)}:", "", str(error))
        if message == str(error):
            raise
        raise UsageError(message) from None

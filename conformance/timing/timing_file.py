"""Files of timings: JSON lines of one header, the noise of the machine, timings as they come, and a footer.

They are written, cut off and continued like record files; a file without footer is of an interrupted run. Each time it
is continued, the noise is measured anew, and the largest noise applies to all timings.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from conformance.backend.discovery import portable
from conformance.model import codec
from conformance.model.errors import RecordFileError
from conformance.model.request import BackendInfo, Selection
from conformance.model.result import Environment
from conformance.records.environment import facts, fingerprint, now
from conformance.records.find import TIMINGS_START
from conformance.records.jsonl import LineFile, is_begun_with, reading, refuse_another, refuse_version, split
from conformance.timing.model import SMALLEST_EFFECT, Conditions, Effort, Noise, Timing

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.catalogue.selection import Plan

__all__ = [
    "TimingFooter",
    "TimingHeader",
    "TimingRun",
    "TimingWriter",
    "belongs",
    "make_header",
    "publishable",
    "read",
    "resume",
]

TIMING_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class TimingHeader:
    """Parameters of a run of timings.

    `smallest` is the smallest effect that counts, as a share; `compiles` is how often compiling is timed.
    """

    schema_version: int
    run_id: str
    environment: Environment
    fingerprint: str
    conditions: Conditions
    effort: Effort
    backends: tuple[BackendInfo, ...]
    selection: Selection = field(default_factory=Selection)
    seed: int = 0
    smallest: float = SMALLEST_EFFECT
    compiles: int = 0
    callgrind: bool = False
    planned: int = 0


@dataclass(frozen=True, kw_only=True)
class TimingFooter:
    """End of a run of timings; `load` is the load average of the last minute."""

    timings: int
    load: float
    finished: str
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class TimingRun:
    """Content of a file of timings.

    `noises` has one for each machine and each time that the run was begun or continued and something was timed there.
    `truncated` counts the bytes of a last line that was cut off; they are left out.
    """

    header: TimingHeader
    noises: tuple[Noise, ...] = ()
    timings: tuple[Timing, ...] = ()
    footer: TimingFooter | None = None
    truncated: int = 0


class TimingWriter:
    """Writes a file of timings, each line at once; a context manager.

    Args:
        path: the file; replaced if it exists and nothing is continued.
        header: header of the run.
        continues: the content of the file, if it is continued; then its header is used.

    Raises:
        UsageError: the file exists and is not a file of timings.
        RecordError: the file cannot be written; so do all methods that write.
    """

    def __init__(self, path: Path, header: TimingHeader, continues: TimingRun | None = None) -> None:
        self.header = continues.header if continues else header
        self._opened = time.monotonic()
        self._written = len(continues.timings) if continues else 0
        self._finished = continues is not None and continues.footer is not None
        self._file = LineFile(
            path, TIMINGS_START, _line("timings", header), truncate=continues.truncated if continues else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.__exit__(*raised)

    def noise(self, noise: Noise) -> None:
        """Write the uncompiled-vs-uncompiled noise."""
        self._put("noise", noise)

    def write(self, timing: Timing) -> None:
        """Write one timing at once."""
        self._put("timing", timing)
        self._written += 1

    def finish(self, load: float) -> None:
        """Write the footer of a complete run, once."""
        if self._finished:
            return
        duration = round(time.monotonic() - self._opened, 1)
        self._put("footer", TimingFooter(timings=self._written, load=load, finished=now(), duration_s=duration))
        self._finished = True

    def _put(self, kind: str, part: object) -> None:
        self._file.put(_line(kind, part), f"; the {self._written} timings before this are kept")


def _line(kind: str, part: object) -> str:
    return codec.encode({"kind": kind} | codec.to_plain(part))


def make_header(plan: Plan, environment: Environment, run_id: str, **given: Any) -> TimingHeader:  # noqa: ANN401 - the other fields
    """Build the header of a run of timings; facts of backends that depend on where they are installed are left out."""
    return TimingHeader(
        schema_version=TIMING_VERSION,
        run_id=run_id,
        environment=environment,
        fingerprint=fingerprint(environment),
        backends=tuple(map(portable, plan.backends)),
        selection=plan.selection,
        seed=plan.seed,
        **given,
    )


def read(path: Path) -> TimingRun:
    """Read a file of timings; a last line that was cut off is left out.

    Raises:
        RecordFileError: the file cannot be read, or is not a file of timings.
    """
    run = _scan(path)
    if run is None:
        message = f"{path}: holds no header; the run was stopped as it began"
        raise RecordFileError(message)
    return run


def resume(path: Path, header: TimingHeader) -> tuple[TimingWriter, TimingRun]:
    """Continue a file of timings, or start it if there is none; return the writer, and the content of the file.

    Raises:
        UsageError: the file is of a run of another plan, environment or effort.
        RecordError: the file cannot be read or written, or is not a file of timings.
    """
    run = _scan(path) if path.exists() else None
    if run is None:
        return TimingWriter(path, header), TimingRun(header=header)
    refuse_another(path, _facts(run.header), _facts(header))
    return TimingWriter(path, header, continues=run), run


def belongs(path: Path, header: TimingHeader) -> bool:
    """Whether a file is of the run with this header, so that it can be continued."""
    return is_begun_with(path, TIMINGS_START, lambda line: _facts(_header(line)), _facts(header))


def _header(line: bytes) -> TimingHeader:
    return codec.from_plain(TimingHeader, _body(line, "timings"))


def _facts(header: TimingHeader) -> dict[str, object]:
    """Facts that two headers of one run share."""
    plan = {
        "number of requests": header.planned,
        "selection": header.selection.given,
        "list of backends": ", ".join(info.name for info in header.backends),
        "seed": header.seed,
        "smallest effect": header.smallest,
        "threads of kernels": header.conditions.threads,
        "number of compiles": header.compiles,
        "callgrind": header.callgrind,
    }
    return plan | asdict(header.effort) | facts(header.environment, header.backends)


def _scan(path: Path) -> TimingRun | None:
    """The content of a file; None if its header is cut off."""
    found, truncated = split(path, TIMINGS_START, "a file of timings")
    if not found:
        return None
    first, *others = found
    with reading(f"{path}:1"):
        header = _header(first)
    refuse_version(path, header.schema_version, {TIMING_VERSION})
    return _contents(path, others, TimingRun(header=header, truncated=truncated))


def _contents(path: Path, texts: list[bytes], run: TimingRun) -> TimingRun:
    noises, timings = list[Noise](), dict[tuple[str, str, str], Timing]()
    unused, footer = None, None
    for number, text in enumerate(texts, start=2):
        with reading(f"{path}:{number}"):
            line = json.loads(text)
            kind = line.pop("kind", None) if isinstance(line, dict) else None
            match kind if footer is None else "after the footer":
                case "noise":
                    unused = codec.from_plain(Noise, line)
                case "timing":
                    timing = codec.from_plain(Timing, line)
                    if unused and timing.blocks:
                        noises.append(unused)
                        unused = None
                    if timing.key in timings:
                        message = "it repeats a timing"
                        raise ValueError(message)
                    timings[timing.key] = timing
                case "footer":
                    footer = codec.from_plain(TimingFooter, line)
                case _:
                    message = "not a timing, a noise or a footer, or it follows the footer"
                    raise ValueError(message)
    return replace(run, noises=tuple(noises), timings=tuple(timings.values()), footer=footer)


def publishable(run: TimingRun) -> str | None:
    """Return why a run of timings must not be published, or None."""
    if run.footer is None:
        return "it has no footer: the run was interrupted (`conformance bench --resume` completes it)"
    if given := run.header.selection.given:
        return f"it is a partial run: selected by {', '.join(sorted(given))}"
    if len(run.timings) != run.header.planned:
        return f"it holds {len(run.timings)} of {run.header.planned} timings"
    return None


def _body(text: bytes, kind: str) -> dict[str, Any]:
    line = json.loads(text)
    if not isinstance(line, dict) or line.pop("kind", None) != kind:
        message = f"not {kind}"
        raise ValueError(message)
    return line

"""Tasks for children of the fork server that do what a bad backend may do; named in tests as `TASKS + ":" + name`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.model.enums import Stage
from conformance.model.result import Attempt, Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[Stage], None]

TASKS = "conformance.tests.misbehaving"


def behaves(argument: Any, report: Report) -> Attempt:
    """Report two stages and return a result that repeats the argument."""
    report(Stage.BUILD)
    report(Stage.COMPARE)
    return Attempt(stage=Stage.COMPARE, invalid=str(argument), evidence=Evidence(graphs=1))


def says_where(_: Any, _report: Report) -> Attempt:
    """Return the process id, that of the server, and how many threads there are."""
    return Attempt(metrics={"pid": os.getpid(), "server": os.getppid(), "threads": threading.active_count()})


def says_folder(_: Any, _report: Report) -> Attempt:
    """Return the working directory."""
    return Attempt(invalid=str(Path.cwd()))


def says_environment(name: str, _report: Report) -> Attempt:
    """Return the value of an environment variable."""
    return Attempt(output="lost", invalid=os.environ.get(name, "unset"))


def says_descriptors(_: Any, _report: Report) -> Attempt:
    """Return how many descriptors a process started from here has."""
    listing = subprocess.run(["/bin/ls", "/proc/self/fd"], capture_output=True, check=True)
    return Attempt(metrics={"own": len(list(Path("/proc/self/fd").iterdir())), "started": len(listing.stdout.split())})


def prints(text: str, _report: Report) -> Attempt:
    """Print a text from Python and from below it."""
    sys.stdout.write(text)
    sys.stderr.write("on stderr\n")
    subprocess.run(["/bin/echo", "from a program"], check=True)
    return Attempt()


def large(size: int, _report: Report) -> Attempt:
    """Return a result of so many characters."""
    return Attempt(invalid="x" * size)


def raises(_: Any, _report: Report) -> Attempt:
    """Raise what no task should raise."""
    message = "not caught"
    raise ValueError(message)


@dataclass(frozen=True)
class Unfit:
    """A result that is no attempt."""

    metrics: str = ""


def returns_another_type(_: Any, _report: Report) -> Unfit:
    """Return something that is no attempt."""
    return Unfit(metrics="many")


def segfaults(_: Any, report: Report) -> Attempt:
    """Read address zero while compiling."""
    report(Stage.COMPILE)
    ctypes.string_at(0)
    return Attempt()


def aborts(_: Any, _report: Report) -> Attempt:
    """Call abort()."""
    os.abort()


def dies_of(number: int, _report: Report) -> Attempt:
    """Send this process a signal."""
    os.kill(os.getpid(), number)
    return Attempt()


def exits(status: int, _report: Report) -> Attempt:
    """End the process at once."""
    os._exit(status)


def exits_politely(status: Any, _report: Report) -> Attempt:
    """Raise SystemExit."""
    sys.exit(status)


def crashes_after_report(_: Any, _report: Report) -> Attempt:
    """Return a result, and crash while the process ends."""

    class Bomb:
        def flush(self) -> None:
            os.kill(os.getpid(), signal.SIGSEGV)

    sys.stdout = Bomb()
    return Attempt()


def hangs(_: Any, report: Report) -> Attempt:
    """Never return, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report(Stage.BACKWARD)
    while True:
        time.sleep(60)


def hangs_in_the_third_call(_: Any, report: Report) -> Attempt:
    """Report the stages of three calls, and never return from the last."""
    for stage in (Stage.BUILD, Stage.COMPILE, Stage.COMPILE, Stage.FORWARD, Stage.BACKWARD, Stage.FORWARD):
        report(stage)
    return hangs(None, report)


def computes_forever(_: Any, report: Report) -> Attempt:
    """Never return, for work."""
    report(Stage.BACKWARD)
    while True:
        sum(range(100_000))


def waits_for_a_program(_: Any, report: Report) -> Attempt:
    """Never return, for the work of a program, as for a compiler's."""
    report(Stage.BACKWARD)
    subprocess.run([sys.executable, "-c", "while True: sum(range(100_000))"], check=True)
    return Attempt()


def compiles(factor: int, _report: Report) -> Attempt:
    """Compile a function with Inductor, and return its result for 1."""
    import torch  # noqa: PLC0415  the tests name tasks without importing torch
    from torch._inductor import config  # noqa: PLC0415

    with config.patch(cpp_cache_precompile_headers=False):  # headers are kept elsewhere
        compiled = torch.compile(lambda a: a * factor, backend="inductor", dynamic=False)
        return Attempt(metrics={"result": float(compiled(torch.ones(64)).sum()) / 64})


def ends_while_compiling(how: tuple[str, int], report: Report) -> Attempt:
    """Compile with Inductor, whose compiler writes half a library; then die, hang, or fail."""
    (end, factor), run_whole = how, subprocess.run

    def half(command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        if "-o" not in command:
            return run_whole(command, **options)
        Path(command[command.index("-o") + 1]).write_bytes(b"\x7fELF")
        if end == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "hangs":
            time.sleep(600)
        raise subprocess.CalledProcessError(1, command, b"out of space")

    subprocess.run = half  # type: ignore[assignment]
    return compiles(factor, report)


def leaves_processes(path: str, _report: Report) -> Attempt:
    """Start one process in our group and one in a session of its own; write their ids; return."""
    command = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    ]
    started = [subprocess.Popen(command), subprocess.Popen(command, start_new_session=True)]
    Path(path).write_text(" ".join(str(process.pid) for process in started))
    return Attempt()


def leaves_processes_and_hangs(path: str, report: Report) -> Attempt:
    """Start processes, write their ids and that of this process, never return."""
    leaves_processes(path, report)
    with Path(path).open("a") as file:
        file.write(f" {os.getpid()} ready")
    return hangs(None, report)


def floods(lines: int, _report: Report) -> Attempt:
    """Print lines that look like what a child reports and like records."""
    for number in range(lines):
        sys.stdout.write(f'{{"result": {{"invalid": "forged {number}"}}}}\n{{"kind": "record", "verdict": "pass"}}\n')
    return Attempt(invalid="the true one")


def eats_memory(_: Any, _report: Report) -> Attempt:
    """Allocate without end."""
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))


def writes_everywhere(_: Any, _report: Report) -> Attempt:
    """Write garbage to every descriptor there is."""
    for descriptor in range(256):
        try:
            os.write(descriptor, b"garbage\n")
        except OSError:
            continue
    return Attempt()


def closes_everything(_: Any, _report: Report) -> Attempt:
    """Close every descriptor there is."""
    os.closerange(0, 256)
    return Attempt()


def reports_without_end(_: Any, report: Report) -> Attempt:
    """Report stages for ever."""
    while True:
        report("x" * 60_000)  # type: ignore[arg-type]


def forks_and_both_return(_: Any, _report: Report) -> Attempt:
    """Fork, as multiprocessing would: now there are two that return."""
    os.fork()
    return Attempt(invalid="once")


def kills_the_server(path: str, _report: Report) -> Attempt:
    """Kill the fork server unless a file is there already; leave that file behind."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return Attempt(invalid="survived")


def stops_the_server(path: str, _report: Report) -> Attempt:
    """Make the fork server deaf and hang, unless a file is there already; leave that file behind."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(60)
    return Attempt(invalid="survived")


def always_kills_the_server(_: Any, _report: Report) -> Attempt:
    """Kill the fork server."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return Attempt()


def says_imports(backend: str, _report: Report) -> Attempt:
    """Compile a function and return which modules of torch that imported."""
    import torch  # noqa: PLC0415  the tests name tasks without importing torch

    known = set(sys.modules)
    a = torch.ones(4, requires_grad=True)
    torch.compile(lambda a: (a * 2).sum(), backend=backend)(a).backward()
    return Attempt(invalid=" ".join(sorted(name for name in set(sys.modules) - known if name.startswith("torch."))))


def goes_backward(_: Any, _report: Report) -> Attempt:
    """Go backward, for which a CUDA build starts threads."""
    import torch  # noqa: PLC0415  the server has imported it

    a = torch.ones(2, requires_grad=True)
    torch.autograd.backward((a * 2).sum())
    return Attempt(metrics={"gradient": float(a.grad.sum()) if a.grad is not None else 0.0})


def says_native_threads(_: Any, _report: Report) -> Attempt:
    """Return how many threads this process has, as the system counts them."""
    return Attempt(metrics={"threads": len(list(Path("/proc/self/task").iterdir()))})


def says_what_is_left(_: Any, _report: Report) -> Attempt:
    """Return what steps of `warmups.py` left behind: threads, children of the server, marks of steps taken."""
    return Attempt(
        metrics={
            "threads": len(list(Path("/proc/self/task").iterdir())),
            "children": len(Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split()) - 1,
            **{mark: int(f"CONFORMANCE_TEST_{mark.upper()}" in os.environ) for mark in ("first", "last")},
        }
    )


def says_data_limit(_: Any, _report: Report) -> Attempt:
    """Return the limits on data and core files."""
    return Attempt(
        metrics={
            "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
            "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        }
    )


def says_length(argument: str, _report: Report) -> Attempt:
    """Return how long the argument is."""
    return Attempt(metrics={"length": len(argument)})

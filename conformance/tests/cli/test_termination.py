from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from conformance.backend import discovery
from conformance.cli.main import main
from conformance.cli.options import EXIT_CODES
from conformance.cli.termination import Terminated, terminable
from conformance.execution import attempts as execution_attempts
from conformance.isolation import tasks
from conformance.records import kept, record_file
from conformance.records.kept import Kind
from conformance.tests.commands import CASE, STARTING
from conformance.tests.fakes import a_backend, an_attempt
from conformance.tests.runs import a_last_run, red

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.request import Request
    from conformance.model.result import Attempt


def terminate(*_: Any, **__: Any) -> Any:
    """Send SIGTERM to this process, and give it the time to arrive."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


@pytest.mark.parametrize("words", STARTING)
def test_every_command_that_runs_something_ends_with_143(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Wherever it is; where nothing has been run there is nothing to resume."""
    a_last_run(tmp_path, red(CASE, "eager", variant="grad=enabled"))
    (tmp_path / "mine.py").write_text("def function(x): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "run_task", terminate)
    result = CliRunner().invoke(main, words.split())
    assert (result.exit_code, result.stdout, result.stderr) == (143, "", "terminated\n")


def test_a_terminated_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as on Ctrl-C: what is done is kept, and the last line is the command to continue."""
    line = f"run --backend fake --case {CASE} --jobs 1 --batch 1"
    done = 1

    def attempts(requests: Sequence[Request]) -> list[Attempt]:
        nonlocal done
        done -= 1
        if done == -1:  # a second signal would end this process at once
            while kept.last(Kind.RUN).read_bytes().count(b"\n") <= 1:  # the record before this one is not out yet
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
        return [an_attempt() for _ in requests]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(discovery, "names", lambda: ["fake"])
    monkeypatch.setattr(execution_attempts, "describe", a_backend)
    monkeypatch.setattr(execution_attempts, "run_batch", attempts)
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 143
    missing = "Interrupted; 2 of 3 requests are missing. Continue:"
    assert result.stdout.splitlines()[-1] == f"{missing} conformance {line} --resume"
    before = kept.last(Kind.RUN).read_bytes()
    done = 2
    assert CliRunner().invoke(main, [*line.split(), "--resume"]).exit_code == 0
    assert kept.last(Kind.RUN).read_bytes().startswith(before)
    assert len(record_file.read(kept.last(Kind.RUN)).records) == 3


def test_ctrl_c_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two are distinguished by the exit code and by the word."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "run_task", interrupt)
    result = CliRunner().invoke(main, ["run", "--backend", "eager"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_command_leaves_sigterm_as_it_was() -> None:
    """Before and after a command SIGTERM is not handled, in a process that runs several."""
    assert CliRunner().invoke(main, ["list", CASE]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_handles_sigterm_already_is_left_alone(handler: Any) -> None:
    """A program that ignores it, or has other plans, keeps it so."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with terminable() as termination:
            os.kill(os.getpid(), signal.SIGTERM)
        assert not termination.received
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_has_no_signals() -> None:
    """Python hands signals to the main thread alone."""
    received = []

    def within() -> None:
        with terminable() as termination:
            received.append(termination.received)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert received == [False]


def test_the_first_sigterm_interrupts() -> None:
    """Code that waits for Ctrl-C receives it."""
    with terminable() as termination:
        with pytest.raises(KeyboardInterrupt) as caught:
            terminate()
        assert termination.received
    assert caught.type is Terminated


def test_the_second_sigterm_ends_at_once() -> None:
    """Where tidying up takes long, the process need not be killed."""
    program = """
import time
from conformance.cli.termination import terminable
with terminable():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        time.sleep(60)
"""
    line = [sys.executable, "-c", program]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for word in ("ready\n", "tidying\n"):
            assert running.stdout.readline() == word
            running.send_signal(signal.SIGTERM)
        assert running.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize(("blow", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_fork_server_that_warms_up_is_ended(tmp_path: Path, blow: signal.Signals, status: int) -> None:
    """It is busy and sees nothing itself, so it is killed."""
    torch = tmp_path / "site" / "torch"
    torch.mkdir(parents=True)
    (torch / "version.py").write_text("__version__ = '2.13.0+cpu'")
    (torch / "__init__.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('pid.new').write_text(str(os.getpid()))\n"
        "pathlib.Path('pid.new').rename('pid')\n"
        "time.sleep(600)\n"
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    env = {**os.environ, "PYTHONPATH": str(torch.parent)}
    line = [sys.executable, "-m", "conformance", "run", "--backend", "eager"]
    with subprocess.Popen(line, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as running:
        end = time.monotonic() + 60
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        running.send_signal(blow)
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == status
    assert stderr in {f"starting torch 2.13.0+cpu ...\n{word}\n" for word in ("terminated", "interrupted")}
    assert not (Path("/proc") / (tmp_path / "pid").read_text()).exists()


def test_the_exit_code_is_in_the_help_and_the_documentation(checkout: Path) -> None:
    """The message names where the others are."""
    assert "\n  143  " in EXIT_CODES
    assert "\n| 143 | " in (checkout / "conformance" / "docs" / "reference" / "verdicts.md").read_text()

"""A run on two hosts, one of which is cut off for a while: `python -m conformance.tests.jobs.cluster_hosts`, as root.

The hosts are network namespaces of this machine, on a bridge; scheduler and workers are started as the guide says. The
exit code is 1 unless the records are those of a run on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.tests.runs import timeless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BRIDGE, _HOME, _PORT = "conf0", "10.77.0.1", 8786
_PROGRAMS = Path(sys.executable).parent


@click.command()
@click.option("--hosts", default=2, show_default=True)
@click.option("--cut", default=30.0, show_default=True, help="For how many seconds the first host is cut off.")
@click.option("--after", default=15.0, show_default=True, help="How many seconds into the run.")
@click.argument("words", nargs=-1)
def main(hosts: int, cut: float, after: float, words: Sequence[str]) -> None:
    """Run on the hosts and here, with further options of `conformance run`, and compare the records."""
    chosen = words or ("--backend", "eager", "--case", "grad_mode.*")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        names = [stack.enter_context(_host(number)) for number in range(1, hosts + 1)]
        address = f"tcp://{_HOME}:{_PORT}"
        log = stack.enter_context(Path(folder, "log").open("wb"))
        stack.enter_context(_running(log, "dask", "scheduler", "--host", _HOME, "--port", str(_PORT), "--no-dashboard"))
        for name in names:
            worker = ("dask", "worker", address, "--nthreads", "1", "--resources", "conformance=1", "--no-dashboard")
            stack.enter_context(_running(log, *worker, within=name))
        there, here = Path(folder, "there.jsonl"), Path(folder, "here.jsonl")
        command = [str(_PROGRAMS / "conformance"), "run", *chosen]
        run = subprocess.Popen([*command, "--scheduler", address, "--records", str(there)])
        time.sleep(after)
        _ip("link", "set", f"{_BRIDGE}v1", "down")
        time.sleep(cut)
        _ip("link", "set", f"{_BRIDGE}v1", "up")
        run.wait()
        subprocess.run([*command, "--records", str(here)], check=False)
        same = timeless(there) == timeless(here)
    click.echo("the same records" if same else "other records")
    sys.exit(int(not same))


@contextmanager
def _host(number: int) -> Iterator[str]:
    """A network namespace on the bridge, which the first one brings."""
    name, inner, outer = f"conformance{number}", "e0", f"{_BRIDGE}v{number}"
    if number == 1:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{_HOME}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
    _ip("netns", "add", name)
    try:
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("link", "set", outer, "master", _BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"10.77.0.{10 + number}/24", "dev", inner)
        for device in (inner, "lo"):
            _ip("-n", name, "link", "set", device, "up")
        yield name
    finally:
        _ip("netns", "delete", name)
        if number == 1:
            _ip("link", "delete", _BRIDGE)


@contextmanager
def _running(log: Any, program: str, *words: str, within: str = "") -> Iterator[None]:
    """A program of this environment, which ends with the block."""
    around = ["/usr/sbin/ip", "netns", "exec", within] if within else []
    process = subprocess.Popen([*around, _PROGRAMS / program, *words], stdout=log, stderr=log)
    time.sleep(3)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _ip(*words: str) -> None:
    subprocess.run(["/usr/sbin/ip", *words], check=True)


if __name__ == "__main__":
    main()

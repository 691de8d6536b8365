"""What a worker of a dask cluster does for a run: show what it is, and run requests that are named to it.

Tasks carry words. Cases are those that are installed on the worker; the folders and files that are not come with the
run, as texts.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module, metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.catalogue import sources
from conformance.catalogue.selection import time_limit
from conformance.model.errors import SelectionError
from conformance.model.request import BackendInfo, Request
from conformance.records import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from conformance.model.case import Case
    from conformance.model.result import Attempt

__all__ = ["Cargo", "Key", "Performed", "facts", "perform", "trust"]

Key = tuple[str, str, str]
"""Backend name, case id, variant id."""

_RUN_BATCH = "conformance.execution.attempts:run_batch"
_COMPARED = ("torch", "python", "platform", "compiler", "suite_hash")
_CPUINFO = Path("/proc/cpuinfo")
_VARIABLES = ("CONFORMANCE_", "PYTORCH_", "TORCH")
"""What the names of environment variables begin with on which a result may depend."""
_PLACES = frozenset({"TORCHINDUCTOR_CACHE_DIR", "TORCH_HOME"})
_FEATURES = frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16", "fma", "asimd", "sve"})
"""Of a processor, on which the kernels depend that PyTorch chooses and Inductor generates."""


@dataclass(frozen=True, kw_only=True)
class Cargo:
    """What a worker needs for the requests of a run, beside their names.

    Args:
        run_id: of the run; the resource that trusted workers have is called after it.
        backends: of the run. One that is in a file has its text in `files`.
        folders: cases that are not installed: for each folder its name, and the texts of its files by name.
        files: texts of files that backends are in, by the path in their `ref`.
        seed: of inputs.
        timeout_s: the limit of each request, if one was asked for.
        runs: `module:function` that runs requests of one backend and returns an attempt for each.
    """

    run_id: str
    backends: tuple[BackendInfo, ...]
    folders: tuple[tuple[str, Mapping[str, str]], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    timeout_s: float | None = None
    runs: str = _RUN_BATCH

    def __hash__(self) -> int:
        return hash(self.run_id)

    @property
    def digest(self) -> str:
        """Twelve digits over all texts that come with the run."""
        return hashlib.sha256(repr((self.folders, sorted(self.files.items()))).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Performed:
    """The attempts of a batch, and the fingerprint of the environment that they were made in."""

    attempts: tuple[Attempt, ...]
    fingerprint: str


def facts(backends: Sequence[BackendInfo]) -> dict[str, str]:
    """Return what must be the same on every machine of a run, by name."""
    machine = environment.capture()
    packages = {*machine.packages, *(name for info in backends for name in info.packages)}
    variables = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    return {
        **{name: str(getattr(machine, name)) for name in _COMPARED},
        "code of the suite": _code(),
        "variables": " ".join(f"{name}={variables[name]}" for name in sorted(variables.keys() - _PLACES)),
        "processor features": " ".join(sorted(_features())),
        **{f"package {name}": _version(name) for name in sorted(packages)},
    }


async def trust(expected: Mapping[str, str], cargo: Cargo, *, mixed: bool, dask_worker: Any) -> dict[str, str]:  # noqa: ANN401 - distributed.Worker, which a worker alone needs
    """Give this worker the resource of a run if it is as the client is; return in what it differs.

    Args:
        expected: `facts` of the client.
        cargo: of the run.
        mixed: whether it may differ.
        dask_worker: this worker.
    """
    own = facts(cargo.backends)
    different = {name: own.get(name, "") for name, value in expected.items() if own.get(name, "") != value}
    if mixed or not different:
        slots = dask_worker.state.total_resources.get("conformance", dask_worker.state.nthreads)
        await dask_worker.set_resources(**{cargo.run_id: slots})
    return different


def perform(cargo: Cargo, digest: str, keys: Sequence[Key]) -> Performed:
    """Run requests of one backend on this worker, as `attempts.run_batch` does.

    Args:
        cargo: of the run.
        digest: of its texts, as the client has it.
        keys: the names of the requests.

    Raises:
        SelectionError: the texts are not those of the client, or there is no such case here.
    """
    if cargo.digest != digest:
        message = f"the texts that came with run {cargo.run_id} are not those that were sent"
        raise SelectionError(message)
    outfit = _outfit(cargo)
    module, _, function = cargo.runs.partition(":")
    run: Callable[[Sequence[Request]], Sequence[Attempt]] = getattr(import_module(module), function)
    attempts = run([outfit.request(key) for key in keys])
    return Performed(attempts=tuple(attempts), fingerprint=outfit.fingerprint)


@lru_cache(maxsize=4)
def _outfit(cargo: Cargo) -> _Outfit:
    return _Outfit(cargo)


class _Outfit:
    """The cases and backends of a run on this machine; its folder ends with the process."""

    def __init__(self, cargo: Cargo) -> None:
        self._cargo = cargo
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        folders = [self._written(f"cases{place}/{name}", texts) for place, (name, texts) in enumerate(cargo.folders)]
        self._cases: Mapping[str, Case] = {case.id: case for case in sources.collect(folders)}
        self._backends = {info.name: self._local(place, info) for place, info in enumerate(cargo.backends)}
        self.fingerprint = environment.fingerprint(environment.capture(sources.homes(folders)))

    def request(self, key: Key) -> Request:
        backend, case_id, variant_id = key
        case, info = self._cases.get(case_id), self._backends[backend]
        variant = next((each for each in case.variants if each.id == variant_id), None) if case else None
        if case is None or variant is None:
            message = f"this worker has no case {case_id} with a variant {variant_id}"
            raise SelectionError(message)
        limit = time_limit(case, info, self._cargo.timeout_s)
        return Request(case=case, backend=info, variant=variant, seed=self._cargo.seed, timeout_s=limit)

    def _local(self, place: int, info: BackendInfo) -> BackendInfo:
        """The backend with its file as it was written here."""
        path, _, attribute = info.ref.rpartition(":")
        if path not in self._cargo.files:
            return info
        name = Path(path).name
        folder = self._written(f"backend{place}", {name: self._cargo.files[path]})
        return replace(info, ref=f"{folder / name}:{attribute}")

    def _written(self, name: str, texts: Mapping[str, str]) -> Path:
        folder = Path(self._folder.name, name)
        folder.mkdir(parents=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        return folder


def _features() -> set[str]:
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    flags = (line.partition(":")[2] for line in text.splitlines() if line.startswith(("flags", "Features")))
    return set(next(flags, "").split()) & _FEATURES


def _code() -> str:
    """Twelve digits over the modules of the suite, but for its tests."""
    root = files("conformance")
    parts = sorted(path for path in _modules(root) if not path[0].startswith("tests/"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _modules(folder: Traversable, within: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry, f"{within}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{within}{entry.name}", entry.read_text(encoding="utf-8")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"

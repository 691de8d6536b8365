"""What a worker of a dask cluster does for a run: show what it is, and call functions with requests named to it.

Tasks carry words. Cases are those that are installed on the worker; the folders and files that are not come with the
run, as texts.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.catalogue import sources
from conformance.catalogue.selection import time_limit
from conformance.model import codec
from conformance.model.errors import SelectionError
from conformance.model.request import BackendInfo, Key, Request
from conformance.records import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from conformance.model.case import Case
    from conformance.model.result import Environment

__all__ = [
    "COMPARED",
    "Cargo",
    "Drawn",
    "Inspected",
    "Performed",
    "Words",
    "cargo_of",
    "facts",
    "inspect",
    "perform",
    "take_part",
]

COMPARED = ("torch", "python", "platform", "compiler", "suite_hash")
_CPUINFO = Path("/proc/cpuinfo")
_VARIABLES = ("CONFORMANCE_", "PYTORCH_", "TORCH")
"""What the names of environment variables begin with on which a result may depend."""
_PLACES = frozenset({"TORCHINDUCTOR_CACHE_DIR", "TORCH_HOME"})
_OUTFITTING = threading.Lock()  # the threads of a worker begin a run at the same time
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
        compared: the facts of the environment that must be the same on every machine.
    """

    run_id: str
    backends: tuple[BackendInfo, ...]
    folders: tuple[tuple[str, Mapping[str, str]], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    timeout_s: float | None = None
    compared: tuple[str, ...] = COMPARED

    def __hash__(self) -> int:
        return hash(self.run_id)

    @property
    def digest(self) -> str:
        """Twelve digits over all texts that come with the run."""
        return _digest(repr((self.folders, sorted(self.files.items()))))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A request whose case is in no catalogue: its text, and twelve digits over it."""

    text: str
    digest: str

    @classmethod
    def of(cls, request: Request) -> Drawn:
        """Write a request."""
        text = codec.encode(codec.to_plain(request))
        return cls(text=text, digest=_digest(text))


Words = Key | Drawn
"""What names a request to a worker."""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What a function returned for requests, and the fingerprint of the environment that it was called in."""

    results: tuple[Any, ...]
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What a worker is: its facts, the machine that it is on, and how many requests it runs at a time."""

    facts: Mapping[str, str]
    machine: str
    slots: int


def cargo_of(
    run_id: str,
    backends: Sequence[BackendInfo],
    folders: Sequence[Path] = (),
    *,
    seed: int = 0,
    timeout_s: float | None = None,
    compared: tuple[str, ...] = COMPARED,
) -> Cargo:
    """Return what workers need for a run: its backends, and the texts of folders and files that they may not have."""
    places = [Path(path) for info in backends if (path := info.ref.rpartition(":")[0]).endswith(".py")]
    return Cargo(
        run_id=run_id,
        backends=tuple(backends),
        folders=tuple((folder.name, _texts(folder)) for folder in folders),
        files={str(path): path.read_text(encoding="utf-8") for path in places},
        seed=seed,
        timeout_s=timeout_s,
        compared=compared,
    )


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}


def facts(cargo: Cargo) -> dict[str, str]:
    """Return what must be the same on every machine of a run, by name."""
    machine = _environment()
    packages = {"distributed", *machine.packages, *(name for info in cargo.backends for name in info.packages)}
    variables = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    return {
        **{name: str(getattr(machine, name)) for name in cargo.compared},
        "code of the suite": _code(),
        "variables": " ".join(f"{name}={variables[name]}" for name in sorted(variables.keys() - _PLACES)),
        "processor features": " ".join(sorted(_features())),
        **{f"package {name}": _version(name) for name in sorted(packages)},
    }


def inspect(cargo: Cargo, dask_worker: Any) -> Inspected:  # noqa: ANN401 - distributed.Worker, which a worker alone needs
    """Return what this worker is. Where dask was started with no resource `conformance`, a thread is a slot."""
    _drop_variables_of_nanny()
    slots = dask_worker.state.total_resources.get("conformance", dask_worker.state.nthreads)
    return Inspected(facts=facts(cargo), machine=environment.machine(), slots=int(slots))


def _drop_variables_of_nanny() -> None:
    """Take back what dask's nanny added to the environment of this process, which its fork servers would inherit.

    Measured: with the nanny's `MALLOC_TRIM_THRESHOLD_` a request takes a tenth longer than on one machine without dask.
    """
    import dask  # noqa: PLC0415 - only a worker has it

    for name, value in dask.config.get("distributed.nanny.pre-spawn-environ", {}).items():
        if os.environ.get(name) == str(value):
            del os.environ[name]


async def take_part(run_id: str, slots: Mapping[str, int], dask_worker: Any) -> None:  # noqa: ANN401 - as above
    """Give this worker the resource of a run: for so many requests at a time, by its address."""
    await dask_worker.set_resources(**{run_id: slots[dask_worker.address]})


def perform(
    cargo: Cargo, digest: str, function: Callable[..., Sequence[Any]], parts: Sequence[Sequence[Words]]
) -> Performed:
    """Call a function with requests on this worker.

    Args:
        cargo: of the run.
        digest: of its texts, as the client has it.
        function: gets a list of requests for each of `parts`.
        parts: requests in words.

    Raises:
        SelectionError: the texts are not those of the client, or there is no such case here.
    """
    with _OUTFITTING:
        outfit = _outfit(cargo, digest)
    made = function(*([outfit.request(words) for words in part] for part in parts))
    return Performed(results=tuple(made), fingerprint=outfit.fingerprint)


@lru_cache(maxsize=4)
def _outfit(cargo: Cargo, digest: str) -> _Outfit:
    if cargo.digest != digest:
        message = f"the texts that came with run {cargo.run_id} are not those that were sent"
        raise SelectionError(message)
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

    def request(self, words: Words) -> Request:
        """The request that words name."""
        return self._drawn(words) if isinstance(words, Drawn) else self._installed(words)

    def _drawn(self, drawn: Drawn) -> Request:
        if _digest(drawn.text) != drawn.digest:
            message = f"the text of a request of run {self._cargo.run_id} is not the one that was sent"
            raise SelectionError(message)
        request = codec.from_plain(Request, json.loads(drawn.text))
        return replace(request, backend=self._backends[request.backend.name])

    def _installed(self, key: Key) -> Request:
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


@cache
def _environment() -> Environment:
    return environment.capture()


@cache
def _code() -> str:
    """Twelve digits over the modules of the suite, but for its tests."""
    root = files("conformance")
    parts = sorted(path for path in _modules(root) if not path[0].startswith("tests/"))
    return _digest(repr(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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

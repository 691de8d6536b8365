from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.catalogue.selection import select
from conformance.model.errors import RecordError
from conformance.records.record_file import RecordWriter, make_header, read
from conformance.records.shards import merge
from conformance.tests.fakes import a_backend, a_case, a_record, an_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.catalogue.selection import Plan
    from conformance.model.request import BackendInfo
    from conformance.model.result import Environment

CASES = tuple(a_case(f"demo.first.case{number}") for number in range(5))
BACKENDS = (a_backend("one"), a_backend("two"))


def a_shard(
    folder: Path,
    shard: tuple[int, int] | None,
    *,
    environment: Environment | None = None,
    backends: Sequence[BackendInfo] = BACKENDS,
    seed: int = 0,
    gated: dict[str, str] | None = None,
    finish: bool = True,
) -> Path:
    """A record file with a pass for each request of a shard; of gated backends it has none."""
    plan = select(CASES, backends, shard=shard, seed=seed)
    path = folder / f"{shard}-{seed}.jsonl"
    with RecordWriter(path, make_header(plan, environment or an_environment(), f"run-{shard}")) as writer:
        for request in _run(plan, gated or {}):
            writer.write(a_record(request[1], request[0], variant=request[2]))
        if finish:
            writer.finish(gated or {})
    return path


def _run(plan: Plan, gated: dict[str, str]) -> list[tuple[str, str, str]]:
    return [request.key for request in plan.requests if request.backend.name not in gated]


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_merged_shards_are_the_run_there_would_be_without(tmp_path: Path, count: int) -> None:
    """The same records, the same header but for the run's name, the same counts."""
    merged = merge([a_shard(tmp_path, (index, count)) for index in range(count, 0, -1)])
    whole = read(a_shard(tmp_path, None))
    assert sorted(merged.records, key=lambda record: record.key) == list(merged.records)
    assert {record.key: record for record in merged.records} == {record.key: record for record in whole.records}
    assert replace(merged.header, run_id="") == replace(whole.header, run_id="")
    assert merged.footer is not None
    assert whole.footer is not None
    assert (merged.footer.counts, merged.footer.records) == (whole.footer.counts, whole.footer.records)


def test_a_run_without_shards_is_its_own_merger(tmp_path: Path) -> None:
    """Nothing is to be put together."""
    path = a_shard(tmp_path, None)
    assert merge([path]).header == read(path).header


def test_shards_may_come_from_different_machines(tmp_path: Path) -> None:
    """Each record keeps the fingerprint of the machine it was made on."""
    paths = [
        a_shard(tmp_path, (1, 2), environment=an_environment(cpu="this")),
        a_shard(tmp_path, (2, 2), environment=an_environment(cpu="that")),
    ]
    assert len(merge(paths).records) == 10


def test_what_was_gated_in_the_shards_is_gated_in_the_whole(tmp_path: Path) -> None:
    """The records of the gated backend are missing with good reason."""
    paths = [a_shard(tmp_path, (index, 2), gated={"two": "all failed"}) for index in (1, 2)]
    merged = merge(paths)
    assert merged.footer is not None
    assert merged.footer.gated == {"two": "all failed"}
    assert {record.backend for record in merged.records} == {"one"}


def test_shards_must_all_be_there_once(tmp_path: Path) -> None:
    """A missing or doubled shard would be a table with holes, or with weights."""
    first = a_shard(tmp_path, (1, 3))
    for paths, given in [([first], r"\[1\]"), ([first, first, a_shard(tmp_path, (2, 3))], r"\[1, 1, 2\]")]:
        with pytest.raises(RecordError, match=f"these are the shards {given} of 3"):
            merge(paths)


def test_shards_of_different_runs_are_distinguished(tmp_path: Path) -> None:
    """The message has the differences, and names both releases of torch."""
    paths = [
        a_shard(tmp_path, (1, 2)),
        a_shard(tmp_path, (2, 2), seed=1, environment=an_environment(torch="2.14.0")),
    ]
    with pytest.raises(
        RecordError, match=r"does not belong to .*\.jsonl: its seed is 1, not 0, its torch is 2\.14\.0, not 2"
    ):
        merge(paths)


def test_shards_of_other_backends_are_distinguished(tmp_path: Path) -> None:
    """A version of what a backend consists of is enough."""
    paths = [
        a_shard(tmp_path, (1, 2)),
        a_shard(tmp_path, (2, 2), backends=(BACKENDS[0], a_backend("two", packages={"x": "2"}))),
    ]
    with pytest.raises(RecordError, match="it has another set of backends"):
        merge(paths)


def test_an_unfinished_shard_is_refused(tmp_path: Path) -> None:
    """It has to be resumed first."""
    paths = [a_shard(tmp_path, (1, 2)), a_shard(tmp_path, (2, 2), finish=False)]
    with pytest.raises(RecordError, match="it is not finished"):
        merge(paths)


def test_a_shard_that_lost_a_record_is_noticed(tmp_path: Path) -> None:
    """The plan's digest is that of all records together."""
    path = a_shard(tmp_path, (1, 2))
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*content[:1], *content[2:]]))
    with pytest.raises(RecordError, match="together they do not hold the records of their plan"):
        merge([path, a_shard(tmp_path, (2, 2))])

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from conformance.catalogue import case_cache, sources
from conformance.catalogue.case_cache import MAKERS, CaseCache, entry_name, user_folder
from conformance.catalogue.case_set import whole
from conformance.catalogue.loader import load_cases, load_folder
from conformance.model.case import Case, Location
from conformance.model.errors import CaseError

CASES = """\
topic: Demonstration
cases:
  - id: demo.first.one
    title: doubles its input
    inputs:
      a: {shape: [4], requires_grad: true}
    program: |
      return a * 2
    axes: {grad: [enabled, disabled], params: {}}
    tags: [special]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of one case file."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "demo_first.yaml").write_text(CASES)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> CaseCache:
    """A cache without entries, in a folder that is not there yet."""
    return CaseCache(tmp_path / "below" / "cache")


@pytest.fixture
def entry(cache: CaseCache, mine: Path, tmp_path: Path) -> Path:
    """The file of the one entry of the cache, which is of the folder `mine`."""
    cache.read(mine, "mine")
    (path,) = (tmp_path / "below" / "cache").iterdir()
    return path


@pytest.fixture
def planted(entry: Path, cache: CaseCache, mine: Path) -> Case:
    """A case that is in the entry and nowhere else, so that it shows whether the entry is used."""
    case = Case(id="demo.planted", title="t", topic="t", program="return a", location=Location(file="mine/x.yaml"))
    cache._put(entry.name, [case])
    assert cache.read(mine, "mine") == [case]
    return case


def test_remembered_cases_are_equal(cache: CaseCache) -> None:
    """All packaged cases, with every field, whether they are read or remembered."""
    folder = resources.files(sources.PACKAGED)
    first, again = (whole(cache.read(folder, "cases")) for _ in range(2))
    assert first == again == load_cases()
    assert [each.id for case in again for each in case.variants] == [
        each.id for case in first for each in case.variants
    ]


def test_cases_are_listed_without_yaml_and_pydantic(tmp_path: Path) -> None:
    """That is what makes the second command quick, and every one after it."""
    program = """
import atexit, sys
watched = {"conformance.catalogue.loader", "pydantic", "yaml"}
atexit.register(lambda: print(*sorted(watched & set(sys.modules)), file=sys.stderr))
from conformance.cli.main import main
main(["list"])
"""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    line = [sys.executable, "-c", program]
    first, again = (subprocess.run(line, env=env, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == again.stdout
    assert (first.stderr, again.stderr) == ("conformance.catalogue.loader pydantic yaml\n", "\n")


@pytest.mark.usefixtures("planted")
def test_a_changed_case_file_is_read_anew(cache: CaseCache, mine: Path) -> None:
    """Any difference counts, and what was there before is still remembered."""
    path = mine / "demo_first.yaml"
    path.write_text(CASES.replace("doubles its", "doubles an"))
    assert [case.title for case in cache.read(mine, "mine") if isinstance(case, Case)] == ["doubles an input"]
    path.write_text(CASES)
    assert [case.id for case in cache.read(mine, "mine") if isinstance(case, Case)] == ["demo.planted"]


def test_one_file_is_remembered_by_its_text(cache: CaseCache, mine: Path) -> None:
    """A folder of cases may be a file."""
    path = mine / "demo_first.yaml"
    before = list(cache.read(path, "demo_first.yaml"))
    path.write_text(CASES.replace("doubles", "trebles"))
    assert list(cache.read(path, "demo_first.yaml")) == load_folder(path, "demo_first.yaml") != before


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("change", ["another file", "another name", "another label"])
def test_what_locations_name_is_part_of_it(cache: CaseCache, mine: Path, change: str) -> None:
    """The names of files count, how many there are, and what the folder is called."""
    if change == "another file":
        (mine / "demo_second.yaml").write_text(CASES.replace("demo.first", "demo.second"))
    elif change == "another name":
        (mine / "demo_first.yaml").rename(mine / "demo_other.yaml")
    found = cache.read(mine, change)
    assert list(found) == load_folder(mine, change)


def test_every_module_that_makes_cases_is_named() -> None:
    """They are the modules of this package that the loader imports."""
    program = "import sys, conformance.catalogue.loader; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = {name for name in output.split() if name.startswith("conformance.")}
    named = {f"conformance.{name}".replace("/__init__", "").replace("/", ".") for name in MAKERS}
    assert named == loaded | {"conformance.catalogue.case_cache"}


@pytest.mark.parametrize("name", MAKERS)
def test_a_changed_module_gives_another_entry(mine: Path, tmp_path: Path, name: str) -> None:
    """One character of its text is enough."""
    package = tmp_path / "package"
    for each in MAKERS:
        (package / each).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{each}.py").touch()
    before = entry_name(mine, "mine", package)
    (package / f"{name}.py").write_text("#")
    assert entry_name(mine, "mine", package) != before


def test_an_edited_checkout_sees_its_own_cases(tmp_path: Path) -> None:
    """The same command, before and after a module that generates cases was edited."""
    package = Path(case_cache.__file__).parents[1]
    copy = tmp_path / "checkout" / "conformance"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    shutil.copytree(Path(str(resources.files(sources.PACKAGED))), copy / "cases")
    env = {**os.environ, "PYTHONPATH": str(copy.parent), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def listed() -> str:
        line = [sys.executable, "-m", "conformance", "list"]
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    before = listed()
    assert listed() == before
    path = copy / "catalogue" / "families.py"
    path.write_text(path.read_text().replace('title=f"{law.title}', 'title=f"Edited: {law.title}'))
    path.write_text(path.read_text().replace("title=form.title, points", 'title=f"Edited: {form.title}", points'))
    assert "Edited: " in listed()
    assert len(list((tmp_path / "cache" / "torch-compile-conformance" / "cases").iterdir())) == 2


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("length", [0, 7, 31, 32, 33, -1])
def test_a_truncated_entry_is_made_anew(cache: CaseCache, mine: Path, entry: Path, length: int) -> None:
    """Wherever it ends; nothing is lost, and the entry is whole again."""
    entry.write_bytes(entry.read_bytes()[:length])
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert cache._get(entry.name) == load_folder(mine, "mine")


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("content", [b"garbage", b"\x80\x05N.", b"{" * 4096])
def test_a_foreign_file_is_made_anew(cache: CaseCache, mine: Path, entry: Path, content: bytes) -> None:
    """A foreign file in its place is replaced; it is not unpickled."""
    entry.write_bytes(content)
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert cache._get(entry.name) == load_folder(mine, "mine")


@pytest.mark.usefixtures("planted")
def test_the_entry_of_another_folder_is_foreign(cache: CaseCache, tmp_path: Path, entry: Path) -> None:
    """An entry under the name of another is not taken for it."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "demo_first.yaml").write_text(CASES.replace("doubles", "trebles"))
    shutil.copyfile(entry, entry.with_name(entry_name(other, "other")))
    assert list(cache.read(other, "other")) == load_folder(other, "other")


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_another_user_may_have_written_is_made_anew(cache: CaseCache, mine: Path, entry: Path, mode: int) -> None:
    """An entry that others may write is not unpickled; what replaces it is this user's alone."""
    entry.chmod(mode)
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert entry.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("planted")
def test_the_entry_of_another_user_is_made_anew(cache: CaseCache, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its mode."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")


def test_what_is_in_the_place_of_an_entry_and_no_file(cache: CaseCache, mine: Path, entry: Path) -> None:
    """Cases are read as if it were not there."""
    entry.unlink()
    entry.mkdir()
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert not list(entry.iterdir())


@pytest.mark.parametrize(
    "place", ["a file", "a file/below", "read-only", "read-only/below", "/proc/self", "/proc/none"]
)
def test_without_a_folder_to_write_cases_are_read(mine: Path, tmp_path: Path, place: str) -> None:
    """Whatever keeps entries from being written is no error; in /proc not even root may write."""
    (tmp_path / "a file").touch()
    (tmp_path / "read-only").mkdir(mode=0o500)
    cache = CaseCache(tmp_path / place)
    for _ in range(2):
        assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")


def test_a_disk_that_is_full_leaves_nothing_behind(
    cache: CaseCache, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases are read, and the file that could not be written is gone."""

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert not list((tmp_path / "below" / "cache").iterdir())


def test_processes_that_write_at_once_leave_one_whole_entry(mine: Path, tmp_path: Path) -> None:
    """Each reads the same cases, whichever was first, and nothing else is left."""
    folder = tmp_path / "cache"
    program = f"""
import sys
from pathlib import Path
from conformance.catalogue.case_cache import CaseCache, entry_name
from conformance.catalogue.loader import load_folder
cache, mine = CaseCache(Path({str(folder)!r})), Path({str(mine)!r})
known, name = load_folder(mine, "mine"), entry_name(mine, "mine")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(300):
    cache._put(name, known)
    assert cache._get(name) == known
"""
    line = [sys.executable, "-c", program]
    running = [
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        each.communicate("go\n", timeout=60)
    assert [each.returncode for each in running] == [0, 0]
    assert [path.name for path in folder.iterdir()] == [entry_name(mine, "mine")]


def test_what_has_a_problem_is_not_remembered(cache: CaseCache, mine: Path, tmp_path: Path) -> None:
    """It is read each time, with the same problems each time."""
    (mine / "demo_broken.yaml").write_text(CASES.replace("return", "import os; return"))
    first, again = (list(map(str, cache.read(mine, "mine"))) for _ in range(2))
    assert first == again == list(map(str, load_folder(mine, "mine")))
    assert not (tmp_path / "below").exists()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    cache: CaseCache, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read need not match the name of the entry."""
    names = iter(["before", "after"])
    monkeypatch.setattr(case_cache, "entry_name", lambda *_: next(names))
    assert list(cache.read(mine, "mine")) == load_folder(mine, "mine")
    assert not (tmp_path / "below").exists()


def test_what_was_not_used_for_longest_goes(cache: CaseCache, mine: Path, entry: Path) -> None:
    """A cache does not grow for ever; what is used stays."""
    os.utime(entry, (1, 1))
    for number in range(40):
        cache.read(mine, "mine")
        cache.read(mine, f"other {number}")
    assert entry.exists()
    assert len(list(entry.parent.iterdir())) == 16


def test_a_missing_file_is_reported_by_the_loader(cache: CaseCache, mine: Path) -> None:
    """A file that cannot be read is reported as without a cache."""
    (mine / "demo_gone.yaml").symlink_to(mine / "nowhere")
    assert "cannot be read" in str(cache.read(mine, "mine")[-1])


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/somewhere", "/somewhere/torch-compile-conformance/cases"),
        ("", "/home/me/.cache/torch-compile-conformance/cases"),
        ("relative", "/home/me/.cache/torch-compile-conformance/cases"),
    ],
)
def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, base: str, expected: str) -> None:
    """As in the XDG base directory specification: a path that is not absolute is ignored."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert user_folder() == Path(expected)


def test_without_a_home_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    """A user need not have one."""

    def homeless() -> Path:
        message = "Could not determine home directory."
        raise RuntimeError(message)

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert user_folder() is None
    assert list(CaseCache(None).read(mine, "mine")) == load_folder(mine, "mine")


def test_duplicates_of_remembered_folders_are_found(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder is right by itself; together they are not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(mine, tmp_path / "again")
    for _ in range(2):
        with pytest.raises(CaseError, match=r"duplicate case 'demo\.first\.one'"):
            sources.collect([mine, tmp_path / "again"])

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from conformance.tests.jobs import typed_readme
from conformance.tests.jobs.typed_readme import Command, Typed, commands, files, missing, problems

if TYPE_CHECKING:
    from pathlib import Path

README = """\
# Suite

```python
# step.py
x = 1
```

```sh
python -m pip install suite
suite check step.py
suite run --backend mine
```

```text
first line
...
  Reproduce: suite check step.py --again
```

```sh
suite report
```

```text
written
```
"""


def typed(command: Command, output: str = "", status: int = 0, first_s: float = 0.1) -> Typed:
    """A command that was typed."""
    return Typed(command=command, status=status, first_s=first_s, last_s=first_s, output=output)


def test_commands_come_in_their_order_with_what_is_shown_of_them() -> None:
    """An output with the command to reproduce it is of that command; any other is of the last one before it."""
    assert files(README) == {"step.py": "# step.py\nx = 1\n"}
    assert commands(README) == [
        Command(line=10, words="suite check step.py", shown=("first line", "Reproduce: suite check step.py --again")),
        Command(line=11, words="suite run --backend mine"),
        Command(line=21, words="suite report", shown=("written",)),
    ]
    assert {command.page for command in commands(README, "tutorial.md")} == {"tutorial.md"}


def test_what_is_shown_has_to_be_printed_in_its_order() -> None:
    """Text that is left out may be anything."""
    command = Command(line=1, words="suite", shown=("a\nb", "c"))
    assert missing(typed(command, "a\nb\nmore\nc\n")) == ""
    assert missing(typed(command, "c\na\nb\n")) == "c"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (typed(Command(line=3, words="suite"), status=1), []),
        (
            typed(Command(line=3, words="suite"), "error: what", status=2),
            ["README.md:3: suite: ends with 2:\nerror: what"],
        ),
        (typed(Command(line=3, words="suite", shown=("x",))), ["README.md:3: suite: does not print 'x':\n"]),
        (
            typed(Command(page="tutorial.md", line=3, words="suite"), first_s=11.0),
            ["tutorial.md:3: suite: is silent for 11.0 s"],
        ),
    ],
)
def test_what_a_stranger_curses_at_is_a_problem(made: Typed, said: list[str]) -> None:
    """Findings are none: 1 is an exit code that the README explains."""
    assert list(problems([made])) == said


def test_commands_are_typed_without_a_terminal_and_on_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a folder that has the files that are shown; the exit code is that of a job."""
    readme = tmp_path / "README.md"
    told = f"{sys.executable} -c 'import os, sys; print(sys.stdout.isatty(), os.listdir())'"
    readme.write_text(f"```python\n# step.py\n```\n\n```sh\n{told}\nexit 3\n```\n\n```text\nTrue\n```\n")
    monkeypatch.setattr("sys.argv", ["typed_readme", str(readme)])
    with pytest.raises(SystemExit) as end:
        typed_readme.main()
    told_of = str(end.value.code)
    assert "without a terminal: README.md:7: exit 3: ends with 3" in told_of
    assert "without a terminal: README.md:7: exit 3: does not print 'True'" in told_of
    assert "on a terminal: README.md:7: exit 3: does not print" not in told_of
    printed = capfd.readouterr().out
    assert printed.index("without a terminal") < printed.index("on a terminal")

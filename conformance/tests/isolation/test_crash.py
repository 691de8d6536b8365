from __future__ import annotations

import pytest

from conformance.isolation.crash import last_words
from conformance.tests.saboteurs import ref

STACK = """printed before
Fatal Python error: Segmentation fault

Current thread 0x00007f0000000000 (most recent call first):
  File "{torch}/torch/_dynamo/output_graph.py", line 7 in call_user_compiler
  File "{home}/mine.py", line 12 in inner
  File "{home}/mine.py", line 3 in mine
  File "{torch}/torch/_dynamo/convert_frame.py", line 70 in compile_inner

Extension modules: numpy._core._multiarray_umath, torch._C (total: 25)
"""


def stack(home: str = "/home/me") -> str:
    """Return what `faulthandler` writes on a signal."""
    return STACK.format(torch=pytest.__file__.rpartition("/pytest/")[0], home=home)


def test_the_innermost_frame_of_the_users_own_code_is_quoted() -> None:
    """Neither that of PyTorch, nor what is below the stack."""
    assert last_words(stack()) == "in inner at mine.py:12"


def test_a_saboteur_of_these_tests_counts_as_a_backend() -> None:
    """It is in this package, whose other frames do not count."""
    home, _, _ = ref("process", "segfaults_at_run").rpartition("/")
    assert last_words(stack(home)) == "in inner at mine.py:12"


def test_where_all_frames_are_of_packages_the_innermost_is_quoted() -> None:
    """It is as near as one can come."""
    packages = pytest.__file__.rpartition("/pytest/")[0]
    assert last_words(stack(packages)) == "in call_user_compiler at output_graph.py:7"


def test_without_a_stack_the_last_line_is_quoted() -> None:
    """Of a process that printed nothing, nothing is."""
    assert last_words("a\n core dumped \n\n") == "last output: core dumped"
    assert last_words("\n") == ""

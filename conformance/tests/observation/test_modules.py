from __future__ import annotations

import sys
from types import ModuleType

import pytest

from conformance.observation import modules

pytestmark = pytest.mark.torch


def test_what_is_imported_meanwhile_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that was there has its name again, and one that came stays."""
    first, second, third = ModuleType("first"), ModuleType("second"), ModuleType("third")
    monkeypatch.setitem(sys.modules, "first", first)
    monkeypatch.setitem(sys.modules, "second", second)
    with modules.kept():
        sys.modules["first"] = ModuleType("first")
        monkeypatch.delitem(sys.modules, "second")
        monkeypatch.setitem(sys.modules, "third", third)
    assert (sys.modules["first"], sys.modules["second"], sys.modules["third"]) == (first, second, third)

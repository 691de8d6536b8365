"""Suggestions for an unknown word."""

from __future__ import annotations

from conformance.model.suggestions import did_you_mean


def test_few_known_words_are_all_named() -> None:
    """The list, and after it the similar ones."""
    assert did_you_mean("calss", ["view", "calls"], "check") == "Known checks: calls, view.  Did you mean 'calls'?"
    assert did_you_mean("x", []) == "Known: none."


def test_of_many_known_words_only_similar_ones_are_named() -> None:
    """A thousand ids of cases would bury the message."""
    ids = [f"nest.modes.case_{number}" for number in range(1000)]
    assert did_you_mean("nest.modes.case_7", ids).startswith("Did you mean 'nest.modes.case_7")
    assert did_you_mean("zzz", ids) == "None of the 1000 known names is similar."
    assert did_you_mean("zzz", ids, "case") == "None of the 1000 known cases is similar."

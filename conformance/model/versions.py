"""Versions of packages, held against what a case or an expectation says of them."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

__all__ = ["holds"]


def holds(specifier: str | None, version: str) -> bool:
    """Whether a version meets a specifier; pre-releases and local builds count as what they lead to.

    What is no version, such as the word for a package that is not installed, meets none.
    """
    try:
        return specifier is None or SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False

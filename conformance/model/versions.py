"""Versions of packages, compared with the specifiers of cases and expectations."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

__all__ = ["holds"]


def holds(specifier: str | None, version: str) -> bool:
    """Return whether a version satisfies a specifier, pre-releases and local builds included.

    A text that is not a version, such as the one for a package that is not installed, satisfies none.
    """
    try:
        return specifier is None or SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False

"""Write `results/operations_audit.md`, or compare it: each overload of the dispatcher is reached or under a rule.

    python -m conformance.tests.jobs.operations.audit_page [--check]

The dispatcher is asked anew; what the cases reach was seen by `python -m conformance.tests.jobs.operations`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from conformance.catalogue.case_set import OPERATIONS_DATA
from conformance.tests.jobs.operations.audit import UNKNOWN, Overload, audited, page
from conformance.tests.jobs.operations.reached import read_reached

_PATH = Path("results", "operations_audit.md")
_KEYS = (
    "CPU",
    "CompositeExplicitAutograd",
    "CompositeImplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
)


def overloads() -> list[Overload]:
    """Return every overload that the dispatcher lists, in alphabetical order."""
    return [_overload(name) for name in sorted(torch._C._dispatch_get_all_op_names())]


def _overload(name: str) -> Overload:
    base, _, overload = name.partition(".")
    kernels = (key for key in _KEYS if torch._C._dispatch_has_kernel_for_dispatch_key(name, key))
    return Overload(name=name, schema=str(torch._C._get_schema(base, overload)), kernels=frozenset(kernels))


def main(words: list[str]) -> int:
    """Return 1 for an overload that falls under no rule, and with `--check` for a page that is not up to date."""
    data = json.loads(Path("cases", OPERATIONS_DATA).read_text(encoding="utf-8"))
    release = str(torch.__version__).partition("+")[0]
    if release != data["torch"]:
        sys.stdout.write(f"not audited: the operations are those of torch {data['torch']}, this is {release}\n")
        return 0
    found = audited(overloads(), frozenset[str]().union(*read_reached().values()))
    text = page(found, release, data["left_out"])
    for name in found[UNKNOWN]:
        sys.stdout.write(f"{name} is reached by no case of an operation and falls under no rule of the audit\n")
    is_stale = "--check" in words and (not _PATH.is_file() or _PATH.read_text(encoding="utf-8") != text)
    if is_stale:
        sys.stdout.write(f"{_PATH} is out of date: python -m {__spec__.name}\n")
    elif "--check" not in words:
        _PATH.write_text(text, encoding="utf-8")
    return int(bool(found[UNKNOWN]) or is_stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

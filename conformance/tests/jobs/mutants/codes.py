"""The code that Python makes of two texts of a module: where it differs, and whether that can be changed while loaded.

It imports little, for a child that runs a mutant imports it.
"""

from __future__ import annotations

from inspect import CO_NEWLOCALS, CO_OPTIMIZED
from itertools import zip_longest
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["compiled", "differing", "is_within_functions", "lines_around", "lines_of", "same_code"]

_OF_FUNCTION = CO_OPTIMIZED | CO_NEWLOCALS


def compiled(text: str, file: str = "module") -> CodeType:
    """The code of a module."""
    return compile(text, file, "exec", dont_inherit=True)


def same_code(first: CodeType, second: CodeType) -> bool:
    """Whether two codes do the same, whatever their lines are."""
    return _meaning(first) == _meaning(second)


def differing(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The codes of functions, within one another too, that do not do the same in two codes of a module."""
    for old, new in zip(_inner(before), _inner(after), strict=False):
        if not same_code(old, new):
            if _is_function(old):
                yield old, new
            yield from differing(old, new)


def is_within_functions(before: CodeType, after: CodeType) -> bool:
    """Whether two codes of a module differ within functions alone, and these close over the same names.

    Then what runs when it is loaded is the same: its own statements, and those of its classes.
    """
    return _same_outside(before, after) and all(
        old.co_freevars == new.co_freevars for old, new in differing(before, after)
    )


def lines_of(before: CodeType, after: CodeType, line: int) -> frozenset[int]:
    """The lines that show that what differs is run: any of these.

    Args:
        before: the code of the module.
        after: what it is changed to.
        line: where the text differs.

    Returns:
        That line if it has code of its own, or the one before it that has; where the whole function differs, all of
        its lines. Empty where nothing differs.
    """
    innermost = _innermost(before, after)
    of_code = _lines(innermost)
    inside = of_code - {innermost.co_firstlineno} if _is_function(innermost) else of_code
    if line in inside or not _is_function(innermost):
        return frozenset({line})
    earlier = [number for number in inside if number < line]
    return frozenset({max(earlier)} if earlier else inside or of_code)


def lines_around(before: CodeType, after: CodeType) -> frozenset[int]:
    """All lines of the innermost function that differs; those of the module where none does."""
    return frozenset(_lines(_innermost(before, after)))


def _innermost(before: CodeType, after: CodeType) -> CodeType:
    functions = [old for old, _ in differing(before, after)]
    return functions[-1] if functions else before


def _lines(code: CodeType) -> set[int]:
    return {number for _, _, number in code.co_lines() if number}


def _same_outside(before: CodeType, after: CodeType) -> bool:
    if (before.co_code, _constants(before), before.co_names) != (after.co_code, _constants(after), after.co_names):
        return False
    return all(
        old is not None
        and new is not None
        and old.co_name == new.co_name
        and (_is_function(old) or _same_outside(old, new))
        for old, new in zip_longest(_inner(before), _inner(after))
    )


def _meaning(code: CodeType) -> tuple[object, ...]:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    inner = tuple(map(_meaning, _inner(code)))
    return (code.co_code, _constants(code), inner, names, code.co_exceptiontable, code.co_flags, code.co_argcount)


def _inner(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _constants(code: CodeType) -> list[tuple[type, str]]:
    """The constants but codes, with their types: 1, 1.0 and True are equal."""
    return [(type(one), "" if isinstance(one, CodeType) else repr(one)) for one in code.co_consts]


def _is_function(code: CodeType) -> bool:
    return code.co_flags & _OF_FUNCTION == _OF_FUNCTION

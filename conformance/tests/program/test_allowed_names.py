from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from conformance.program.allowed_attributes import ATTRIBUTES, is_reserved
from conformance.program.allowed_names import BASES, BUILTINS, CONTEXTS, DECORATORS, DOTTED, ROOTS

MODULES = {"torch": "torch", "F": "torch.nn.functional", "math": "math"}


def resolve(dotted: str) -> object:
    """Return the value of a dotted name."""
    root, *steps = dotted.split(".")
    value: object = importlib.import_module(MODULES[root])
    for step in steps:
        value = getattr(value, step)
    return value


def test_every_context_decorator_and_base_is_a_name_a_program_may_use() -> None:
    """The special lists are parts of the general ones."""
    assert (CONTEXTS | DECORATORS | BASES) <= DOTTED | BUILTINS


def test_no_name_but_one_starts_with_an_underscore() -> None:
    """The graph break is the one documented exception; no attribute has an underscore in front."""
    hidden = {name for name in DOTTED if any(part.startswith("_") for part in name.split("."))}

    assert hidden == {"torch._dynamo.graph_break"}
    assert not any(name.startswith("_") for name in ATTRIBUTES | BUILTINS)


def test_no_allowed_attribute_is_reserved() -> None:
    """An attribute is allowed or reserved, never both."""
    assert not [name for name in ATTRIBUTES if is_reserved(name)]


def test_roots_are_no_builtins() -> None:
    """The three roots differ from every other name."""
    assert set(MODULES) == ROOTS
    assert not ROOTS & BUILTINS


@pytest.fixture(scope="module")
def values() -> dict[str, object]:
    """The value of every dotted name; one that torch does not have is an AttributeError here."""
    return {dotted: resolve(dotted) for dotted in sorted(DOTTED)}


@pytest.mark.torch
def test_every_dotted_name_exists_and_is_no_module(values: dict[str, object]) -> None:
    """A name is that of a function, a class or a constant; a module would expose everything in it."""
    assert [dotted for dotted, value in values.items() if isinstance(value, ModuleType)] == []


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_no_module_is_an_attribute_of_what_a_program_may_name(values: dict[str, object]) -> None:
    """An attribute that the program defines itself reaches no module through functions and classes of torch."""
    within = [(dotted, name) for dotted, value in values.items() for name in dir(value) if not name.startswith("_")]

    assert [pair for pair in within if isinstance(getattr(values[pair[0]], pair[1], None), ModuleType)] == []

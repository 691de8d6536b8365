"""The files of PyTorch that are mutated, and which of their mutants are drawn."""

from __future__ import annotations

import random
from collections import Counter
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.tests.jobs.mutants.operators import OPERATORS, mutants_at, places_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.tests.jobs.mutants.operators import Mutant, Place

__all__ = ["GROUPS", "draw", "files", "home", "module_of"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Dynamo": (
        "torch/_dynamo/guards.py",
        "torch/_dynamo/output_graph.py",
        "torch/_dynamo/resume_execution.py",
        "torch/_dynamo/side_effects.py",
        "torch/_dynamo/variables/builder.py",
        "torch/_dynamo/variables/ctx_manager.py",
        "torch/_dynamo/variables/higher_order_ops.py",
        "torch/_dynamo/variables/misc.py",
        "torch/_dynamo/variables/tensor.py",
        "torch/_dynamo/variables/torch.py",
    ),
    "AOTAutograd": ("torch/_functorch/_aot_autograd/*.py",),
    "partitioner": ("torch/_functorch/partitioners.py",),
    "decompositions": ("torch/_decomp/decompositions.py", "torch/_inductor/decomposition.py"),
    "Inductor lowerings": ("torch/_inductor/lowering.py", "torch/_inductor/ir.py"),
    "Inductor passes": ("torch/_inductor/fx_passes/*.py",),
    "Inductor C++": (
        "torch/_inductor/codegen/common.py",
        "torch/_inductor/codegen/cpp.py",
        "torch/_inductor/codegen/cpp_utils.py",
        "torch/_inductor/codegen/wrapper.py",
        "torch/_inductor/scheduler.py",
    ),
}
"""What handles modes, side effects, guards and autograd, and what Inductor does with it; globs, by part."""


def home() -> Path:
    """The folder that torch is installed in, found without importing it.

    Raises:
        LookupError: it is not installed.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        message = "torch is not installed"
        raise LookupError(message)
    return Path(spec.origin).parents[1]


def files() -> dict[str, tuple[str, ...]]:
    """By group, the files that are there, relative to `home`."""
    root = home()
    return {
        group: tuple(sorted(str(path.relative_to(root)) for glob in globs for path in root.glob(glob)))
        for group, globs in GROUPS.items()
    }


def module_of(file: str) -> str:
    """The name of the module in a file."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def draw(count: int, seed: int, groups: Mapping[str, Sequence[str]]) -> list[Mutant]:
    """Draw mutants, as many of each group: of its files by their size, and of each of these by operators in turn.

    Args:
        count: how many.
        seed: of the draw: the same on the same release of torch.
        groups: files relative to `home`, by name.
    """
    each, more = divmod(count, len(groups))
    drawn: list[Mutant] = []
    for place, (name, members) in enumerate(groups.items()):
        chance = random.Random(f"{seed} {name}")  # noqa: S311 - a draw, no secret
        sizes = [(home() / file).stat().st_size for file in members]
        chosen = Counter(chance.choices(members, sizes, k=each + (place < more)))
        for file in sorted(chosen):
            drawn += islice(_of_file(file, chance), chosen[file])
    return drawn


def _of_file(file: str, chance: random.Random) -> Iterator[Mutant]:
    """Mutants of a file in the order of the draw: the operators take turns, each at places in a random order."""
    text = (home() / file).read_text(encoding="utf-8")
    places: dict[str, list[Place]] = {name: [] for name in chance.sample(list(OPERATORS), len(OPERATORS))}
    for place in places_of(text):
        places[place.operator].append(place)
    for each in places.values():
        chance.shuffle(each)
    while any(places.values()):
        for each in places.values():
            if made := _next_of(each, file, text):
                yield chance.choice(made)


def _next_of(places: list[Place], file: str, text: str) -> list[Mutant]:
    """The mutants at the next place at which there are any."""
    while places:
        if made := mutants_at(file, text, places.pop()):
            return made
    return []

"""The files of PyTorch that are mutated, and how a Python starts that is told of them."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROUPS", "files", "home", "module_of", "site"]

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


def site(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python that reads these variables at its start, in `site/sitecustomize.py`."""
    paths = [str(Path(__file__).parent / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**variables, "PYTHONPATH": os.pathsep.join(paths)}

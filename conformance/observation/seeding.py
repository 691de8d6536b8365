"""Seeds of random numbers: one stream for each name, and the default generator."""

from __future__ import annotations

import random
import zlib

import torch

__all__ = ["seed_default", "stream"]


def stream(seed: int, *names: object) -> torch.Generator:
    """Return a random generator that depends only on the seed and the names."""
    text = "/".join(map(str, (seed, *names)))
    return torch.Generator().manual_seed(zlib.crc32(text.encode()))


def seed_default(seed: int) -> None:
    """Seed the generators that programs draw from: PyTorch's and Python's.

    `torch.manual_seed` would also queue the seed for every kind of device, with a traceback each: a millisecond.
    """
    torch.default_generator.manual_seed(seed)
    random.seed(seed)

"""Modes, Python's own semantics, and state between calls."""

import contextlib
import itertools

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import conformance


class Answer(TorchFunctionMode):
    """A mode in which every function of torch returns -1."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return -1


@conformance.case(graph_breaks=9)
def issue_182317(x):
    y = x * 2
    with Answer():
        torch.tensor([1])
    return y


def issue_182317_inputs():
    return torch.randn(3)


def issue_184405():
    return torch.ones(2), torch.arange(3.0), torch.tensor([1.0, 2.0])


def issue_184405_inputs():
    return ()


def issue_184405_shows(compiled):
    compiled()
    torch.set_default_dtype(torch.float64)
    try:
        return [each.dtype for each in compiled()] != [each.dtype for each in issue_184405()]
    finally:
        torch.set_default_dtype(torch.float32)


class Odd(set):
    """A set that does not iterate over what it holds."""

    def __iter__(self):
        return iter([99])


def issue_186671(x, a, b):
    return x + 1 if a == b else x - 1


def issue_186671_inputs():
    return torch.randn(3), {1, 2, 3}, Odd({1, 2, 3})


class Borrower:
    """A class with a method of another one."""

    append = list.append


borrower = Borrower()


def issue_190755(x):
    try:
        _ = borrower.append
    except TypeError:
        return x + 2
    return x + 1


def issue_190755_inputs():
    return torch.randn(3)


region = torch.compiler.nested_compile_region


class Layer(torch.nn.Module):
    """A layer that computes one of two functions."""

    def __init__(self, flag):
        super().__init__()
        self.flag = flag


@region
def _inner(layer, x):
    return x.sin() if layer.flag else x.cos()


@region
def _outer(layer, x):
    return _inner(layer, x) + 1.0


layers = [Layer(True), Layer(False), Layer(True), Layer(False)]


def issue_192905(x):
    return sum(_outer(layer, x) for layer in layers)


def issue_192905_inputs():
    return torch.randn(4)


class Slot(torch.nn.Module):
    """A layer that reads its slot of a pool."""

    def __init__(self, slot, pool):
        super().__init__()
        self.slot = slot
        self.pool = pool

    def forward(self, x):
        return x.sin() + self.pool[self.slot]


@region(reuse_hash_fn=lambda layer, x: 0)
def _reused(layer, x):
    return layer(x)


pool = [torch.full((4,), 10.0 * (number + 1)) for number in range(4)]
slots = [Slot(number, pool) for number in range(4)]


def issue_192906(x):
    return sum(_reused(slot, x) for slot in slots)


def issue_192906_inputs():
    return torch.zeros(4)


settings = itertools.cycle([(2, False, 1.0), (4, True, 0.5), (4, True, 1.0)])


@conformance.case(calls=[{}, {}, {}])
def issue_194976(x, limit):
    gate, up = torch.chunk(x, 2, dim=-1)
    return F.silu(gate).clamp(max=limit) * up.clamp(min=-limit, max=limit)


def issue_194976_inputs():
    size, needs, limit = next(settings)
    return torch.full((1, size), 0.75, requires_grad=needs), limit


def issue_194976_shows(compiled):
    given = [issue_194976_inputs() for _ in range(3)]
    return not all(torch.allclose(compiled(*each), issue_194976(*each)) for each in given)


def issue_195488(x, index):
    with torch.amp.autocast("cpu", dtype=torch.bfloat16):
        return x.index_select(0, index)


def issue_195488_inputs():
    return torch.randn(4, 4), torch.tensor([99])


def issue_195488_shows(compiled):
    for _ in range(2):
        with contextlib.suppress(IndexError):
            compiled(*issue_195488_inputs())
    nesting = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    return (nesting, torch.is_autocast_enabled("cpu")) != (1, False)


class Turns:
    """Something that is at one of two places."""

    def __init__(self):
        self.left, self.right = object(), object()
        self.at = self.left


turns = Turns()


def issue_196173(x):
    is_left = turns.at is turns.left
    turns.at = turns.right if is_left else turns.left
    return x.square() if is_left else -x


def issue_196173_inputs():
    return torch.tensor([2.0, 3.0])


def issue_196173_shows(compiled):
    x = issue_196173_inputs()
    actual = [compiled(x) for _ in range(6)]
    turns.at = turns.left
    return not all(map(torch.equal, actual, [issue_196173(x) for _ in range(6)]))

"""torch.compile(backend="aot_eager") does not do what eager does: AssertionError where eager raises nothing:
incorrect out shape after application of ViewMeta sequence: (2, 4) (actual) vs (3, 4) (expected)

backend: aot_eager
torch:   2.13.0+cpu
symptom: error exception AssertionError: incorrect out shape after application of ViewMeta sequence: (#, #)
         (actual) vs (
case:    fuzz.s0.p2723 [grad=enabled], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a, b):
    b.copy_(a)
    v1 = torch.cat((b,))[1:5]
    return (v1, v1.detach())


def run(function):
    a = torch.randn((), generator=stream("0/0/a"), dtype=torch.float64).float().requires_grad_()
    b = torch.randn(4, 4, generator=stream("0/0/b"), dtype=torch.float64).float()
    function(a, b)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="aot_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "AssertionError":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)

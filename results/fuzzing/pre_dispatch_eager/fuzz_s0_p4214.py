"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: TorchRuntimeError where eager raises
nothing: RuntimeError when making fake tensor call

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: error exception TorchRuntimeError: RuntimeError when making fake tensor call
case:    fuzz.s0.p4214 [grad=inference], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a):
    with torch.set_grad_enabled(True):
        return a.mul_(0.5)


def run(function):
    a = torch.randn((), generator=stream("0/0/a"), dtype=torch.float64).float().requires_grad_()
    with torch.inference_mode():
        function(a)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "TorchRuntimeError":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)

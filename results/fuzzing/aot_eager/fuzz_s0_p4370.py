"""torch.compile(backend="aot_eager") does not do what eager does: BackendCompilerFailed where eager raises
nothing: RuntimeError: one of the variables needed for gradient computation has been modified by an inplace
operation: [torch.FloatTensor []], which is output 0 of torch::autograd::Error, is at version 1; expe

backend: aot_eager
torch:   2.13.0+cpu
symptom: error exception BackendCompilerFailed: RuntimeError: one of the variables needed for gradient
         computation has been modi
case:    fuzz.s0.p4370 [grad=inference], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(b):
    with torch.enable_grad():
        v2 = b * b
        with torch.no_grad():
            b.mul_(0.5)
        return v2


def run(function):
    b = torch.randn((), generator=stream("0/0/b"), dtype=torch.float64).float().requires_grad_()
    with torch.inference_mode():
        function(b)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="aot_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "BackendCompilerFailed":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)

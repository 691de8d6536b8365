"""torch.compile(backend="pre_dispatch_eager") does not do what eager does: BackendCompilerFailed where eager
raises nothing: RuntimeError: Unexpected floating ScalarType in at::autocast::prioritize

backend: pre_dispatch_eager
torch:   2.13.0+cpu
symptom: error exception BackendCompilerFailed: RuntimeError: Unexpected floating ScalarType in
         at::autocast::prioritize
case:    fuzz.s0.p6168 [grad=enabled,autocast=float16], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(b):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        return torch.cat((b,))


def run(function):
    b = torch.randn(1, generator=stream("0/0/b"), dtype=torch.float64).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.float16):
        function(b)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="pre_dispatch_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "BackendCompilerFailed":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)

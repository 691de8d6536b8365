"""torch.compile(backend="aot_eager") does not do what eager does: BackendCompilerFailed where eager raises
nothing: RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed.You can make a
clone to get a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/1

backend: aot_eager
torch:   2.13.0+cpu
symptom: error exception BackendCompilerFailed: RuntimeError: Inplace update to inference tensor outside
         InferenceMode is not al
case:    fuzz.s0.p1146 [grad=inference], seed 0

Exits with 1 where they differ, with 0 where they do not.
"""

import sys
import zlib

import torch


def stream(name):
    """A random generator that depends on nothing but the name."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def program(a):
    with torch.inference_mode():
        v1 = torch.cat((a,))
    return v1.add_(a)


def run(function):
    a = torch.randn(1, generator=stream("0/0/a"), dtype=torch.float64).float()
    with torch.inference_mode():
        function(a)
    return "no exception"


print("eager:   ", run(program))
try:
    print("compiled:", run(torch.compile(program, backend="aot_eager", dynamic=False)))
except Exception as error:
    if type(error).__name__ != "BackendCompilerFailed":
        raise
    print("compiled:", type(error).__name__, error)
    sys.exit(1)
